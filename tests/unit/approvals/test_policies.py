"""Rules on calls: what each condition means, and that no rule does more than it says."""

from __future__ import annotations

import itertools
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rota.domain.agents.configuration import ToolDeclaration
from rota.domain.agents.tool_hints import HINTS, tightened
from rota.domain.approvals.argument_tests import TESTS
from rota.domain.approvals.condition_syntax import parse_condition
from rota.domain.approvals.conditions import Condition
from rota.domain.approvals.rules import Rule, RuleDraft, condition_as_json, conditions_from_json
from rota.domain.approvals.verdict import Circumstances, judge, judge_with_findings
from rota.domain.errors import InvalidInputError
from rota.domain.ids import RuleId, ScheduleId, ToolId, UserId

ALICE, BOB = UserId(uuid.UUID(int=1)), UserId(uuid.UUID(int=2))
MORNING, EVENING = ScheduleId(uuid.UUID(int=3)), ScheduleId(uuid.UUID(int=4))
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HERE = Circumstances(ALICE, "watcher", MORNING, unattended=True, now=NOW)


def declared(tier="user_configurable", **fields):
    return ToolDeclaration(
        **{
            "id": ToolId(uuid.uuid4()),
            "name": "send",
            "description": "",
            "version": 3,
            "read_only": False,
            "idempotent": False,
            "risk": "medium",
            "default_tier": tier,
            "timeout_seconds": 1.0,
        }
        | fields
    )


def rule(effect, *when, tool="send", owner=ALICE, fault=None, **fields):
    conditions = tuple(parse_condition(text) for text in when)
    draft = RuleDraft(effect, tool, conditions, **fields)
    return Rule(RuleId(uuid.uuid4()), owner, draft, fault=fault)


def decide(rules, arguments=None, declaration=None, here=HERE, tool="send"):
    return judge(tool, declaration or declared(), arguments or {}, rules, here)


def holds(text, arguments, quantifier="all"):
    return parse_condition(text).judge(arguments, quantifier).holds


OWN = "to email_domain own.com"
ADDRESSES = {
    # what `to` holds: whether all of it is at own.com (None: nobody can say)
    "a@own.com": True,
    "A.B+c@OWN.com": True,
    "a@own.com.": True,
    "Ann <a@own.com>, Ben <b@own.com>": True,
    '"Doe, Ann" <a@own.com>': True,
    '"x@evil.com" <a@own.com>': True,
    "team: a@own.com, b@own.com;": True,
    "a@own.com; b@own.com": True,
    "a@own.com, ": True,
    "a@\uff4f\uff57\uff4e.com": True,
    "a@evil.com": False,
    "a@own.com.evil.com": False,
    "a@notown.com": False,
    "a@sub.own.com": False,
    '"x@own.com"@evil.com': False,
    '"x@own.com" <y@evil.com>': False,
    "x@own.com <y@evil.com>": False,
    "a@own.com, b@evil.com": False,
    "team: a@own.com, b@evil.com;": False,
    "a@own.com;b@evil.com": False,
    "a@xn--wn-fka.com": False,
    "a@ówn.com": False,
    "mailto:a@evil.com": False,
    "a@own.com(@evil.com)": None,
    "a@evil.com (a@own.com)": None,
    "<@own.com:a@evil.com>": None,
    "a@own.com\nBcc: b@evil.com": None,
    "a@own.com\r\nBcc: b@evil.com": None,
    "a%evil.com@own.com": None,
    "evil.com!a@own.com": None,
    "a@own.com b@evil.com": None,
    "a@own.com <b@own.com": None,
    "<a@own.com> <b@evil.com>": None,
    "a@[10.0.0.1]": None,
    "a@b@own.com": None,
    "a@own.com\u200b": None,
    "a\u202e@own.com": None,
    "a@stra\u00dfe.de": None,
    '"a@own.com': None,
    "a\\@own.com": None,
    "everybody": None,
    "a\uff20evil.com@own.com": None,
    "b@own.com <a@own.com>": None,
    "": None,
    "undisclosed-recipients:;": None,
    7: None,
    True: None,
    ("a@own.com", "b@own.com"): True,
    ("a@own.com", "b@evil.com"): False,
    ("a@own.com", 7): None,
    (): None,
}


