"""Reads a JSON Schema into its subschemas, and tells which of them pass a value on to which."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote

from rota.domain.errors import InvalidInputError
from rota.domain.text.shortening import quoted

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

MOST_PATTERNS: Final = 50
LONGEST_PATTERN: Final = 500

UNEVALUATED_TIMES: Final = 3
"""To know what is left over, a validator asks all that stands beside `unevaluated...` again."""

_LONGEST_PLACE: Final = 120


@dataclass(slots=True)
class Node:
    """A subschema, and the subschemas (by number) that get the value or parts of it from this one.

    `weight` grows with the values that it compares with. `here` look at the same value,
    `here_times` times. `by_key`, `any_value` and `keys` look at parts of an object, `by_index` and
    `any_item` at parts of a list.
    """

    place: str
    weight: int = 1
    patterns: int = 0
    key_patterns: int = 0
    is_unique: bool = False
    here_times: int = 1
    here: list[int] = field(default_factory=list)
    by_key: dict[str, int] = field(default_factory=dict)
    any_value: list[int] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    by_index: list[int] = field(default_factory=list)
    any_item: list[int] = field(default_factory=list)


def read_nodes(schema: object, *, where: str) -> list[Node]:
    """Read a schema, which is JSON as `json.loads` makes it; the first node is its root.

    Raises InvalidInputError, naming the place below `where`, for references out of the schema,
    `$id` below its root, other dialects than draft 2020-12, and too many or too long patterns.
    """
    reader = _Reader(schema, where)
    reader.read()
    return reader.nodes


def schema_error(message: str, place: str) -> InvalidInputError:
    """Return an error that names a place in a schema."""
    shown = place if len(place) <= _LONGEST_PLACE else f"{place[: _LONGEST_PLACE - 1]}…"
    return InvalidInputError(f"{shown}: {message}.", field=shown)


def count_values(value: object) -> int:
    """Return how many values there are in a value, itself included."""
    count, waiting = 0, [value]
    while waiting:
        item = waiting.pop()
        count += 1
        if isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
    return count


class _Reader:
    """Reads without recursion: subschemas wait in a list, and references until all is read."""

    def __init__(self, schema: object, where: str) -> None:
        self.nodes: list[Node] = []
        self._schema = schema
        self._where = where
        self._numbers: dict[int, int] = {}  # by the identity of what was read
        self._anchors: dict[str, int] = {}
        self._references: list[tuple[Node, str, str]] = []
        self._waiting: list[tuple[Node, Mapping[str, Any]]] = []
        self._patterns = 0

    def read(self) -> None:
        self._number(self._schema, self._where)
        while self._waiting or self._references:
            if self._waiting:
                node, schema = self._waiting.pop()
                for keyword, value in schema.items():
                    self._read_keyword(node, keyword, value, f"{node.place}.{keyword}")
            else:  # by now all anchors are known
                node, reference, place = self._references.pop()
                node.here.append(self._target(reference, place))

    def _read_keyword(self, node: Node, keyword: str, value: object, place: str) -> None:
        if keyword in _SUBSCHEMA:
            getattr(node, _SUBSCHEMA[keyword]).append(self._number(value, place))
            if keyword.startswith("unevaluated"):
                node.here_times = UNEVALUATED_TIMES
        elif keyword in _SUBSCHEMAS:
            getattr(node, _SUBSCHEMAS[keyword]).extend(self._members(value, place).values())
        elif keyword in _READINGS:
            _READINGS[keyword](self, node, value, place)

    def _number(self, schema: object, place: str) -> int:
        """Return the number of a subschema, which is read later if it is a new one."""
        if isinstance(schema, dict):
            known = self._numbers.setdefault(id(schema), len(self.nodes))
            if known < len(self.nodes):
                return known
        node = Node(place)
        self.nodes.append(node)
        if isinstance(schema, dict):  # true and false have no parts; the validator refuses others
            self._waiting.append((node, schema))
        return len(self.nodes) - 1

    def _members(self, value: object, place: str) -> dict[str | int, int]:
        """Return the numbers of the subschemas in an object or a list."""
        if isinstance(value, dict):
            return {key: self._number(inner, f"{place}.{key}") for key, inner in value.items()}
        if isinstance(value, list):
            return {n: self._number(inner, f"{place}[{n}]") for n, inner in enumerate(value)}
        return {}

    def reference(self, node: Node, value: Any, place: str) -> None:
        self._references.append((node, str(value), place))

    def anchor(self, node: Node, value: Any, place: str) -> None:
        number = next(number for number, known in enumerate(self.nodes) if known is node)
        if self._anchors.setdefault(str(value), number) != number:
            raise schema_error(f"the anchor {quoted(str(value))} is there twice", place)

    def identifier(self, node: Node, _value: Any, place: str) -> None:
        if node is not self.nodes[0]:
            raise schema_error("only the whole schema may have an `$id`", place)

    def dialect(self, _node: Node, value: Any, place: str) -> None:
        if str(value).rstrip("#") != DIALECT:
            raise schema_error(f"schemas are of draft 2020-12, {DIALECT}", place)

    def definitions(self, _node: Node, value: Any, place: str) -> None:
        self._members(value, place)

    def properties(self, node: Node, value: Any, place: str) -> None:
        node.by_key = {str(key): number for key, number in self._members(value, place).items()}
        node.weight += len(node.by_key)

    def pattern_properties(self, node: Node, value: Any, place: str) -> None:
        for pattern, number in self._members(value, place).items():
            node.any_value.append(number)
            node.key_patterns += 1
            self._count_pattern(pattern, f"{place}.{pattern}")

    def pattern(self, node: Node, value: Any, place: str) -> None:
        node.patterns += 1
        self._count_pattern(value, place)

    def format(self, node: Node, _value: Any, _place: str) -> None:
        node.patterns += 1

    def unique(self, node: Node, value: Any, _place: str) -> None:
        node.is_unique = value is True

    def compared(self, node: Node, value: Any, _place: str) -> None:
        node.weight += count_values(value)

    def _count_pattern(self, pattern: object, place: str) -> None:
        self._patterns += 1
        if self._patterns > MOST_PATTERNS:
            raise schema_error(f"there are more than {MOST_PATTERNS} patterns", place)
        if isinstance(pattern, str) and len(pattern) > LONGEST_PATTERN:
            raise schema_error(f"the pattern is longer than {LONGEST_PATTERN} characters", place)

    def _target(self, reference: str, place: str) -> int:
        """Return the number of the subschema that a reference names."""
        outside, _, fragment = reference.partition("#")
        if outside:
            raise schema_error(
                f"{quoted(reference)} lies outside of the schema, and nothing is fetched; refer to "
                "`#/$defs/...`",
                place,
            )
        fragment = unquote(fragment)
        if fragment and not fragment.startswith("/"):
            if fragment not in self._anchors:
                raise schema_error(f"there is no anchor {quoted(fragment)}", place)
            return self._anchors[fragment]
        found: Any = self._schema
        for step in fragment.split("/")[1:]:
            found = _step(found, step.replace("~1", "/").replace("~0", "~"))
        if not isinstance(found, dict | bool):
            raise schema_error(f"{quoted(reference)} leads to no schema", place)
        return self._number(found, f"{self._where}{fragment.replace('/', '.')}")


def _step(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return value.get(name)
    if isinstance(value, list) and name.isascii() and name.isdigit() and len(name) < 7:
        return value[int(name)] if int(name) < len(value) else None
    return None


_SUBSCHEMA: Final = {
    **dict.fromkeys(("not", "if", "then", "else"), "here"),
    **dict.fromkeys(("additionalProperties", "unevaluatedProperties"), "any_value"),
    "propertyNames": "keys",
    **dict.fromkeys(("items", "contains", "unevaluatedItems"), "any_item"),
}
"""Keywords that hold a subschema, and the list of a `Node` that it belongs to."""

_SUBSCHEMAS: Final = {
    **dict.fromkeys(("allOf", "anyOf", "oneOf", "dependentSchemas", "dependencies"), "here"),
    "prefixItems": "by_index",
}
"""Keywords that hold several subschemas, likewise."""

_READINGS: Final[Mapping[str, Callable[[_Reader, Node, Any, str], None]]] = {
    "$ref": _Reader.reference,
    "$dynamicRef": _Reader.reference,
    "$anchor": _Reader.anchor,
    "$dynamicAnchor": _Reader.anchor,
    "$id": _Reader.identifier,
    "$schema": _Reader.dialect,
    "$defs": _Reader.definitions,
    "definitions": _Reader.definitions,
    "properties": _Reader.properties,
    "patternProperties": _Reader.pattern_properties,
    "pattern": _Reader.pattern,
    "format": _Reader.format,
    "uniqueItems": _Reader.unique,
    "enum": _Reader.compared,
    "const": _Reader.compared,
    "required": _Reader.compared,
    "dependentRequired": _Reader.compared,
}
