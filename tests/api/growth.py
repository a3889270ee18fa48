"""Compares two descriptions of the API, as oasdiff does: what would break a client is named.

A request may only be asked for less, an answer may only tell more. Values that an answer's field
may have may grow: clients are told to expect that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

METHODS: Final = ("get", "post", "put", "patch", "delete")
UPPER: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
LOWER: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
Schema = Mapping[str, Any]


def breaks(old: Schema, new: Schema) -> list[str]:
    """Return what a client of the old one would stumble over."""
    return list(_Comparison(old, new).all())


class _Comparison:
    def __init__(self, old: Schema, new: Schema) -> None:
        self._old = old
        self._new = new

    def all(self) -> Iterator[str]:
        for path, methods in self._old["paths"].items():
            for method in METHODS:
                if method not in methods:
                    continue
                name = f"{method.upper()} {path}"
                now = self._new["paths"].get(path, {}).get(method)
                if now is None:
                    yield f"{name} is gone"
                else:
                    yield from self._operation(name, methods[method], now)

    def _operation(self, name: str, was: Schema, now: Schema) -> Iterator[str]:
        if was.get("x-rota-scope") != now.get("x-rota-scope"):
            yield f"{name} needs another scope"
        before = {(one["in"], one["name"]): one for one in was.get("parameters", [])}
        after = {(one["in"], one["name"]): one for one in now.get("parameters", [])}
        for key, one in before.items():
            if key not in after:
                yield f"{name}: parameter {key[1]} is gone"
            else:
                place = f"{name}: parameter {key[1]}"
                yield from self._asked(place, one.get("schema", {}), after[key].get("schema", {}))
        for key, one in after.items():
            if one.get("required") and not before.get(key, {}).get("required"):
                yield f"{name}: parameter {key[1]} is required now"
        yield from self._body(name, was.get("requestBody", {}), now.get("requestBody", {}))
        for status, answer in was["responses"].items():
            if status not in now["responses"]:
                yield f"{name} does not answer {status} any more"
                continue
            contents = now["responses"][status].get("content", {})
            for kind, content in answer.get("content", {}).items():
                if kind not in contents:
                    yield f"{name} {status} is not {kind} any more"
                else:
                    place = f"{name} {status}"
                    told = contents[kind].get("schema", {})
                    yield from self._told(place, content.get("schema", {}), told, frozenset())

    def _body(self, name: str, was: Schema, now: Schema) -> Iterator[str]:
        if now.get("required") and not was.get("required"):
            yield f"{name}: a body is required now"
        for kind, content in was.get("content", {}).items():
            if kind not in now.get("content", {}):
                yield f"{name} takes no {kind} any more"
            else:
                asked = now["content"][kind].get("schema", {})
                yield from self._asked(f"{name} body", content.get("schema", {}), asked)

    def _asked(
        self, place: str, was: Schema, now: Schema, seen: frozenset[str] = frozenset()
    ) -> Iterator[str]:
        """Yield where a request has to be narrower than it had to be."""
        if (key := f"{was.get('$ref')} {now.get('$ref')}") in seen:
            return
        seen |= {key} if "$ref" in was else set()
        was, now = _resolved(self._old, was), _resolved(self._new, now)
        yield from _narrowed(place, was, now)
        for name in set(now.get("required", [])) - set(was.get("required", [])):
            yield f"{place}.{name} is required now"
        for name, inner in was.get("properties", {}).items():
            if name in now.get("properties", {}):
                yield from self._asked(f"{place}.{name}", inner, now["properties"][name], seen)
            elif now.get("additionalProperties") is False or "properties" in now:
                yield f"{place}.{name} is gone"
        if "items" in was and "items" in now:
            yield from self._asked(f"{place}[]", was["items"], now["items"], seen)

    def _told(self, place: str, was: Schema, now: Schema, seen: frozenset[str]) -> Iterator[str]:
        """Yield where an answer tells less than it did, or something of another type."""
        if (key := f"{was.get('$ref')} {now.get('$ref')}") in seen:
            return
        seen |= {key} if "$ref" in was else set()
        was, now = _resolved(self._old, was), _resolved(self._new, now)
        if _types(was):
            yield from (f"{place}: type {one} is new" for one in _types(now) - _types(was))
        for name in set(was.get("required", [])) - set(now.get("required", [])):
            yield f"{place}.{name} may be absent"
        for name, inner in was.get("properties", {}).items():
            if name not in now.get("properties", {}):
                yield f"{place}.{name} is gone"
            else:
                yield from self._told(f"{place}.{name}", inner, now["properties"][name], seen)
        if "items" in was and "items" in now:
            yield from self._told(f"{place}[]", was["items"], now["items"], seen)


def _narrowed(place: str, was: Schema, now: Schema) -> Iterator[str]:
    """Yield which values are refused that were not."""
    yield from (f"{place}: type {one} is refused" for one in _types(was) - _types(now))
    refused = [one for one in was.get("enum", ["other"]) if one not in now.get("enum", [one])]
    yield from (f"{place}: {value!r} is refused" for value in refused)
    for names, is_narrower in ((UPPER, _less), (LOWER, _more)):
        for name in names:
            if name in now and (name not in was or is_narrower(now[name], was[name])):
                yield f"{place}: {name} is {now[name]}"
    if now.get("pattern") not in {None, was.get("pattern")}:
        yield f"{place}: pattern {now['pattern']}"


def _resolved(api: Schema, schema: Schema) -> Schema:
    while "$ref" in schema:
        schema = api["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def _types(schema: Schema) -> set[str]:
    """Return the types of a schema, those of its alternatives too."""
    if "anyOf" in schema or "oneOf" in schema:
        alternatives = [*schema.get("anyOf", []), *schema.get("oneOf", [])]
        return set().union(*(_types(one) for one in alternatives))
    if "$ref" in schema:
        return {schema["$ref"].rpartition("/")[2]}
    given = schema.get("type", [])
    found = {given} if isinstance(given, str) else set(given)
    return found | {"integer"} if "number" in found else found


def _less(one: float, other: float) -> bool:
    return one < other


def _more(one: float, other: float) -> bool:
    return one > other