@pytest.mark.parametrize(("to", "expected"), ADDRESSES.items(), ids=repr)
def test_email_domain_reads_every_address_and_guesses_none(to, expected):
    to = list(to) if isinstance(to, tuple) else to

    assert holds(OWN, {"to": to}) is expected


@pytest.mark.parametrize(
    "more",
    [
        {"bcc": "b@evil.com"},
        {"BCC": ["b@evil.com"]},
        {"cc": {"email": "b@evil.com"}},
        {"options": {"bcc": "b@evil.com"}},
        {"message": {"bccRecipients": [{"emailAddress": {"address": "b@evil.com"}}]}},
        {"headers": [{"name": "Bcc", "value": "b@evil.com"}]},
        {"headers": {"Bcc": "b@evil.com"}},
        {"headers": [["bcc", "b@evil.com"]]},
        {"email_bcc": "b@evil.com"},
        {"Bcc:": "b@evil.com"},
        {"bcc2": "b@evil.com"},
        {"\uff42cc": "b@evil.com"},
        {"headers": {"Resent-Bcc": "b@evil.com"}},
        {"to_addresses": "b@evil.com"},
    ],
    ids=str,
)
def test_hidden_recipients_count_whatever_the_rule_names(more):
    assert holds(OWN, {"to": "a@own.com"} | more) is False


def test_absent_copies_are_no_reason_to_doubt():
    assert holds(OWN, {"to": "a@own.com", "cc": [], "bcc": None, "subject": "b@evil.com"}) is True


def test_address_objects_are_read_and_their_labels_are_not():
    assert holds(OWN, {"to": [{"name": "Ann", "email": "a@own.com"}]}) is True
    assert holds(OWN, {"to": [{"name": "b@evil.com", "email": "a@own.com"}]}) is False
    assert holds(OWN, {"to": [{"name": "Ann", "id": "17"}]}) is None


def test_domains_of_rules_become_ascii():
    assert holds("to email_domain bücher.de", {"to": "a@xn--bcher-kva.de"}) is True
    assert holds("to email_domain xn--bcher-kva.de", {"to": "a@BÜCHER.de"}) is True


URLS = {
    "https://own.com": True,
    "HTTPS://OWN.com:8443/x?y#z": True,
    "https://a.b.own.com/": True,
    "https://user:pass@own.com/": True,
    "https://own.com?@evil.com": True,
    "https://own.com#@evil.com": True,
    "https://evil.com": False,
    "https://own.com@evil.com": False,
    "https://own.com:443@evil.com/": False,
    "https://own.com.evil.com": False,
    "https://notown.com": False,
    "https://evil.com/own.com": False,
    "https://evil.com?own.com": False,
    "https://evil.com\\@own.com": None,
    "https://own.com\\.evil.com": None,
    "https://own.com%40evil.com": None,
    "https://a@b@own.com": None,
    "https://own.com\t.evil.com": None,
    " https://own.com": None,
    "//own.com": None,
    "own.com": None,
    "https:/own.com": None,
    "javascript://own.com/%0aalert(1)": None,
    "file://own.com/etc/passwd": None,
    "http://2130706433/": None,
    "http://0x7f.1/": None,
    "http://0177.0.0.1/": None,
    "http://[::1]/": None,
    "https://own.com:99999999/": None,
    "https://": None,
    5: None,
}


@pytest.mark.parametrize(("url", "expected"), URLS.items(), ids=repr)
def test_url_host_is_the_host_that_a_url_leads_to(url, expected):
    assert holds("url url_host own.com", {"url": url}) is expected


def test_url_host_of_addresses_has_no_subdomains():
    assert holds("url url_host 10.0.0.1", {"url": "http://10.0.0.1/"}) is True
    with pytest.raises(InvalidInputError):
        parse_condition("url url_host 0.0.1")


def test_names_of_url_hosts_become_ascii():
    assert holds("url url_host bücher.de", {"url": "https://www.xn--bcher-kva.de"}) is True


PATHS = {
    "/srv/out": True,
    "/srv/out/": True,
    "/srv/out/a/b.txt": True,
    "/srv//out/./a": True,
    "/srv/outer": False,
    "/srv": False,
    "/etc/passwd": False,
    "/srv/out/../../etc/passwd": None,
    "/srv/out/..": None,
    "srv/out/a": None,
    "~/a": None,
    "/srv/out/$HOME": None,
    "/srv/out/%2e%2e/etc": None,
    "/srv/out\\..\\a": None,
    "C:/srv/out": None,
    "/srv/out/a\0b": None,
    "": None,
}


