"""What people write of execution becomes options, or one sentence."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from rota.domain.errors import InvalidInputError
from rota.domain.runs.limits import DayLimits, Limits
from rota.domain.runs.option_drafts import LARGEST, OptionDraft, read_options
from rota.domain.runs.options import Precheck, RunOptions

SCHEMA = '{"type": "object"}'
EVERYTHING = OptionDraft(
    model="openai:gpt-5-mini",
    max_time="10m",
    idle_time="90s",
    max_steps="20",
    max_tokens="1.5M",
    max_cost="$0.50",
    day_tokens="200k",
    day_cost="5",
    check=("Mail from Alice?", " Disk full? "),
    quiet_answer="ALL QUIET",
    precheck="mail_search",
    precheck_args='{"query": "is:unread"}',
    output_schema=SCHEMA,
    section=("Summary",),
    retries="2",
)


def test_everything_that_can_be_written_is_read():
    assert EVERYTHING.options() == RunOptions(
        model="openai:gpt-5-mini",
        limits=Limits(600, 90, 20, 1_500_000, Decimal("0.50")),
        day_limits=DayLimits(200_000, Decimal(5)),
        checklist=("Mail from Alice?", "Disk full?"),
        quiet_answer="ALL QUIET",
        precheck=Precheck("tool", "mail_search", {"query": "is:unread"}),
        output={"schema": {"type": "object"}, "sections": ["Summary"]},
        retries=2,
    )


def test_what_is_read_survives_the_way_through_a_row():
    options = EVERYTHING.options()
    assert RunOptions.parse(json.loads(json.dumps(options.as_json()))) == options


@pytest.mark.parametrize(
    ("written", "tokens"),
    [("7", 7), ("200k", 200_000), ("200 K", 200_000), ("1.5M", 1_500_000), ("0.5k", 500)],
)
def test_counts_may_be_short(written, tokens):
    assert OptionDraft(max_tokens=written).options().limits.tokens == tokens


def test_draft_that_says_nothing_changes_nothing():
    options = EVERYTHING.options()
    assert not OptionDraft()
    assert OptionDraft().options(options) == options


def test_only_what_is_named_is_changed():
    before = EVERYTHING.options()
    draft = OptionDraft(max_cost="2", section=("Risks",), precheck_args="none")
    after = draft.options(before)
    assert after.limits == Limits(600, 90, 20, 1_500_000, Decimal(2))
    assert after.output == {"schema": {"type": "object"}, "sections": ["Risks"]}
    assert after.precheck == Precheck("tool", "mail_search")
    assert (after.model, after.checklist) == (before.model, before.checklist)


def test_another_precheck_does_not_inherit_arguments():
    after = OptionDraft(precheck="callable:due").options(EVERYTHING.options())
    assert after.precheck == Precheck("callable", "due")


def test_none_takes_each_value_away():
    nothing = OptionDraft(
        model="none",
        max_time="none",
        idle_time="none",
        max_steps="none",
        max_tokens="none",
        max_cost="none",
        day_tokens="none",
        day_cost="none",
        check=("none",),
        quiet_answer="none",
        precheck="none",
        output_schema="none",
        section=("none",),
        retries="none",
    )
    assert nothing.options(EVERYTHING.options()) == RunOptions()


def test_nought_takes_a_number_away():
    nought = OptionDraft(
        max_time="0",
        idle_time="0s",
        max_steps="0",
        max_tokens="0k",
        max_cost="$0.00",
        day_tokens="0",
        day_cost="0",
        retries="0",
    )
    after = nought.options(EVERYTHING.options())
    assert (after.limits, after.day_limits, after.retries) == (Limits(), DayLimits(), None)


NOUGHT_IS_REFUSED = [
    ({"max_time": "0s"}, {"limits": {"time": 0}}, "limits.time"),
    ({"max_steps": "0"}, {"limits": {"steps": 0}}, "limits.steps"),
    ({"max_tokens": "0k"}, {"limits": {"tokens": "0k"}}, "limits.tokens"),
    ({"max_cost": "$0.00"}, {"limits": {"cost": 0.0}}, "limits.cost"),
    ({"day_cost": "0"}, {"day_limits": {"cost": 0}}, "day_limits.cost"),
    ({"approvals_expire": "0"}, {"approvals_expire": 0}, "approvals_expire"),
    ({"approvals_remind": "0m"}, {"approvals_remind": "0m"}, "approvals_remind"),
    ({"approvals_most": "0"}, {"approvals_most": 0}, "approvals_most"),
]


@pytest.mark.parametrize(("flags", "fields", "place"), NOUGHT_IS_REFUSED)
def test_nought_in_something_new_is_refused_where_it_is_no_value(flags, fields, place):
    for read in (OptionDraft(**flags).options, lambda: read_options(fields)):
        with pytest.raises(InvalidInputError) as caught:
            read()
        assert (caught.value.field, caught.value.message[: len(place)]) == (place, place)


def test_nought_in_something_new_is_kept_where_it_is_a_value():
    assert OptionDraft(retries="0").options().retries == 0
    assert read_options({"retries": 0}).retries == 0
    assert read_options({"retries": None}).retries is None
    assert read_options({"retries": "none"}).retries is None


@pytest.mark.parametrize(
    ("draft", "field", "sentence"),
    [
        (OptionDraft(model="gpt-5"), "model", "provider:model"),
        (OptionDraft(max_time="soon"), "limits.time", "length of time 'soon'"),
        (OptionDraft(max_tokens="-5"), "limits.tokens", "number '-5'"),
        (OptionDraft(max_tokens="1.5"), "limits.tokens", "whole number"),
        (OptionDraft(max_tokens="9999999M"), "limits.tokens", "whole number"),
        (OptionDraft(max_cost="0.50 EUR"), "limits.cost", "US dollars"),
        (OptionDraft(max_cost="nan"), "limits.cost", "US dollars"),
        (OptionDraft(day_cost="-1"), "day_limits.cost", "US dollars"),
        (OptionDraft(check=("a", " ")), "checklist", "1 to 2000 characters"),
        (OptionDraft(quiet_answer="x" * 101), "quiet_answer", "1 to 100 characters"),
        (OptionDraft(precheck="callable:"), "precheck", "to a name"),
        (OptionDraft(precheck_args="{}"), "precheck", "name its tool"),
        (OptionDraft(precheck="look", precheck_args="[1]"), "precheck", "JSON object"),
        (OptionDraft(precheck="look", precheck_args="{"), "precheck", "as JSON"),
        (OptionDraft(precheck="look", precheck_args='{"a": NaN}'), "precheck", "holds NaN"),
        (OptionDraft(output_schema="[]"), "output.schema", "JSON object"),
        (OptionDraft(output_schema='{"type": "nothing"}'), "output.schema.type", "type"),
        (OptionDraft(section=("## Summary",)), "output.sections[0]", "without its #"),
        (OptionDraft(retries="11"), "retries", "0 to 10"),
        (OptionDraft(retries="often"), "retries", "number 'often'"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence_that_names_its_place(draft, field, sentence):
    with pytest.raises(InvalidInputError) as caught:
        draft.options()
    assert sentence in caught.value.message
    assert caught.value.message.endswith(".")
    assert caught.value.field == field


@pytest.mark.parametrize(
    "draft",
    [
        OptionDraft(check=("\udcff",)),
        OptionDraft(precheck="look", precheck_args='{"a": "\\u0000"}'),
        OptionDraft(check=("x" * 2_000,) * (LARGEST // 2_000 + 1)),
    ],
)
def test_what_the_database_cannot_hold_is_refused_before(draft):
    with pytest.raises(InvalidInputError):
        draft.options()


def test_one_run_has_its_own_model_and_limits():
    draft = OptionDraft(model="openai:gpt-5", max_time="5m", max_cost="0.10")
    assert draft.for_one_run() == RunOptions(
        model="openai:gpt-5", limits=Limits(wall_seconds=300, cost_usd=Decimal("0.10"))
    )


@pytest.mark.parametrize(
    "draft",
    [
        OptionDraft(model="none"),
        OptionDraft(max_cost="none"),
        OptionDraft(max_time="5m", max_tokens="0"),
    ],
)
def test_one_run_cannot_take_away_what_others_set(draft):
    with pytest.raises(InvalidInputError, match="cannot take away"):
        draft.for_one_run()
