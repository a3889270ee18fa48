"""Completes the edited arguments of a request: redaction marks, declared secrets, fields left out.

Used when a person edits a request. A redaction mark stands for the secret in its place. A
person may leave a field out only if its value is the tool's default. This module does not check the
result against the tool's schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rota.domain.errors import InvalidInputError
from rota.domain.schemas.schema import JsonSchema
from rota.domain.text.json_values import is_same
from rota.domain.text.storable import REDACTED, SecretText

_DEEPEST: Final = 10


def holds_redaction(value: Any) -> bool:
    """Return whether a mark stands for a secret somewhere in a JSON value, names among it."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case str() as text:
                if REDACTED in text:
                    return True
            case Mapping() as mapping:
                waiting += [*mapping.values(), *mapping.keys()]
            case list() | tuple() as items:
                waiting += items
    return False


def with_secrets(given: Any, shown: Any, original: Any, *, place: str = "") -> Any:
    """Return edited arguments with the secrets that their marks stand for.

    A text with a mark means what it stood for where it was shown: at the same place, unchanged.
    What is in a list is moved easily, so an entry has to be the one that was shown there, and no
    entry before the last one may be gone. Raises InvalidInputError for a mark that stands for
    nothing.
    """
    if not holds_redaction(given):
        return given
    if original is not None and is_same(given, shown):
        return original
    kinds = (given, shown, original)
    if all(isinstance(value, Mapping) for value in kinds) and not any(REDACTED in k for k in given):
        return {
            name: with_secrets(
                value,
                shown.get(name),
                original.get(name),
                place=f"{place}.{name}" if place else name,
            )
            for name, value in given.items()
        }
    if all(isinstance(v, list) for v in kinds) and len(given) >= len(shown) == len(original):
        put_back = []
        for number, value in enumerate(given):
            before = number < len(shown) and is_same(value, shown[number])
            if not before and holds_redaction(value):
                raise _stands_for_nothing(f"{place}[{number}]")
            put_back.append(original[number] if before else value)
        return put_back
    raise _stands_for_nothing(place)


def with_declared_secrets(given: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments with those as secrets that the schema says are: a new value is one too."""
    fields = _fields(schema, schema)
    return {name: _declared(value, fields.get(name), schema) for name, value in given.items()}


def _declared(value: Any, described: Any, root: Mapping[str, Any], depth: int = 0) -> Any:
    """Return a value with each text as a secret that any of its descriptions says is one."""
    choices = list(_descriptions(described, root)) if depth <= _DEEPEST else []
    if isinstance(value, str):
        is_secret = any(choice.get("writeOnly") is True for choice in choices)
        return SecretText(value) if is_secret else value
    for choice in choices:
        if isinstance(value, Mapping):
            fields, others = choice.get("properties"), choice.get("additionalProperties")
            known = fields if isinstance(fields, Mapping) else {}
            value = {
                name: _declared(item, known.get(name, others), root, depth + 1)
                for name, item in value.items()
            }
        elif isinstance(value, list):
            value = [_declared(item, choice.get("items"), root, depth + 1) for item in value]
    return value


def _descriptions(
    described: Any, root: Mapping[str, Any], depth: int = 0
) -> Iterator[Mapping[str, Any]]:
    """Yield all that a schema may mean at a place: itself, what it refers to, its alternatives."""
    if not isinstance(described, Mapping) or depth > _DEEPEST:
        return
    yield described
    known = root.get("$defs")
    reference = str(described.get("$ref", "")).removeprefix("#/$defs/")
    if isinstance(known, Mapping) and reference:
        yield from _descriptions(known.get(reference), root, depth + 1)
    for name in ("anyOf", "allOf", "oneOf"):
        for choice in described.get(name) or ():
            yield from _descriptions(choice, root, depth + 1)


def with_defaults(
    given: Mapping[str, Any], shown: Mapping[str, Any], schema: Mapping[str, Any]
) -> dict[str, Any]:
    """Return edited arguments with those that were shown and left out, where it is clear which.

    That is where the tool's default is what was shown. Elsewhere nobody knows whether the person
    wants the one or the other: raises InvalidInputError. It is the same for fields of objects that
    the schema describes; where any key may stand, one that is left out is gone.
    """
    return _completed(given, shown, _fields(schema, schema), schema, "")


def _completed(
    given: Mapping[str, Any],
    shown: Mapping[str, Any],
    fields: Mapping[str, Any],
    root: Mapping[str, Any],
    place: str,
) -> dict[str, Any]:
    made = dict(given)
    for name, value in shown.items():
        described = fields.get(name)
        path = f"{place}.{name}" if place else name
        if name not in made:
            if isinstance(described, Mapping) and "default" in described:
                if not is_same(described["default"], value):
                    raise _missing_value_error(path, described, root)
                made[name] = value
            elif described is not None or not place:
                raise _missing_value_error(path, described, root)
        elif isinstance(made[name], Mapping) and isinstance(value, Mapping):
            made[name] = _completed(made[name], value, _fields(described, root), root, path)
    return made


def _fields(schema: Any, root: Mapping[str, Any], depth: int = 0) -> Mapping[str, Any]:
    """Return the fields of the object that a schema describes, none where any key may stand."""
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return {}
    if isinstance(fields := schema.get("properties"), Mapping):
        return fields
    reference = str(schema.get("$ref", ""))
    known = root.get("$defs")
    choices = [
        *(schema.get("anyOf") or ()),
        *(schema.get("allOf") or ()),
        *([known.get(reference.removeprefix("#/$defs/"))] if isinstance(known, Mapping) else ()),
    ]
    return next((found for c in choices if (found := _fields(c, root, depth + 1))), {})


def _missing_value_error(path: str, described: Any, root: Mapping[str, Any]) -> InvalidInputError:
    schema = {**described, "$defs": root.get("$defs", {})} if isinstance(described, Mapping) else {}
    null = "" if JsonSchema(schema).problems(None) else ", or null,"
    return InvalidInputError(
        f"{path} was in the request, but is missing now. Give a value{null} for it.",
        field="arguments",
    )


def _stands_for_nothing(place: str) -> InvalidInputError:
    return InvalidInputError(
        f"{place}: {REDACTED} can only be used unchanged in the place where it was "
        "shown. Write the real value, or leave this entry as it was shown.",
        field="arguments",
    )