@pytest.mark.parametrize(("path", "expected"), PATHS.items(), ids=repr)
def test_path_under_is_by_whole_names_and_never_upwards(path, expected):
    assert holds("path path_under /srv/out", {"path": path}) is expected


OTHERS = [
    ("a equals 1", {"a": 1}, True),
    ("a equals 1", {"a": 1.0}, True),
    ("a equals 1", {"a": True}, False),
    ("a equals 1", {"a": "1"}, False),
    ('a equals "1"', {"a": "1"}, True),
    ("a = x", {"a": "x"}, True),
    ("a equals true", {"a": True}, True),
    ("a equals x", {"a": None}, None),
    ("a equals x", {}, None),
    ("a equals x or missing", {}, True),
    ("a equals x unless missing", {}, False),
    ("a.b equals x or missing", {"a": "text"}, None),
    ("a[*] equals x or missing", {"a": "x"}, None),
    ("a not equals x", {"a": "y"}, True),
    ("a not equals x", {}, None),
    ("a in EUR USD", {"a": "EUR"}, True),
    ("a in EUR USD", {"a": "GBP"}, False),
    ("a starts_with Dear", {"a": "Dear all"}, True),
    ('a starts_with "Dear all" Hi', {"a": "Hi"}, True),
    ("a starts_with Dear", {"a": ["Dear"]}, None),
    ("a ends_with .pdf", {"a": "x.pdf"}, True),
    ("a ends_with .pdf", {"a": "x.pdf.exe"}, False),
    ("a matches INV-[0-9]+", {"a": "INV-17"}, True),
    ("a matches INV-[0-9]+", {"a": "INV-17 and more"}, False),
    ("a matches INV-[0-9]+", {"a": "INV-17\n"}, False),
    ("a matches x|y", {"a": "xz"}, False),
    ("a over 100", {"a": 100}, False),
    ("a > 100", {"a": 100.01}, True),
    ("a >= 100", {"a": 100}, True),
    ("a under 0", {"a": -1}, True),
    ("a <= 5", {"a": 5}, True),
    ("a over 100", {"a": "101"}, None),
    ("a over 100", {"a": True}, None),
    ("a over 100", {"a": 10**400}, True),
    ("a length_over 3", {"a": "abcd"}, True),
    ("a length_at_most 3", {"a": "abcd"}, False),
    ("a length_over 3", {"a": [1, 2, 3, 4]}, None),
    ("a count_at_most 2", {"a": [1, 2]}, True),
    ("a count_over 2", {"a": [1, 2, 3]}, True),
    ("a count_over 2", {"a": "abc"}, None),
    ("a count_at_most 2 or missing", {}, True),
    ("a present", {"a": 0}, True),
    ("a present", {"a": None}, False),
    ("a absent", {}, True),
    ("a absent", {"a": ""}, True),
    ("a absent", {"a": []}, True),
    ("a absent", {"a": False}, False),
    ('a equals ""', {"a": ""}, True),
    ("a not absent", {}, False),
    ("a.b absent", {"a": "text"}, None),
    ("* only a b", {"a": 1}, True),
    ("* only a b", {"a": 1, "c": 2}, False),
    ("* only a b", {"a": 1, "c": None}, True),
    ("* only a b", {"a": 1, "c": ""}, True),
    ("invoice.total over 10", {"invoice": {"total": 11}}, True),
    ("items[1].price over 10", {"items": [{"price": 1}, {"price": 11}]}, True),
    ("items[2].price over 10", {"items": [{"price": 1}]}, None),
    ("recipients recipients_at_most 2", {"to": "a@x.de, b@x.de"}, True),
    ("recipients recipients_at_most 2", {"to": "a@x.de", "bcc": ["b@x.de", "c@x.de"]}, False),
    ("recipients recipients_over 2", {"to": "a@x.de", "bcc": ["b@x.de", "c@x.de"]}, True),
    ("recipients recipients_over 1", {"attendees": ["a@x.de", "b@x.de"]}, True),
    ("recipients email_domain x.de", {"attendees": ["a@x.de"], "guestEmails": "b@y.de"}, False),
    ("to recipients_at_most 2", {"to": "a@x.de, b@x.de"}, True),
    ("to recipients_at_most 2", {"to": "a@x.de b@x.de c@x.de"}, None),
    ("to recipients_at_most 2", {}, None),
]


