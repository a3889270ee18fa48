"""The Jinja sandbox of templates that rows hold: no code, bounded time, bounded size.

Jinja's immutable sandbox keeps a template from reaching Python. It does not keep it from filling
the memory or the afternoon, so here every loop turn, call and filter looks at a CPU deadline,
every value that can grow (`*`, `+`, `~`, `**`, joins, replacements, literals, captured blocks) is
weighed, and only filters and methods that cannot multiply their input unseen are there.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import wraps
from typing import Any, Final

from jinja2 import StrictUndefined, TemplateSyntaxError, Undefined, nodes, pass_environment
from jinja2.filters import FILTERS, make_attrgetter
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import TESTS
from jinja2.visitor import NodeTransformer

_HEAVIEST: Final = 5_000_000  # characters, a value inside a list counting as 8
_WIDEST_INT: Final = 10_000  # bits; Python prints up to 4,300 digits

_STR_METHODS: Final = frozenset(
    {
        *("capitalize", "casefold", "count", "endswith", "find", "index", "isalnum"),
        *("isalpha", "isdigit", "islower", "isnumeric", "isspace", "istitle", "isupper"),
        *("join", "lower", "lstrip", "partition", "removeprefix", "removesuffix", "replace"),
        *("rfind", "rpartition", "rsplit", "rstrip", "split", "splitlines", "startswith"),
        *("strip", "swapcase", "title", "upper"),
    }
)
_METHODS: Final[tuple[tuple[type | tuple[type, ...], frozenset[str]], ...]] = (
    (str, _STR_METHODS),
    (Mapping, frozenset({"get", "items", "keys", "values"})),
    ((list, tuple), frozenset({"count", "index"})),
    ((int, float, bytes), frozenset()),
)
_FILTERS: Final = (
    *("abs", "batch", "capitalize", "count", "d", "default", "dictsort", "filesizeformat"),
    *("first", "float", "format", "groupby", "indent", "int", "items", "last", "length"),
    *("list", "lower", "map", "max", "min", "reject", "rejectattr", "replace", "reverse"),
    *("round", "select", "selectattr", "slice", "sort", "striptags", "sum", "title"),
    *("trim", "truncate", "unique", "upper", "urlencode", "wordcount", "wordwrap"),
)
_FORBIDDEN: Final = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)


class LimitError(Exception):
    """A template asked for more time or room than it may have."""


@dataclass(slots=True)
class Budget:
    """What one rendering may still use: CPU seconds of its thread, and characters written."""

    seconds: float
    room: int = 4 * _HEAVIEST  # captured blocks and what loops throw away included
    _end: float = field(init=False)

    def __post_init__(self) -> None:
        self._end = time.thread_time() + self.seconds

    def check_time(self) -> None:
        """Raise LimitError if the time is used up."""
        if time.thread_time() > self._end:
            raise LimitError("takes too long")

    def write(self, characters: int) -> None:
        """Raise LimitError if so many more characters are too many."""
        self.room -= characters
        if self.room < 0:
            raise LimitError("writes too much")


budget: ContextVar[Budget] = ContextVar("template_budget")
"""That of the rendering under way in this context."""


def _tick() -> str:
    budget.get().check_time()
    return ""


def weigh(value: object) -> None:
    """Refuse a value that would be too large when written out, shared parts counted each time."""
    weight, waiting = 0, [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str | bytes):
            weight += len(item)
        elif isinstance(item, int):
            if item.bit_length() > _WIDEST_INT:
                raise LimitError("makes a number that is too large")
        elif isinstance(item, Mapping):
            weight += 8 * len(item)
            waiting.extend(item.keys())
            waiting.extend(item.values())
        elif isinstance(item, list | tuple | set | frozenset):
            weight += 8 * len(item)
            waiting.extend(item)
        if weight > _HEAVIEST or len(waiting) > _HEAVIEST // 8:
            raise LimitError(f"makes a value of more than {_HEAVIEST} characters")


def _weighed(value: object) -> object:
    weigh(value)
    return value


def _printed(value: object) -> str:
    """Return how a value is written out; lists and mappings as JSON."""
    text = _text(value)
    budget.get().write(len(text))
    return text


def _text(value: object) -> str:
    if isinstance(value, str):
        return str(value)
    if value is None or isinstance(value, bool | int | float | date | timedelta | Undefined):
        return str(value)  # raises for an undefined one, saying its name
    if isinstance(value, list | tuple | Mapping):
        weigh(value)
        return json.dumps(value, ensure_ascii=False, default=_printed)
    raise TypeError(f"a {type(value).__name__} cannot be written out (perhaps |list is missing)")


def _concat(pieces: Iterable[str]) -> str:
    listed = list(pieces)
    if sum(map(len, listed)) > _HEAVIEST:
        raise LimitError(f"makes a value of more than {_HEAVIEST} characters")
    return "".join(listed)


def _concatenate(*values: object) -> str:
    return _concat(_printed(value) for value in values)


def _check_replacement(text: str, old: object, new: object) -> None:
    if isinstance(old, str) and isinstance(new, str):
        found = text.count(old)
        if len(text) + found * len(new) > _HEAVIEST:
            raise LimitError(f"makes a value of more than {_HEAVIEST} characters")


def _check_format(form: object) -> None:
    if isinstance(form, str) and re.search(r"%[^%a-zA-Z]*(\d{4}|\*)", form):
        raise LimitError("uses a format that is too wide")


def _joined(separator: str, items: Iterable[object]) -> str:
    pieces: list[str] = []
    room = _HEAVIEST
    for item in items:
        _tick()
        piece = _printed(item)
        room -= len(piece) + len(separator)
        if room < 0:
            raise LimitError(f"makes a value of more than {_HEAVIEST} characters")
        pieces.append(piece)
    return separator.join(pieces)


@pass_environment
def _join_filter(
    env: Environment, value: Iterable[object], d: str = "", attribute: str | int | None = None
) -> str:
    items = value if attribute is None else map(make_attrgetter(env, attribute), value)
    return _joined(d, items)


def _tojson_filter(value: object, indent: int | None = None) -> str:
    weigh(value)
    if indent is not None and not 0 <= indent <= 8:
        raise LimitError("indents JSON by more than 8")
    return json.dumps(value, ensure_ascii=False, indent=indent, default=_printed)


def _check_arguments(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    given = [*args, *kwargs.values()]
    if name == "replace":
        _check_replacement(_printed(args[0]), *map(_printed, args[1:3]))
    elif name == "format":
        _check_format(args[0])
    elif name in {"batch", "slice", "round"}:
        most = 20 if name == "round" else 1_000
        if any(isinstance(n, int) and abs(n) > most for n in given[1:]):
            raise LimitError(f"asks {name} for more than {most}")
    elif name in {"indent", "wordwrap"}:
        if any(len(n) > 80 if isinstance(n, str) else n > 1_000 for n in given[1:] if n):
            raise LimitError(f"asks {name} for more than 1000")
    elif name == "sum" and not all(isinstance(n, int | float | str | None) for n in given[1:]):
        raise LimitError("sums what is not numbers")


def _guarded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    takes_environment = hasattr(function, "jinja_pass_arg")

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        _tick()
        given = args[1:] if takes_environment else args
        for value in given:
            weigh(value)
        _check_arguments(name, given, kwargs)
        # A generator made by one filter is consumed by the next, which may keep it all.
        tallied = [_tallied(arg) if isinstance(arg, Iterator) else arg for arg in args]
        return _weighed(function(*tallied, **kwargs))

    return call


def _tallied(items: Iterator[object]) -> Iterator[object]:
    for item in items:
        weigh(item)
        budget.get().write(len(item) if isinstance(item, str) else 8)
        yield item


def _ticking(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        _tick()
        return function(*args, **kwargs)

    return call


class _Guard(NodeTransformer):
    """Puts the checks into a parsed template."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802  # the visitor's naming
        return self._ticking(node)

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:  # noqa: N802  # the visitor's naming
        return self._ticking(node)

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.Node:  # noqa: N802  # as above
        return self._ticking(node)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802  # the visitor's naming
        self.generic_visit(node)
        return _call("concatenate", node.nodes, node.lineno)

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802  # the visitor's naming
        self.generic_visit(node)
        return _call("weighed", [node], node.lineno)

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:  # noqa: N802  # the visitor's naming
        self.generic_visit(node)
        return _call("weighed", [node], node.lineno)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802  # the visitor's naming
        self.generic_visit(node)
        return _call("weighed", [node], node.lineno) if node.ctx == "load" else node

    def _ticking(self, node: nodes.For | nodes.Macro | nodes.CallBlock) -> nodes.Node:
        self.generic_visit(node)
        tick = nodes.ExprStmt(_call("tick", [], node.lineno), lineno=node.lineno)
        node.body.insert(0, tick)
        return node


