"""The Jinja templates of scripts: compiled, and rendered with bounds on CPU time and output.

The operator writes scripts, as they write tools and callables. So these bounds are for mistakes,
not for attacks: Jinja's immutable sandbox keeps a template from Python, a deadline ends endless
loops and macros, and output that grows too long is cut off. The values that a template sees
(prompts, results of tools) may come from anybody, but they are never compiled.

Every failure is an InvalidInputError that names the template and the line.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date, timedelta
from functools import lru_cache
from typing import Any, Final

from jinja2 import StrictUndefined, Template, TemplateError, Undefined, nodes, pass_environment
from jinja2.environment import TemplateExpression
from jinja2.filters import make_attrgetter
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from rota.domain.errors import InvalidInputError
from rota.domain.text.shortening import shorten

OUTPUT_LIMIT: Final = 200_000
"""Characters that one template may write; a stored result keeps fewer anyway."""

CPU_SECONDS: Final = 2.0
"""CPU time that one rendering may take, in its own thread: a busy machine does not count."""

_FILE: Final = "<template>"  # as Jinja names the code that it compiles from a string

_deadline: ContextVar[float] = ContextVar("template_deadline")


class LimitError(Exception):
    """A template asked for more time or room than it may have."""


def _check_cpu_time() -> str:
    if time.thread_time() > _deadline.get():
        raise LimitError("takes too long")
    return ""


def _text(value: object) -> str:
    """Return how a value is written out; lists and mappings as JSON."""
    if isinstance(value, str):
        return str(value)
    if value is None or isinstance(value, bool | int | float | date | timedelta | Undefined):
        return str(value)  # raises for an undefined one, saying its name
    if isinstance(value, list | tuple | Mapping):
        return _json(value)
    raise TypeError(f"a {type(value).__name__} cannot be written out (perhaps |list is missing)")


def _json(value: object, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent, default=_text)


@pass_environment
def _join(
    env: _Environment, value: Iterable[object], d: str = "", attribute: str | int | None = None
) -> str:
    items = value if attribute is None else map(make_attrgetter(env, attribute), value)
    return d.join(map(_text, items))


class _Rewriter(NodeTransformer):
    """Makes each turn of a loop check the deadline, and makes `~` print values as `{{ }}` does."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802  # the visitor's naming
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(_call("tick", [], node.lineno), lineno=node.lineno))
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802  # the visitor's naming
        self.generic_visit(node)
        return _call("concatenate", node.nodes, node.lineno)


def _call(name: str, args: list[Any], line: int) -> nodes.Call:
    called = nodes.EnvironmentAttribute(name, lineno=line)
    return nodes.Call(called, args, [], None, None, lineno=line)


class _Environment(ImmutableSandboxedEnvironment):
    tick = staticmethod(_check_cpu_time)
    intercepted_binops = frozenset({"*", "**"})  # not computed while a template is only checked

    def __init__(self) -> None:
        super().__init__(
            undefined=StrictUndefined,
            autoescape=False,  # the output is text, not HTML
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=_text,
        )
        self.filters |= {"join": _join, "tojson": _json, "string": _text}
        del self.globals["lipsum"], self.filters["random"]  # a replay has to say the same

    @staticmethod
    def concatenate(*values: object) -> str:
        """Return what `~` makes of its operands."""
        return "".join(map(_text, values))

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        _Rewriter().visit(source)
        return super()._generate(source, *args, **kwargs)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Read an attribute; of a mapping the key comes first, for it is data."""
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Read an item; of a mapping never an attribute instead."""
        if isinstance(obj, Mapping) and isinstance(argument, str):
            return obj[argument] if argument in obj else self.undefined(obj=obj, name=argument)
        return super().getitem(obj, argument)

    def call(self, context: Context, obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Call what a template calls, macros among it, before the deadline."""
        _check_cpu_time()
        return super().call(context, obj, *args, **kwargs)


_ENVIRONMENT: Final = _Environment()


def render(
    source: str,
    variables: Mapping[str, object],
    *,
    what: str = "template",
    seconds: float = CPU_SECONDS,
) -> str:
    """Render a template to text; `what` names it in messages.

    Raises InvalidInputError with the line, also when the time or the room is used up.
    """
    with _explaining(what, seconds):
        written: list[str] = []
        room = OUTPUT_LIMIT
        for piece in _template(source).generate(variables):
            room -= len(piece)
            if room < 0:
                raise LimitError(f"writes more than {OUTPUT_LIMIT} characters")
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
        return list(value) if isinstance(value, Iterator) else value


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
    token = _deadline.set(time.thread_time() + seconds)
    try:
        yield
    except LimitError as error:
        line = _line(error)
        place = f" (line {line})" if line else ""
        raise InvalidInputError(f"The {what} {error}{place}.", field=what, line=line) from error
    except Exception as error:  # a template can raise anything Python has
        line = getattr(error, "lineno", None) or _line(error)
        place = f", line {line}" if line else ""
        raise InvalidInputError(
            f"The {what}{place}: {_reason(error).rstrip('.')}.", field=what, line=line
        ) from error
    finally:
        _deadline.reset(token)


def _reason(error: Exception) -> str:
    if isinstance(error, TemplateError):
        return str(error)
    if isinstance(error, RecursionError):
        return "it calls itself too often"
    return shorten(f"{type(error).__name__}: {error}", 300)


def _line(error: BaseException) -> int | None:
    line, frame = None, error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == _FILE:
            line = frame.tb_lineno
        frame = frame.tb_next
    return line


@lru_cache(maxsize=512)
def _template(source: str) -> Template:
    return _ENVIRONMENT.from_string(source)


@lru_cache(maxsize=512)
def _expression(source: str) -> TemplateExpression:
    return _ENVIRONMENT.compile_expression(source, undefined_to_none=False)