@pytest.mark.parametrize(("text", "arguments", "expected"), OTHERS, ids=str)
def test_each_test_holds_for_what_it_says(text, arguments, expected):
    assert holds(text, arguments) is expected


def test_a_rule_that_allows_wants_all_values_and_others_one():
    prices = {"items": [{"price": 1}, {"price": 500}]}

    assert holds("items[*].price over 100", prices, "all") is False
    assert holds("items[*].price over 100", prices, "any") is True
    assert holds("items[*].price over 100", {"items": [{"price": 1}, {}]}, "any") is None
    assert holds("items[*].price over 100", {"items": [{"price": 500}, {}]}, "any") is True
    assert holds("items[*].price over 100", {"items": [{"price": 500}, {}]}, "all") is None
    assert holds("to not email_domain own.com", {"to": "a@own.com, b@x.de"}, "any") is True
    assert holds("to not email_domain own.com", {"to": "a@own.com, b@x.de"}, "all") is False


def test_every_test_has_a_case_here():
    tested = {parse_condition(text).test for text, _, _ in OTHERS}

    assert tested | {"email_domain", "url_host", "path_under"} == set(TESTS)


def test_a_pattern_takes_time_linear_in_the_text():
    assert holds("a matches (a+)+", {"a": "a" * 90_000 + "b"}) is False
    assert holds("a matches (a+)+", {"a": "a" * 200_000}) is None


WRONG = {
    "amount": "ARGUMENT TEST VALUE",
    "amount not": "test is missing after `not`",
    "amount bigger 3": "no test 'bigger'",
    "amount over": "takes one value",
    "amount over 3 4": "takes one value",
    "amount over much": "a number, not 'much'",
    "amount over true": "a number",
    "a present x": "takes no value",
    "a equals null": "null",
    "a in or b": "'or' stands in the wrong place",
    'a equals "x': "a quote is not closed",
    'a equals x"y"': "a quote is not closed",
    "a matches (": "regular expression",
    "a matches (?=x)y": "look-around",
    "a matches x)|(?:y": "regular expression",
    "a matches (x)\\1": "back-reference",
    "to email_domain": "values",
    "to email_domain *.com": "the name of a host",
    "url url_host http://x": "the name of a host",
    "path path_under ../x": "without `..`",
    "a,b over 3": "looks at one argument",
    "a..b over 3": "names no argument",
    "a[x] over 3": "names no argument",
    "* over 3": "all arguments",
    "a only b": "all arguments",
    "a count_over 1.5": "a whole number",
    "a present or missing": "nothing can be missing",
}


@pytest.mark.parametrize(("text", "said"), WRONG.items(), ids=list(WRONG))
def test_what_is_written_wrongly_is_refused_with_the_place(text, said):
    with pytest.raises(InvalidInputError) as caught:
        parse_condition(text)

    assert said in caught.value.message
    assert caught.value.field == "when"


@pytest.mark.parametrize("text", [text for text, _, _ in OTHERS] + [OWN])
def test_a_condition_is_written_as_it_is_read_and_stored_as_it_is(text):
    condition = parse_condition(text)

    assert parse_condition(str(condition)) == condition
    assert conditions_from_json([condition_as_json(condition)]) == (condition,)


@pytest.mark.parametrize("value", ["or", "true", "17", "two words", 'a"b', "not", "ä\\", "null"])
def test_texts_that_look_like_something_else_are_written_in_quotes(value):
    condition = Condition.make(["a"], "equals", [value])

    assert parse_condition(str(condition)) == condition


