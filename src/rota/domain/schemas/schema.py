"""Checks values against JSON Schemas that users wrote, within bounds.

The validator is `jsonschema-rs`: its regular expressions take linear time, and it fetches nothing.
It holds Python's global lock while it works, and a check under way cannot be stopped. So the work
is counted first (`effort`), and a check that would take too long is not begun.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from rota.domain.errors import InvalidInputError
from rota.domain.schemas.effort import SchemaGraph
from rota.domain.text.json_values import NotJsonError, read_json

if TYPE_CHECKING:
    from jsonschema_rs import Draft202012Validator, ValidationError

LONGEST_SCHEMA: Final = 20_000
"""Characters of a schema as compact JSON: it is sent to the model with each run."""

LONGEST_TOOL_SCHEMA: Final = 200_000
"""Characters of a tool's schema that its arguments are held to."""

MOST_PROBLEMS: Final = 5

_DEEPEST: Final = 100

_LONGEST_PROBLEM: Final = 300
_LONGEST_PLACE: Final = 120
_PATTERN_BYTES: Final = 50_000  # of a compiled pattern: 4 µs for each character, at the worst
_MOST_LOOKS: Final = 300_000  # at values: a tenth of a second
_MOST_READ: Final = 200_000  # characters that patterns read: a second
_MOST_EXPLAINED: Final = 50_000  # looks; each may leave an error, which takes 15 µs and a kilobyte
_MOST_COPIED: Final = 1_000_000  # values that errors copy, in half a microsecond each


_NAMES_TOO_MANY: Final = re.compile(
    r"(?:Additional|Unevaluated) properties are not allowed \((.*)\)"
)
_IS_MISSING: Final = " is a required property"
_COMPOSED: Final = frozenset({"allOf", "anyOf", "oneOf", "$ref", "if", "patternProperties"})


