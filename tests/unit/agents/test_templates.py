import itertools
import threading
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rota.agents.scripted.templates import check_template, evaluate, render
from rota.domain.errors import InvalidInputError
from tests.unit.calls import calls_of

NOW = datetime(2026, 7, 1, 7, 0, tzinfo=UTC)
VALUES = {
    "results": [{"items": [1, 2], "subject": "Hi", "n": 5}],
    "name": "Alice",
    "now": NOW,
    "by_tool": {"copy": 1},
}


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("Hello {{ name }} <&>", "Hello Alice <&>"),
        ("{{ results[0].items }} {{ results[0].subject | upper }}", "[1, 2] HI"),
        ("{{ by_tool.copy }} {{ by_tool['copy'] }} {{ by_tool.get('x', 2) }}", "1 1 2"),
        ("{% for r in results %}\n{{ loop.index }}. {{ r.subject }}\n{% endfor %}", "1. Hi\n"),
        ("{{ now.strftime('%A %Y-%m-%d') }} {{ now.year }}", "Wednesday 2026-07-01 2026"),
        ("{{ results | map(attribute='subject') | join(', ') }}", "Hi"),
        ("{{ '%.2f' | format(3.14159) }} {{ '%s-%03d' % ('a', 7) }}", "3.14 a-007"),
        ("{{ results | tojson }}", '[{"items": [1, 2], "subject": "Hi", "n": 5}]'),
        ("{{ [1, 2] | sum }} {{ 'a b' | title | replace('A', 'Q') }} {{ 'abc'[1:] }}", "3 Q B bc"),
        (
            "{{ results ~ 1 }}, {{ results | join }}",
            "[{i}]1, {i}".replace("{i}", '{"items": [1, 2], "subject": "Hi", "n": 5}'),
        ),
        ("{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(1) ~ m('b') }}", "<1><b>"),
        ("{% for a, b in [(1, 2)] %}{{ a + b * 2 ** 3 }}{% endfor %}", "17"),
        ("{% set s = namespace(n=1) %}{% set s.n = s.n + 9 %}{{ s.n }}", "10"),
        (
            "{{ results | selectattr('n', 'gt', 3) | list | length }}{{ missing | default('-') }}",
            "1-",
        ),
        ("{% if name is defined and 5 is odd %}{{ 'x,y'.split(',') | last }}{% endif %}", "y"),
    ],
)
def test_templates_do_what_jinja_does(source, text):
    assert render(source, VALUES) == text


@pytest.mark.parametrize(
    ("source", "line", "said"),
    [
        ("{{ missing }}", 1, "'missing' is undefined"),
        ("a\n\n{{ results[0].nope.deep }}", 3, "has no attribute 'nope'"),
        ("a\n{% for", 2, "unexpected"),
        ("a\n{{ x | nosuch }}", 2, "No filter named 'nosuch'"),
        ("{{ 1 / 0 }}", 1, "division by zero"),
        ("a\n{% include 'x' %}", 2, "no loader"),
        ("{% extends 'x' %}", 1, "no loader"),
        ("{{ range(3) | map('abs') }}", 1, "perhaps |list is missing"),
    ],
)
def test_errors_name_the_line(source, line, said):
    with pytest.raises(InvalidInputError) as caught:
        render(source, VALUES, what="answer")
    assert caught.value.line == line
    assert said in caught.value.message
    assert caught.value.message.startswith("The answer")


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__ }}",
        "{{ ''['__class__'] }}",
        "{{ now.__class__.__mro__ }}",
        "{{ name.format }}",
        "{{ '{0.__class__}'.format(name) }}",
        "{{ results.append(1) }}",
        "{{ results[0].update({}) }}",
        "{{ self.__init__ }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ lipsum.__globals__ }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ results | attr('__class__') }}",
        "{{ results | map(attribute='__class__') | list }}",
        "{{ render.__globals__ }}",
    ],
)
def test_python_is_out_of_reach(source):
    with pytest.raises(InvalidInputError):
        render(source, VALUES)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ 'x' * 300000 }}", "writes more than 200000 characters"),
        ("{% for i in range(99999) %}xxx{% endfor %}", "writes more than 200000 characters"),
        ("{% for i in range(10 ** 9) %}x{% endfor %}", "Range too big"),
        ("{% macro f(n) %}{{ f(n - 1) }}{% endmacro %}{{ f(30) }}", "calls itself too often"),
        ("{{ " + "(" * 5_000 + ")" * 5_000 + " }}", "calls itself too often"),
    ],
)
def test_what_grows_without_end_is_refused(source, said):
    with pytest.raises(InvalidInputError, match=said):
        render(source, VALUES)


def test_a_constant_is_not_computed_while_a_template_is_checked():
    check_template("{{ 9 ** (9 ** 9) }}")


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% set r = range(99999) %}{% for i in r %}{% for j in r %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) ~ f(n - 1) }}{% endif %}{% endmacro %}{{ f(40) }}",
        "{% for i in range(99999) if i in range(99999) | list %}{% endfor %}",
    ],
)
def test_what_would_not_end_is_ended(monkeypatch, source):
    """Between looks at the clock, which has moved at each, there is little enough work."""
    looks = itertools.count()
    monkeypatch.setattr(
        "rota.agents.scripted.templates.time.thread_time", lambda: next(looks) / 100
    )
    check_template(source)

    def ended():
        with pytest.raises(InvalidInputError, match="takes too long"):
            render(source, VALUES, seconds=0.1)

    assert calls_of(ended, most=10_000_000)  # without an end it is thousands of millions


def test_evaluation_keeps_types():
    assert evaluate("results[0].n + 1", VALUES) == 6
    assert evaluate("results | map(attribute='n')", VALUES) == [5]
    for expression in ("nope", "results[0].nope", "1 +"):
        with pytest.raises(InvalidInputError):
            evaluate(expression, VALUES)


def test_templates_change_nothing_that_they_are_given():
    values = {"given": [1, [2]]}
    render(
        "{% set x = given + [3] %}{{ x | reverse | list }}{{ given | sort | length }}",
        {"given": [1]},
    )
    render("{{ given | length }}", values)
    assert values == {"given": [1, [2]]}


def test_renderings_in_threads_do_not_share_their_limits():
    failures: list[str] = []

    def slow():
        try:
            render("{% for i in range(9**6) %}{% endfor %}", {}, seconds=0.05)
        except InvalidInputError as error:
            failures.append(error.message)

    threads = [threading.Thread(target=slow) for _ in range(3)]
    for thread in threads:
        thread.start()
    texts = [render("{{ n }}", {"n": n}) for n in range(50)]
    for thread in threads:
        thread.join()
    assert texts == [str(n) for n in range(50)]
    assert len(failures) == 3


@given(st.text(alphabet="{}%|.[]()'\"abfor in*+~0123456789\n", max_size=60))
def test_any_source_renders_or_is_refused_with_a_sentence(source):
    try:
        said = render(source, {"a": "b", "b": [1]}, seconds=0.5)
    except InvalidInputError as error:
        said = error.message
        assert_is_a_sentence(said)
    assert isinstance(said, str)


def assert_is_a_sentence(said):
    assert said.startswith("The template")
    assert said.endswith(".")


def test_a_template_is_checked_without_being_rendered():
    check_template("{{ missing }}")
    with pytest.raises(InvalidInputError, match="line 2"):
        check_template("fine\n{{ not fine }")