@pytest.mark.parametrize(
    "stored",
    [
        {},
        [17],
        [{"arguments": ["a"], "test": "over", "values": [1], "more": 1}],
        [{"arguments": "a", "test": "over", "values": [1]}],
        [{"arguments": ["a"], "test": "over", "values": 1}],
        [{"arguments": ["a"], "test": None}],
        [{"arguments": ["a"], "test": "over", "values": [1], "missing": "perhaps"}],
        [{"arguments": ["a"], "test": "over", "values": [1], "not": "yes"}],
        [{"arguments": [], "test": "over", "values": [1]}],
        [{"arguments": ["a"], "test": "eval", "values": ["1"]}],
    ],
    ids=str,
)
def test_stored_conditions_that_nobody_can_read_are_refused(stored):
    with pytest.raises(InvalidInputError):
        conditions_from_json(stored)


ALLOW, REQUIRE, DENY = (rule(effect) for effect in ("allow", "require", "deny"))


@pytest.mark.parametrize(
    ("tier", "owner", "expected"),
    [
        ("auto", ALICE, "allowed"),
        ("user_configurable", ALICE, "allowed"),
        ("requires_approval", ALICE, "held"),  # only the operator loosens what they demand
        ("auto", None, "allowed"),
        ("user_configurable", None, "allowed"),
        ("requires_approval", None, "allowed"),
    ],
)
def test_who_may_loosen_which_tier(tier, owner, expected):
    verdict = decide([rule("allow", owner=owner)], declaration=declared(tier))

    assert verdict.decision == expected
    assert verdict.tier == tier


@pytest.mark.parametrize("tier", ["auto", "user_configurable", "requires_approval"])
@pytest.mark.parametrize("owner", [ALICE, None])
@pytest.mark.parametrize("order", list(itertools.permutations(["allow", "require", "deny"])))
def test_denying_comes_before_requiring_before_allowing_in_whatever_order(tier, owner, order):
    rules = [rule(effect, owner=owner) for effect in order]
    without = {
        name: [one for one in rules if one.draft.effect not in name.split("+")]
        for name in ("", "deny", "deny+require")
    }

    assert decide(without[""], declaration=declared(tier)).decision == "refused"
    assert decide(without["deny"], declaration=declared(tier)).decision == "held"
    loosened = tier != "requires_approval" or owner is None
    expected = "allowed" if loosened else "held"
    assert decide(without["deny+require"], declaration=declared(tier)).decision == expected


def test_neither_can_take_back_what_the_other_demands():
    assert decide([rule("allow", owner=None), rule("require")]).decision == "held"
    assert decide([rule("allow"), rule("require", owner=None)]).decision == "held"
    assert decide([rule("allow", owner=None), rule("deny")]).decision == "refused"


def test_a_preference_is_one_more_rule_of_the_owner():
    liked = declared(preference="auto")

    assert decide([rule("require", "amount > 100")], {"amount": 5}, liked).decision == "allowed"
    assert decide([rule("require", "amount > 100")], {"amount": 500}, liked).decision == "held"
    disliked = declared(preference="requires_approval")
    assert decide([rule("allow", owner=None)], {}, disliked).decision == "held"


@pytest.mark.parametrize(
    ("owner", "tool", "expected"),
    [
        (None, "ghost", "allowed"),
        (None, "gho*", "held"),
        (None, "*", "held"),
        (ALICE, "ghost", "held"),
    ],
)
def test_an_undeclared_tool_runs_only_by_the_operator_naming_it(owner, tool, expected):
    verdict = judge("ghost", None, {}, [rule("allow", tool=tool, owner=owner)], HERE)

    assert (verdict.decision, verdict.tier, verdict.risk) == (expected, "unknown", "high")


def test_a_changed_tool_waits_whatever_allows_it():
    changed = declared(preference="auto", is_changed=True)
    verdict = decide([rule("allow", owner=None)], {}, changed)

    assert verdict.decision == "held"
    assert "not as the operator declared it" in verdict.reason


def test_what_cannot_be_decided_is_asked():
    unknown = {"to": "everybody"}
    auto = declared("auto")

    assert decide([rule("allow", OWN)], unknown).decision == "held"
    assert decide([rule("require", OWN)], unknown, auto).decision == "held"
    assert decide([rule("deny", OWN)], unknown, auto).decision == "held"
    assert decide([rule("require", "amount > 100")], {}, auto).decision == "held"
    assert decide([rule("require", "amount > 100 unless missing")], {}, auto).decision == "allowed"
    assert decide([rule("deny", "amount > 100 or missing")], {}, auto).decision == "refused"
    said = decide([rule("deny", OWN)], unknown, auto).reason
    assert "cannot be decided" in said
    assert "'everybody' is no plain address" in said