def closed(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a schema of an object that takes no names but its own, where it can be told which.

    One that says itself whether it takes others is left as it is.
    """
    if "additionalProperties" in schema or "properties" not in schema or _COMPOSED & set(schema):
        return schema
    return {**schema, "additionalProperties": False}


def tool_schema(schema: Mapping[str, Any]) -> JsonSchema | None:
    """Return what arguments of a tool are held to, None where no part of it can be read safely.

    Tools have schemas of all drafts, larger ones than contracts, and patterns of other engines:
    what cannot be read of them is left to the tool. Formats are notes to a model.
    """
    own = {name: value for name, value in closed(schema).items() if name != "$schema"}
    for written in (own, _without_patterns(own)):
        try:
            return JsonSchema(written, longest=LONGEST_TOOL_SCHEMA, formats=False)
        except InvalidInputError:
            continue
    return None


def _without_patterns(value: Any, depth: int = 0) -> Any:
    if depth > _DEEPEST:
        return {}
    if isinstance(value, Mapping):
        return {
            name: _without_patterns(item, depth + 1)
            for name, item in value.items()
            if not (name == "pattern" and isinstance(item, str))
        }
    return (
        [_without_patterns(item, depth + 1) for item in value] if isinstance(value, list) else value
    )


class JsonSchema:
    """A schema of draft 2020-12 that is safe to check. `format` is checked too, unless turned off.

    Raises InvalidInputError for any other schema, and names the place below `where`. Nothing
    outside the schema is fetched. Patterns may have neither look-around nor back-references.
    Length, depth and combinations are bounded.
    """

    def __init__(
        self,
        schema: object,
        *,
        where: str = "schema",
        longest: int = LONGEST_SCHEMA,
        formats: bool = True,
    ) -> None:
        self.text = _compact(schema, where, longest)
        try:
            value = read_json(self.text)
        except NotJsonError as error:
            raise _invalid(error.sentence, where) from error
        if not isinstance(value, dict):
            raise _invalid("A schema is an object.", where)
        self.value: Mapping[str, Any] = value
        self._graph = SchemaGraph(value, where=where)
        self._validator = _compiled(value, where, formats=formats)

    def problems(self, value: object) -> tuple[str, ...]:
        """Return why a value (from `read_json`) does not match: at most five short sentences."""
        effort = self._graph.effort(value, limit=_MOST_LOOKS)
        if effort.looks > _MOST_LOOKS or effort.characters > _MOST_READ:
            return ("The JSON is too large or too deep for its schema to be checked.",)
        if self._validator.is_valid(value):
            return ()
        if effort.looks > _MOST_EXPLAINED or effort.copies > _MOST_COPIED:
            return ("The JSON does not match its schema, and is too large to say where.",)
        found: dict[str, None] = {}
        for error in self._validator.iter_errors(value):
            found.setdefault(_sentence(_closest_error(error)))
            if len(found) == MOST_PROBLEMS:
                break
        return tuple(found)


def _compact(schema: object, where: str, longest: int) -> str:
    try:
        text = json.dumps(schema, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except RecursionError as error:
        raise _invalid("It is nested too deeply.", where) from error
    except (TypeError, ValueError) as error:
        raise _invalid(f"It is not JSON ({error}).", where) from error
    if len(text) > longest:
        raise _invalid(
            f"It has {len(text)} characters; at most {longest} can be sent along.", where
        )
    return text


def _compiled(
    schema: Mapping[str, Any], where: str, *, formats: bool = True
) -> Draft202012Validator:
    # Imported here: only runs with a contract need it, and no command should wait for it.
    from jsonschema_rs import (  # noqa: PLC0415  as said above
        Draft202012Validator,
        RegexOptions,
        ValidationError,
    )

    try:
        return Draft202012Validator(
            dict(schema),
            offline=True,
            validate_formats=formats,
            pattern_options=RegexOptions(size_limit=_PATTERN_BYTES, dfa_size_limit=1_000_000),
            mask="it",
        )
    except ValidationError as error:
        place = _path([where, *error.instance_path])
        sentence = error.message
        if sentence.endswith('is not a "regex"'):
            sentence = (
                "the pattern is no regular expression, has look-around or a back-reference, or "
                "repeats too much"
            )
        raise _invalid(sentence, place) from error


def _closest_error(error: ValidationError) -> ValidationError:
    """Return the error that says most: of alternatives, that of the one that came closest."""
    while True:
        branches: Sequence[Sequence[ValidationError]] = getattr(error.kind, "context", ())
        depth = len(error.instance_path)
        closest = max(
            (branch[0] for branch in branches if branch),
            key=lambda first: len(first.instance_path),
            default=None,
        )
        if closest is None or len(closest.instance_path) <= depth:
            return error
        error = closest


def _sentence(error: ValidationError) -> str:
    sentence = " ".join(error.message.split())
    place = _path(error.instance_path)
    if (found := _NAMES_TOO_MANY.fullmatch(sentence)) is not None:
        sentence = found[1]
    if not place and (found is not None or sentence.endswith(_IS_MISSING)):  # it names itself
        return f"{_cut(sentence, _LONGEST_PROBLEM - 1)}."
    place = place or "the JSON"
    room = _LONGEST_PROBLEM - len(place) - len(": .")
    return f"{place}: {_cut(sentence, room)}."


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: room - 1]}…"


def _path(steps: Sequence[str | int]) -> str:
    path = "".join(_steps(steps)).removeprefix(".")
    return path if len(path) <= _LONGEST_PLACE else f"{path[: _LONGEST_PLACE - 1]}…"


def _steps(steps: Sequence[str | int]) -> Iterator[str]:
    for step in steps:
        if isinstance(step, int):
            yield f"[{step}]"
        else:
            yield f".{step}" if step.replace(".", "_").isidentifier() else f"[{step!r}]"


def _invalid(message: str, place: str) -> InvalidInputError:
    sentence = message[0].lower() + message[1:] if message[:2].istitle() else message
    shown = sentence if len(sentence) <= _LONGEST_PROBLEM else f"{sentence[:_LONGEST_PROBLEM]}…"
    return InvalidInputError(f"{place}: {shown.rstrip('.')}.", field=place)
