"""How the pages read: nothing that a machine can tell is hard to read. The rest is for readers."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LONGEST = 35
GENERATED = {"schema.md", "privileges.md"}
PAGES = sorted(
    page
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    if page.name not in GENERATED | {"CHANGELOG.md"}
)


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a page; each cell, item and heading is apart, and code is one word."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"`[^`\n]*`", "CODE", text)
    for paragraph in re.split(r"\n\s*\n", text):
        for part in re.split(r"\n(?=\s*(?:[-*#|]|\d+\.) ?)|(?<=\|)|\s·\s", paragraph):
            flat = " ".join(part.split())
            yield from re.split(r"(?<=[.!?:;])[)\"*]*\s+(?=[\"(*]*(?:[A-Z0-9]|rota\b))", flat)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_sentence_is_too_long(page):
    long = [
        f"{count} words: {sentence}"
        for sentence in sentences(page.read_text(encoding="utf-8"))
        if (count := len(re.findall(r"[\w'-]+", sentence))) > LONGEST
    ]
    assert long == []


def test_a_sentence_that_is_too_long_is_found():
    text = "Short. " + "word " * 40 + "end. `a b c` is one word.\n\n| cell | " + "x " * 36 + "|"
    assert [len(s.split()) > LONGEST for s in sentences(text)].count(True) == 2