def test_conditions_that_fail_beat_those_that_nobody_can_decide():
    both = rule("deny", "amount > 100", OWN)

    assert decide([both], {"amount": 5, "to": "everybody"}, declared("auto")).decision == "allowed"
    assert decide([both], {"amount": 500, "to": "everybody"}, declared("auto")).decision == "held"


@pytest.mark.parametrize("effect", ["allow", "require", "deny"])
@pytest.mark.parametrize("owner", [ALICE, None])
def test_a_rule_that_nobody_can_read_requires_approval_and_says_so(effect, owner):
    broken = rule(effect, owner=owner, fault="There is no test 'x'.")
    verdict = decide([broken, rule("allow")], {}, declared("auto"))

    assert verdict.decision == "held"
    assert "has an error: There is no test 'x'." in verdict.reason
    elsewhere = rule(effect, tool="other", fault="There is no test 'x'.")
    assert decide([elsewhere], {}, declared("auto")).decision == "allowed"


@pytest.mark.parametrize(
    "fields",
    [
        {"tool": "other"},
        {"tool": "sen"},
        {"tool": "x*"},
        {"owner": BOB},
        {"owner": None, "for_user": BOB},
        {"agent_name": "another"},
        {"schedule_id": EVENING},
        {"attendance": "interactive"},
        {"expires_at": NOW},
        {"tool_version": 2},
    ],
    ids=str,
)
def test_a_rule_of_another_scope_says_nothing(fields):
    (found,) = judge_with_findings(
        "send", declared("auto"), {}, [rule("deny", **fields)], HERE
    ).findings

    assert found.finding == "does_not_apply"
    assert decide([rule("deny", **fields)], {}, declared("auto")).decision == "allowed"


@pytest.mark.parametrize(
    "fields",
    [
        {"tool": "*"},
        {"tool": "se*"},
        {"tool": "send*"},
        {"owner": None, "for_user": ALICE},
        {"agent_name": "watcher", "schedule_id": MORNING, "attendance": "unattended"},
        {"expires_at": NOW + timedelta(seconds=1)},
        {"tool_version": 3},
    ],
    ids=str,
)
def test_a_rule_of_this_scope_holds(fields):
    assert decide([rule("deny", **fields)], {}, declared("auto")).decision == "refused"


def test_uses_are_counted_only_where_nothing_else_allows():
    counted = rule("allow", uses_left=1)

    assert decide([counted]).uses == counted.id
    assert decide([counted, rule("allow")]).uses is None
    assert decide([counted], declaration=declared("auto")).uses is None
    assert decide([rule("allow", uses_left=0)]).decision == "held"


def test_risk_is_the_highest_that_is_said_and_applies():
    high = rule("require", "amount > 100", risk="high")

    assert decide([high], {"amount": 500}).risk == "high"
    assert decide([high], {"amount": 5}).risk == "medium"
    assert decide([rule("allow", risk="low")]).risk == "medium"
    assert decide([rule("allow", owner=None, risk="high")]).risk == "high"


def test_hints_make_stricter_only():
    loosest = declared("auto", read_only=True, idempotent=True, risk="low")
    strictest = declared("requires_approval", risk="high")
    every = [
        dict(zip(HINTS, values, strict=True)) for values in itertools.product([0, 1], repeat=4)
    ]

    for hints in every:
        assert tightened(strictest, {name: bool(v) for name, v in hints.items()}) == strictest
    assert tightened(loosest, {"readOnlyHint": True, "idempotentHint": True}) == loosest
    assert tightened(loosest, {"readOnlyHint": False}).read_only is False
    assert tightened(loosest, {"idempotentHint": False}).idempotent is False
    assert tightened(loosest, {"openWorldHint": True}).risk == "medium"
    destructive = tightened(loosest, {"destructiveHint": True})
    assert (destructive.read_only, destructive.risk) == (False, "high")
    assert destructive.default_tier == "user_configurable"


# What follows holds for whatever rules and arguments there are.