def _call(name: str, args: list[Any], line: int) -> nodes.Call:
    called = nodes.EnvironmentAttribute(name, lineno=line)
    return nodes.Call(called, args, [], None, None, lineno=line)


class Environment(ImmutableSandboxedEnvironment):
    """The sandbox with its limits; there is one, and templates share it."""

    intercepted_binops = frozenset({"+", "-", "*", "**", "%"})
    tick = staticmethod(_tick)
    weighed = staticmethod(_weighed)
    concatenate = staticmethod(_concatenate)
    concat = staticmethod(_concat)

    def __init__(self) -> None:
        super().__init__(
            undefined=StrictUndefined,
            autoescape=False,  # the output is text, not HTML
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,  # constants would be computed while compiling, past the limits
            finalize=_printed,
        )
        for name in ("lipsum", "cycler", "joiner"):
            del self.globals[name]
        self.filters = {name: _guarded(name, FILTERS[name]) for name in _FILTERS}
        self.filters |= {"join": _join_filter, "tojson": _tojson_filter, "string": _printed}
        tests: Mapping[str, Any] = TESTS  # mypy infers a bare `function` of them
        self.tests = {name: _ticking(test) for name, test in tests.items()}

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        for node in source.find_all(_FORBIDDEN):
            statement = type(node).__name__.lower()
            raise TemplateSyntaxError(f"a template cannot use {statement}", node.lineno)
        _Guard().visit(source)
        return super()._generate(source, *args, **kwargs)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Read an attribute; of a mapping the key comes first, for it is data."""
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        for kind, allowed in _METHODS:
            if isinstance(obj, kind) and attribute not in allowed:
                return self.undefined(obj=obj, name=attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Read an item; text as the index of anything but a mapping is an attribute."""
        if not isinstance(argument, str):
            return super().getitem(obj, argument)
        if isinstance(obj, Mapping):
            return obj[argument] if argument in obj else self.undefined(obj=obj, name=argument)
        return self.getattr(obj, argument)

    def call(self, context: Context, obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Call what a template calls, within its limits."""
        _tick()
        owner, name = getattr(obj, "__self__", None), getattr(obj, "__name__", "")
        if isinstance(owner, str) and name == "join":
            return _joined(owner, *args)
        if isinstance(owner, str) and name == "replace" and len(args) >= 2:
            _check_replacement(owner, *args[:2])
        elif isinstance(owner, date) and name in {"strftime", "__format__"}:
            _check_format(args[0] if args else None)
        return _weighed(super().call(context, obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute a result that may be large only where it will not be."""
        _tick()
        if operator == "*":
            _check_product(left, right)
        elif operator == "**":
            _check_power(left, right)
        elif operator == "%" and isinstance(left, str):
            _check_format(left)
        elif operator == "+":
            weigh((left, right))
        return _weighed(super().call_binop(context, operator, left, right))


def _check_product(left: object, right: object) -> None:
    for many, times in ((left, right), (right, left)):
        if not isinstance(many, str | bytes | list | tuple) or not isinstance(times, int):
            continue
        if len(many) * times > _HEAVIEST:
            raise LimitError(f"makes a value of more than {_HEAVIEST} characters")
    _check_bits(left, right, lambda a, b: a.bit_length() + b.bit_length())


def _check_power(left: object, right: object) -> None:
    _check_bits(left, right, lambda a, b: a.bit_length() * max(b, 0))


def _check_bits(left: object, right: object, bits: Callable[[int, int], int]) -> None:
    if isinstance(left, int) and isinstance(right, int) and bits(left, right) > _WIDEST_INT:
        raise LimitError("makes a number that is too large")
