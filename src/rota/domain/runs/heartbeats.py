"""Heartbeats: a checklist in the prompt, an answer that means "all is well", and pre-checks.

An answer is quiet only if it is the quiet answer and nothing else. (OpenClaw drops up to 300
characters beside HEARTBEAT_OK, so nobody would read "HEARTBEAT_OK, but the disk is full".)
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from numbers import Number
from typing import Any, Final

_PAIRS: Final = (
    *(("***", "***"), ("**", "**"), ("__", "__"), ("*", "*"), ("_", "_"), ("~~", "~~")),
    *(("```", "```"), ("`", "`"), ('"', '"'), ("'", "'")),
    *(("\u201c", "\u201d"), ("\u201e", "\u201c"), ("\u2018", "\u2019"), ("\u201a", "\u2018")),
    *(("\u00ab", "\u00bb"), ("\u00bb", "\u00ab"), ("\u2039", "\u203a"), ("\u300c", "\u300d")),
)
_BLOCK: Final = re.compile(r"(`{3,}|~{3,})[ \t]*[\w+-]*[ \t]*\r?\n(.*?)\r?\n[ \t]*\1", re.DOTALL)
_AROUND: Final = " \t\r\n\u00a0\u200b\u200c\u200d\u2060\ufeff"
_LONGER_AT_MOST: Final = 100  # characters of emphasis, quotes and spaces around a quiet answer
_LONGEST_JSON: Final = 10_000


def with_checklist(prompt: str, items: Sequence[str], quiet_answer: str | None) -> str:
    """Return what the agent is asked: the prompt, each item by its number, and when to be quiet."""
    parts = [prompt.strip()]
    if items:
        listed = "\n".join(
            f"{number}. {item.strip().replace(chr(10), chr(10) + '   ')}"
            for number, item in enumerate(items, start=1)
        )
        parts.append(f"Go through this checklist, every item of it:\n\n{listed}")
    if quiet_answer:
        what = "no item needs attention" if items else "nothing needs attention"
        parts.append(
            f"If {what}, answer with exactly this and nothing else: {quiet_answer}\n"
            "Otherwise report what needs attention, and leave that answer out. What could not be "
            "checked needs attention."
        )
    return "\n\n".join(part for part in parts if part)


def is_quiet(answer: str, quiet_answer: str) -> bool:
    """Return whether an answer is exactly the quiet one.

    Case, space around it, emphasis, code, quotes (of text and of Markdown) and one final full stop
    do not matter. Any other word does: "OK, but the disk is full" is not quiet.
    """
    if len(answer.strip(_AROUND)) > len(quiet_answer) + _LONGER_AT_MOST:
        return False
    wanted = _bare(quiet_answer)
    return bool(wanted) and _bare(answer) == wanted


def is_nothing(value: object) -> bool:
    """Return whether a pre-check found nothing to do, so that the model need not be asked.

    Nothing is None, False, 0, what is empty, blank text, text that is JSON of one of these, and
    `{"run": false}` with whatever stands beside it, as a value or as text.
    """
    if isinstance(value, str):
        return _is_nothing_as_text(value.strip(_AROUND))
    return _is_nothing(value)


def _bare(text: str) -> str:
    """Return a text without what may stand around an answer, in a form to compare."""
    bare = unicodedata.normalize("NFC", text)
    has_stop = False
    while True:
        before = bare
        bare = bare.strip(_AROUND)
        bare = bare.removeprefix(">").strip(_AROUND) if bare.startswith(">") else bare
        if not has_stop and bare.endswith(".") and not bare.endswith(".."):
            bare, has_stop = bare[:-1], True
        if block := _BLOCK.fullmatch(bare):
            bare = block[2]
        for opening, closing in _PAIRS:
            is_pair = bare.startswith(opening) and bare.endswith(closing)
            if is_pair and len(bare) > len(opening) + len(closing):
                bare = bare[len(opening) : -len(closing)]
                break
        if bare == before:
            return bare.casefold()


def _is_nothing(value: object) -> bool:
    if value is None or isinstance(value, Number):
        return not value
    if isinstance(value, Mapping) and value.get("run") is False:
        return True
    return isinstance(value, Sequence | Mapping | AbstractSet) and len(value) == 0


def _is_nothing_as_text(text: str) -> bool:
    if not text or len(text) > _LONGEST_JSON:
        return not text
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):  # text that is no JSON is not quiet
        return False
    return not value.strip(_AROUND) if isinstance(value, str) else _is_nothing(value)