STRICTNESS = {"allowed": 0, "held": 1, "refused": 2}
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.sampled_from(["a@own.com", "b@evil.com", "everybody", "https://own.com", "/srv/out/x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "to", "bcc", "name", "email"]), inner, max_size=3)
    ),
    max_leaves=8,
)
arguments = st.dictionaries(
    st.sampled_from(["a", "to", "bcc", "amount", "url", "path"]), values, max_size=5
)
texts = st.sampled_from(
    [
        *[text for text, _, _ in OTHERS],
        OWN,
        "to not email_domain own.com",
        "amount over 100",
        "amount not over 100 or missing",
        "url url_host own.com",
        "path path_under /srv/out",
        "bcc absent",
        "to[*] equals a@own.com",
        "a.name not equals x unless missing",
    ]
)


@st.composite
def rules(draw, effects=("allow", "require", "deny"), *, readable=False):
    effect = draw(st.sampled_from(effects))
    return rule(
        effect,
        *draw(st.lists(texts, max_size=3)),
        tool=draw(st.sampled_from(["send", "se*", "*", "other"])),
        owner=draw(st.sampled_from([ALICE, None, BOB])),
        agent_name=draw(st.sampled_from([None, "watcher", "another"])),
        attendance=draw(st.sampled_from(["any", "unattended", "interactive"])),
        risk=draw(st.sampled_from([None, "low", "high"])),
        tool_version=draw(st.sampled_from([None, 3, 4])),
        expires_at=draw(st.sampled_from([None, NOW, NOW + timedelta(days=1)])),
        uses_left=draw(st.sampled_from([None, 0, 1])) if effect == "allow" else None,
        fault=None if readable else draw(st.sampled_from([None, None, None, "unreadable"])),
    )


declarations = st.none() | st.builds(
    declared,
    tier=st.sampled_from(["auto", "requires_approval", "user_configurable"]),
    preference=st.sampled_from([None, "auto", "requires_approval"]),
    is_changed=st.booleans(),
)


def strictness(declaration, given_arguments, all_rules):
    return STRICTNESS[judge("send", declaration, given_arguments, all_rules, HERE).decision]


@pytest.mark.slow
@given(declarations, arguments, st.lists(rules(), max_size=5), rules(effects=("require", "deny")))
def test_adding_a_rule_that_asks_or_denies_never_loosens(declaration, called, some, more):
    assert strictness(declaration, called, [*some, more]) >= strictness(declaration, called, some)
    assert strictness(declaration, called, [more, *some]) >= strictness(declaration, called, some)


@pytest.mark.slow
@given(
    declarations, arguments, st.lists(rules(), max_size=5), rules(effects=("allow",), readable=True)
)
def test_adding_a_rule_that_allows_never_tightens(declaration, called, some, more):
    assert strictness(declaration, called, [*some, more]) <= strictness(declaration, called, some)


@given(arguments, st.lists(rules(), max_size=5), rules(effects=("allow",)))
def test_no_rule_of_an_owner_loosens_what_the_operator_demands(called, some, more):
    demanded = declared("requires_approval")
    theirs = [one for one in some if one.user_id is None]
    before = strictness(demanded, called, theirs)
    owners = replace(more, user_id=ALICE)

    assert strictness(demanded, called, [*theirs, owners]) >= before


@given(declarations, arguments, st.lists(rules(), max_size=6))
def test_the_order_of_rules_does_not_matter(declaration, called, some):
    forth, back = strictness(declaration, called, some), strictness(declaration, called, some[::-1])

    assert forth == back


class Nasty:
    """A condition that fails as no condition does."""

    def judge(self, arguments, quantifier):
        raise RecursionError


@given(declarations, arguments, st.sampled_from(["allow", "require", "deny"]))
def test_a_rule_that_fails_asks_and_never_raises(declaration, called, effect):
    nasty = Rule(RuleId(uuid.uuid4()), None, RuleDraft(effect, "*", (Nasty(),)))
    verdict = judge("send", declaration, called, [nasty], HERE)

    assert verdict.decision == "held"
    assert "has an error: it failed: RecursionError" in verdict.reason


def test_arguments_nested_without_end_never_raise():
    deep = {"to": "a@evil.com"}
    for _ in range(5_000):
        deep = {"a": deep}

    assert decide([rule("deny", OWN.replace("own", "evil"))], deep).decision == "refused"
    assert decide([rule("allow", "a equals x")], {"a": deep}).decision == "held"
