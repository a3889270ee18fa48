"""Templates that rows may hold, rendered in the sandbox: time and output are bounded.

Every failure is an InvalidInputError that names the template and the line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Final

from jinja2 import Template, TemplateError, Undefined
from jinja2.environment import TemplateExpression

from rota.agents.scripted.sandbox import Budget, Environment, LimitError, budget, weigh
from rota.domain.errors import InvalidInputError

OUTPUT_LIMIT: Final = 200_000
"""Characters that one template may write; a stored result keeps fewer anyway."""

CPU_SECONDS: Final = 2.0
"""CPU time that one rendering may take, in its own thread: a busy machine does not count."""

SOURCE_LIMIT: Final = 100_000
"""Characters of a template's source."""

_FILE: Final = "<template>"  # as Jinja names the code that it compiles from a string
_ENVIRONMENT: Final = Environment()


def render(
    source: str,
    variables: Mapping[str, object],
    *,
    what: str = "template",
    output_limit: int = OUTPUT_LIMIT,
    seconds: float = CPU_SECONDS,
) -> str:
    """Render a template to text; `what` names it in messages.

    Raises InvalidInputError with the line, also when the time or the room is used up.
    """
    with _explaining(what, seconds):
        written: list[str] = []
        room = output_limit
        for piece in _template(source).generate(variables):
            room -= len(piece)
            if room < 0:
                raise LimitError(f"writes more than {output_limit} characters")
            written.append(piece)
        return "".join(written)


def evaluate(
    expression: str,
    variables: Mapping[str, object],
    *,
    what: str = "expression",
    seconds: float = CPU_SECONDS,
) -> object:
    """Evaluate a Jinja expression to a value; raises InvalidInputError as `render` does."""
    with _explaining(what, seconds):
        value = _expression(expression)(variables)
        if isinstance(value, Undefined):
            str(value)  # raises, saying what is undefined
        if isinstance(value, Iterator):
            value = list(value)
        weigh(value)
        return value


def check_template(source: str, *, what: str = "template") -> None:
    """Raise InvalidInputError, with the line, if the template cannot be compiled."""
    with _explaining(what, CPU_SECONDS):
        _template(source)


def check_expression(expression: str, *, what: str = "expression") -> None:
    """Raise InvalidInputError if the expression cannot be compiled."""
    with _explaining(what, CPU_SECONDS):
        _expression(expression)


@contextmanager
def _explaining(what: str, seconds: float) -> Iterator[None]:
    token = budget.set(Budget(seconds))
    try:
        yield
    except LimitError as error:
        line = _line(error)
        place = f" (line {line})" if line else ""
        raise InvalidInputError(f"The {what} {error}{place}.", field=what, line=line) from error
    except Exception as error:  # a template can raise anything Python has
        line = getattr(error, "lineno", None) or _line(error)
        place = f", line {line}" if line else ""
        said = str(error) if isinstance(error, TemplateError) else _said(error)
        raise InvalidInputError(
            f"The {what}{place}: {said.rstrip('.')}.", field=what, line=line
        ) from error
    finally:
        budget.reset(token)


def _said(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it calls itself too often"
    return f"{type(error).__name__}: {error}"[:300]


def _line(error: BaseException) -> int | None:
    line, frame = None, error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == _FILE:
            line = frame.tb_lineno
        frame = frame.tb_next
    return line


@lru_cache(maxsize=512)
def _template(source: str) -> Template:
    _check_length(source)
    return _ENVIRONMENT.from_string(source)


@lru_cache(maxsize=512)
def _expression(source: str) -> TemplateExpression:
    _check_length(source)
    return _ENVIRONMENT.compile_expression(source, undefined_to_none=False)


def _check_length(source: str) -> None:
    if len(source) > SOURCE_LIMIT:
        raise LimitError(f"is longer than {SOURCE_LIMIT} characters")
