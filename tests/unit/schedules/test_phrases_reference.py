"""docs/reference/phrases.md says what phrases mean; each of its rows is true."""

import re
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from rota.domain.errors import InvalidInputError
from rota.domain.schedules.phrases import Phrase, parse_phrase
from rota.domain.schedules.written_time import parse_duration

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "phrases.md"
BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=BERLIN)


def rows(heading: str) -> list[tuple[str, str]]:
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (.+) \| (.+) \|$", section, re.MULTILINE)
    return [(phrase, meaning) for phrase, meaning in cells if phrase != "Phrase"]


def berlin(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN)


def as_phrase(meaning: str) -> Phrase:
    kind = meaning.partition("`")[0].strip()
    values = tuple(re.findall("`([^`]+)`", meaning))
    match kind:
        case "":
            return Phrase(crons=values)
        case "interval":
            length, *start = values
            return Phrase(
                every=parse_duration(length, field="every"),
                start=berlin(start[0]) if start else None,
            )
        case "once":
            return Phrase(instants=tuple(map(berlin, values)))
    pytest.fail(f"{meaning} is no meaning that this test can read")


@pytest.mark.parametrize(("phrase", "meaning"), rows("Examples"))
def test_phrase_means_what_the_page_says(phrase, meaning):
    assert parse_phrase(phrase, now=NOW) == as_phrase(meaning)


@pytest.mark.parametrize(("phrase", "error"), rows("Refused"))
def test_phrase_is_refused_as_the_page_says(phrase, error):
    with pytest.raises(InvalidInputError) as caught:
        parse_phrase(phrase, now=NOW)
    assert error in caught.value.message


def test_page_has_both_tables():
    assert len(rows("Examples")) > 40
    assert len(rows("Refused")) > 10
