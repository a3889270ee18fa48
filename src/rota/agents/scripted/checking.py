"""Checking the script of a scripted agent before it is stored, without loading LangChain."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from rota.agents.scripted.templates import check_expression, check_template
from rota.domain.agents.script import Script, parse_script
from rota.domain.errors import InvalidInputError

ALONE: Final = re.compile(r"\s*\{\{((?:(?!\}\}|\{\{).)*)\}\}\s*", re.DOTALL)


DEEPEST_ARGUMENTS: Final = 20


def validate_script(value: object) -> Script:
    """Read a script and compile its templates; raises InvalidInputError naming the place."""
    script = parse_script(value)
    for index, step in enumerate(script.steps):
        check_template(step.say, what=f"say of step {index}")
        for number, call in enumerate(step.calls):
            place = f"step {index} call {number}"
            if call.for_each is not None:
                check_expression(call.for_each, what=f"for_each of {place}")
            for text in _texts(call.args):
                alone = ALONE.fullmatch(text)
                what = f"argument of {place}"
                if alone:
                    check_expression(alone[1], what=what)
                else:
                    check_template(text, what=what)
    check_template(script.answer, what="answer")
    return script


def _texts(value: Any, depth: int = 0) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        if depth > DEEPEST_ARGUMENTS:
            raise InvalidInputError("The arguments are nested too deeply.", field="args")
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner, depth + 1)
