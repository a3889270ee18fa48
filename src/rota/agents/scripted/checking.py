"""Checks a script before it is stored: its form, and that its templates compile.

The script is not run. Loads no LangChain, and Jinja only when a script is checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from rota.domain.errors import InvalidInputError

if TYPE_CHECKING:
    from rota.domain.agents.script import Script

ALONE: Final = re.compile(r"\s*\{\{((?:(?!\}\}|\{\{).)*)\}\}\s*", re.DOTALL)
"""A text that is one expression and nothing else: its value keeps its type."""

DEEPEST_ARGUMENTS: Final = 20
"""How deeply lists and objects in the arguments of a call may be nested."""


def validate_script(value: object) -> Script:
    """Read a script and compile its templates; raises InvalidInputError naming the place."""
    # Jinja and pydantic take a tenth of a second to import, and most commands check no script.
    from rota.agents.scripted.templates import check_expression, check_template  # noqa: PLC0415  as said above
    from rota.domain.agents.script import parse_script  # noqa: PLC0415  as said above

    script = parse_script(value)
    for index, step in enumerate(script.steps):
        check_template(step.say, what=f"say of step {index}")
        check_template(step.error or "", what=f"error of step {index}")
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
