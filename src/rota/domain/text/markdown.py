"""Finds code blocks and sections in a model's Markdown. It is no full Markdown parser."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})[ \t]*([^`]*)$")
_HEADING: Final = re.compile(r" {0,3}(#{1,6})([^#].*)?$")
_UNDERLINE: Final = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_LIST_MARK: Final = re.compile(r"[-*+•>][ \t]+")
_ORNAMENT: Final = re.compile(r"(?:\d{1,3}[.)]|[^\w\s|]+)\s+")  # "1. ", "2) ", an emoji

_LONGEST_TITLE: Final = 200
_BELOW_ALL: Final = 7  # level of bold lines and of lines with a colon


class CodeBlock(NamedTuple):
    """A fenced block: the first word of its info string, in lower case, and what it holds."""

    language: str
    text: str


class _Line(NamedTuple):
    text: str
    is_code: bool


@dataclass(frozen=True, slots=True)
class _Heading:
    name: str | None  # the wanted section that it begins
    level: int
    rest: str = ""  # text that stands on the same line


def code_blocks(text: str) -> tuple[CodeBlock, ...]:
    """Return the fenced code blocks, by the rules of CommonMark; one never closed runs to the end.

    Blocks in lists and quotes are not looked for.
    """
    return tuple(
        CodeBlock(language, "\n".join(lines))
        for language, lines in _parts(text)
        if language is not None
    )


def filled_sections(text: str, names: Iterable[str]) -> Mapping[str, bool]:
    """Return those of the named sections that a text has, and whether there is text in them.

    A section begins with a heading (# to ######, or underlined by === or ---), a bold line, or a
    line `Name:`; case, emphasis, numbering and ornaments do not matter. It ends at the next of the
    named sections, or at a heading of the same or a higher level. Text is a letter, a digit or a
    pictogram: a rule or a list mark alone is none. Of a section that is there twice, one must be
    filled.
    """
    wanted = {title_key(name): name for name in names}
    lines = [
        _Line(line.rstrip("\r"), is_code=language is not None)
        for language, part in _parts(text)
        for line in part
    ]
    filled: dict[str, bool] = {}
    current: _Heading | None = None
    number = 0
    while number < len(lines):
        line, following = lines[number], lines[number + 1 : number + 2]
        heading = None if line.is_code else _heading(line.text, wanted)
        number += 1
        if heading is None and following and not line.is_code and not following[0].is_code:
            heading = _underlined(line.text, following[0].text, wanted)
            number += heading is not None
        if heading is not None:
            if heading.name is not None or (current and heading.level <= current.level):
                current = heading if heading.name is not None else None
            body = heading.rest
        else:
            body = line.text
        if current is not None and current.name is not None:
            filled[current.name] = filled.get(current.name, False) or _says_something(body)
    return filled


def title_key(title: str) -> str:
    """Return what makes titles the same: without case, emphasis, a final colon, or odd spaces."""
    plain = unicodedata.normalize("NFKC", title).casefold().strip(" \t\r\n*_`~:")
    return " ".join(plain.split())


def _closes(line: str, fence: str) -> bool:
    stripped = line.strip()
    indented = len(line) - len(line.lstrip(" ")) > 3
    return not indented and len(stripped) >= len(fence) and set(stripped) == {fence[0]}


def _parts(text: str) -> Iterator[tuple[str | None, list[str]]]:
    """Yield the lines of texts (None) and of fenced blocks (their language), in turn."""
    fence, language, lines = "", None, list[str]()
    for line in text.split("\n"):
        opening = None if fence else _FENCE.match(line.rstrip("\r"))
        if opening is None and not (fence and _closes(line, fence)):
            lines.append(line)
            continue
        yield language, lines
        fence, language, lines = "", None, []
        if opening is not None:
            fence, language = opening[1], (opening[2].split() or [""])[0].lower()
    yield language, lines


def _heading(line: str, wanted: Mapping[str, str]) -> _Heading | None:
    matched = _HEADING.match(line)
    if matched is not None:
        title = matched[2] or ""
        name = _named(title.rstrip().rstrip("#"), wanted)
        # "#urgent" is no heading, but "##Summary" is meant as one.
        is_heading = name is not None or not title or title[0] in " \t"
        return _Heading(name, len(matched[1])) if is_heading else None
    plain = line.strip()
    plain = plain[mark.end() :] if (mark := _LIST_MARK.match(plain)) else plain
    for emphasis in ("**", "__"):
        if plain.startswith(emphasis):
            title, closed, rest = plain[2:].partition(emphasis)
            is_title = not rest.strip() or rest.lstrip().startswith(":") or title.endswith(":")
            name = _named(title, wanted) if closed and is_title else None
            return _Heading(name, _BELOW_ALL, rest) if name is not None else None
    title, colon, rest = plain.partition(":")
    name = _named(title, wanted) if colon else None
    return _Heading(name, _BELOW_ALL, rest) if name is not None else None


def _underlined(line: str, following: str, wanted: Mapping[str, str]) -> _Heading | None:
    underline = _UNDERLINE.match(following)
    if underline is None or not line.strip():
        return None
    name = _named(line, wanted)
    level = 1 if underline[1].startswith("=") else 2
    # Text above a line of dashes is mostly no heading; text above === is one.
    return _Heading(name, level) if name is not None or level == 1 else None


def _named(title: str, wanted: Mapping[str, str]) -> str | None:
    if len(title) > _LONGEST_TITLE:
        return None
    bare = title.strip().lstrip("*_")
    for _ in range(3):
        name = wanted.get(title_key(bare))
        ornament = _ORNAMENT.match(bare)
        if name is not None or ornament is None:
            return name
        bare = bare[ornament.end() :]
    return wanted.get(title_key(bare))


def _says_something(text: str) -> bool:
    return any(character.isalnum() or unicodedata.category(character) == "So" for character in text)
