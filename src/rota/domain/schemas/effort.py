"""Counts the work that a JSON Schema makes a validator do, before the validator does it.

Users write schemas, and checking one can take for ever: with `$ref`, a schema of a few lines may
have 2^64 ways from its root to one value. So a schema is refused if it has loops that go no deeper
into the value, or too many ways. All other work is counted for each value that is to be checked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from rota.domain.schemas.nodes import Node, read_nodes, schema_error

_MOST_AT_ONE_VALUE: Final = 2_000
_LONGEST_CHAIN: Final = 30  # of references and combinations; a validator recurses along it
_CHARACTERS: Final = 16  # of a text that weigh as much as a number

Asked = Mapping[int, int]
"""Which subschemas look at a value, by number, and how often."""


class Effort(NamedTuple):
    """The work of a check in the worst case.

    It counts subschemas that look at values, characters that patterns read, and values that errors
    copy. An error copies the value it is about, with everything below it.
    """

    looks: int
    characters: int
    copies: int


class _Cost(NamedTuple):
    """The cost of a subschema at one value, with all subschemas that it applies to it."""

    looks: int
    weight: int
    patterns: int
    key_patterns: int
    unique_items: int


class SchemaGraph:
    """The subschemas of a schema, and how often each of them looks at a value.

    Raises InvalidInputError as `read_nodes` does. It also refuses loops that go no deeper, and more
    combinations than a check can handle.
    """

    def __init__(self, schema: object, *, where: str = "schema") -> None:
        self._nodes = read_nodes(schema, where=where)
        self._within = [Counter({number: 1}) for number in range(len(self._nodes))]
        self._costs = [
            _Cost(1, n.weight, n.patterns, n.key_patterns + len(n.keys), int(n.is_unique))
            for n in self._nodes
        ]
        self._expand()

    def effort(self, value: object, *, limit: int) -> Effort:
        """Return the work of checking a value; one that needs more than `limit` is not counted."""
        sizes = _sizes(value)
        looks = characters = copies = 0
        waiting: list[tuple[object, Asked]] = [(value, {0: 1})]
        while waiting:
            item, asked = waiting.pop()
            length = len(item) if isinstance(item, str | list | dict) else 0
            keys = sum(map(len, item)) if isinstance(item, dict) else 0
            size = _size(item, sizes)
            everyone: Counter[int] = Counter()
            for number, times in asked.items():
                cost = self._costs[number]
                looks += times * cost.weight
                if isinstance(item, str):
                    characters += times * cost.patterns * length
                else:
                    looks += times * cost.looks * length
                    characters += times * cost.key_patterns * keys
                if isinstance(item, list):
                    looks += times * cost.unique_items * 8 * size  # short lists: pair by pair
                for inner, inner_times in self._within[number].items():
                    everyone[inner] += times * inner_times
                    copies += times * inner_times * size
            if looks > limit or characters > limit:
                break
            if isinstance(item, list):
                waiting += self._items(item, everyone)
            elif isinstance(item, dict):
                waiting += self._members(item, everyone)
        return Effort(looks, characters, copies)

    def _items(self, items: list[object], asked: Asked) -> Iterator[tuple[object, Asked]]:
        looking = [
            (node, times)
            for number, times in asked.items()
            if (node := self._nodes[number]).by_index or node.any_item
        ]
        for index, item in enumerate(items):
            there = _counted(
                ((*node.by_index[index : index + 1], *node.any_item), times)
                for node, times in looking
            )
            if there:
                yield item, there

    def _members(self, members: dict[str, object], asked: Asked) -> Iterator[tuple[object, Asked]]:
        looking = [(self._nodes[number], times) for number, times in asked.items()]
        of_keys = _counted((node.keys, times) for node, times in looking)
        for key, member in members.items():
            there = _counted(
                ((*node.any_value, *([node.by_key[key]] if key in node.by_key else ())), times)
                for node, times in looking
            )
            if there:
                yield member, there
            if of_keys:
                yield key, of_keys

    def _expand(self) -> None:
        """Add to each subschema what those cost that look at the same value for it."""
        depths: dict[int, int] = {}
        on_the_way: set[int] = set()
        for root in range(len(self._nodes)):
            waiting = [root]
            while waiting:
                number = waiting[-1]
                node = self._nodes[number]
                missing = [inner for inner in node.here if inner not in depths]
                if number in depths:
                    waiting.pop()
                elif number in missing or on_the_way.intersection(missing):
                    raise schema_error("it refers to itself without going deeper", node.place)
                elif missing:
                    on_the_way.add(number)
                    waiting += missing
                else:
                    waiting.pop()
                    on_the_way.discard(number)
                    depths[number] = 1 + max((depths[inner] for inner in node.here), default=0)
                    self._add(number, node)
                    most = self._costs[number].looks
                    if most > _MOST_AT_ONE_VALUE or depths[number] > _LONGEST_CHAIN:
                        raise schema_error("it combines too many schemas for one value", node.place)

    def _add(self, number: int, node: Node) -> None:
        for inner in node.here:
            self._within[number].update(self._within[inner])
            self._costs[number] = _Cost(
                *(
                    own + node.here_times * other
                    for own, other in zip(self._costs[number], self._costs[inner], strict=True)
                )
            )


def _counted(asked: Iterable[tuple[Iterable[int], int]]) -> Counter[int]:
    counted: Counter[int] = Counter()
    for numbers, times in asked:
        for number in numbers:
            counted[number] += times
    return counted


def _size(item: object, sizes: Mapping[int, int]) -> int:
    return 1 + len(item) // _CHARACTERS if isinstance(item, str) else sizes.get(id(item), 1)


def _sizes(value: object) -> Mapping[int, int]:
    """Return how much each list and object in a value holds, itself included, by its identity."""
    sizes: dict[int, int] = {}
    waiting = [value]
    while waiting:
        item = waiting[-1]
        if not isinstance(item, list | dict) or id(item) in sizes:
            waiting.pop()
            continue
        inner = list(item.values() if isinstance(item, dict) else item)
        missing = [
            part for part in inner if isinstance(part, list | dict) and id(part) not in sizes
        ]
        if missing:
            waiting += missing
            continue
        waiting.pop()
        sizes[id(item)] = 1 + sum(_size(part, sizes) for part in inner)
    return sizes
