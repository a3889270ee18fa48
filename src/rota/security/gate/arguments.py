"""Arguments of tool calls as JSON: for people, rules, hashes and rows, and back for the tool.

The arguments that a person sees must be those that the tool gets. So all arguments are written,
under the names of the tool's schema. Values that JSON cannot represent are refused instead of
replaced. Stored arguments run only if the tool reads exactly the same values from them.
"""

from __future__ import annotations

import base64
import copy
import dataclasses
import json
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import Any, Final
from zoneinfo import ZoneInfo

import rfc8785
from langchain_core.tools import BaseTool, InjectedToolCallId, ToolException
from langchain_core.tools.base import _is_injected_arg_type, get_all_basemodel_annotations
from pydantic import AliasChoices, BaseModel, RootModel
from pydantic.errors import PydanticUserError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from rota.domain.schemas.schema import closed, tool_schema
from rota.domain.text.shortening import quoted, shorten
from rota.domain.text.storable import SecretText, storable_json
from rota.security.gate.argument_names import argument_problem
from rota.security.secrets.hashing import arguments_hash
from rota.security.secrets.redaction import redact_text

Positional = tuple[Any, ...]

DEEPEST: Final = 100
"""Levels of nested lists and objects in arguments. People and rules must see all of them."""

ERROR_LIMIT: Final = 2_000
"""Characters of a tool's failure that a model is told."""

_TAKES_OTHERS: Final = frozenset({"args", "kwargs", "v__args", "v__kwargs"})
"""How a schema names the parameters of a function that takes whatever it is given."""

_EXACT: Final = 2**53
"""From here on a JSON number is not the same for all who read it."""


class ArgumentForm:
    """How one tool takes arguments: by its `schema`, of which a model sees the `visible` part.

    `hidden` are the names of the arguments that LangChain injects and that no model sets.

    Raises TypeError for a tool with an argument that would not reach it.
    """

    def __init__(self, tool: BaseTool, schema: Any, visible: Any) -> None:
        self._tool = tool
        self._names = given_names(schema)
        # Not all that LangChain hides from a model: it leaves out fields of some aliases, too.
        annotations = get_all_basemodel_annotations(schema) if isinstance(schema, type) else {}
        self.hidden: Final = frozenset(getattr(tool, "_injected_args_keys", ())) | {
            name for name, kind in annotations.items() if _is_injected_arg_type(kind)
        }
        self._takes_id = frozenset(name for name, kind in annotations.items() if _is_call_id(kind))
        self._schema = tool_schema(schema) if isinstance(schema, dict) else None
        self._known = _closed_names(schema) if self._schema is None else None
        written = [self._names.get(n, n) for n in _fields(schema) if n not in self.hidden]
        if len(set(written)) < len(written):
            raise TypeError(f"{tool.name} has two arguments of one name")
        if tool.args_schema is not None:  # else it is that of LangChain's own `_run`
            given = {*_properties(visible), *_fields(visible), *written}
            if (problem := argument_problem(tool, schema, given)) is not None:
                raise TypeError(problem)

    def detached(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return a copy that nobody else holds: what is judged does not change before it runs.

        Injected values stay as they are. Raises ToolException for what cannot be copied.
        """
        try:
            return {
                name: value
                if name in self.hidden
                # What is read as it goes is read here.
                else copy.deepcopy(list(value) if isinstance(value, Iterator) else value)
                for name, value in kwargs.items()
            }
        except Exception as error:
            raise ToolException(
                f"The arguments of {self._tool.name} cannot be kept ({type(error).__name__}); it "
                "did not run."
            ) from error

    def written(self, args: Positional, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return validated arguments as JSON, without injected ones; raises ToolException."""
        shown = [
            (self._names.get(name, name), value)
            for name, value in kwargs.items()
            if name not in self.hidden
        ]
        if args:
            shown.append(("args", list(args)))
        if len({name for name, _ in shown}) < len(shown):
            raise ToolException(
                f"Two arguments of {self._tool.name} are written alike; it did not run."
            )
        arguments = canonical_arguments(dict(shown))
        unknown = sorted(set(arguments) - self._known) if self._known is not None else ()
        if unknown:
            raise ToolException(
                f"{self._tool.name} has no argument {quoted(unknown[0])}. It did not run."
            )
        if self._schema is not None and (problems := self._schema.problems(arguments)):
            raise ToolException(
                f"{self._tool.name} does not take that: {' '.join(problems)} It did not run."
            )
        return arguments

    def read(
        self, arguments: Mapping[str, Any], args: Positional, kwargs: Mapping[str, Any]
    ) -> tuple[Positional, dict[str, Any]]:
        """Return what the tool is called with for stored arguments, and what was injected.

        Raises ToolException where the tool does not read exactly these out of them.
        """
        injected = {name: value for name, value in kwargs.items() if name in self.hidden}
        if args and "args" in arguments:  # a tool of one string takes it by position
            return tuple(arguments["args"]), injected
        call_id = next((injected[n] for n in self._takes_id if n in injected), "rota")
        try:
            asked = {**copy.deepcopy(dict(arguments)), **injected}
            found_args, found = self._tool._to_args_and_kwargs(asked, call_id)  # noqa: SLF001  as `run` does with what a model sends
        except Exception as error:
            raise ToolException(
                f"{self._tool.name} does not take the arguments that were approved: "
                f"{shorten(redact_text(str(error)), ERROR_LIMIT)}"
            ) from error
        found = {**found, **injected}
        if arguments_hash(self.written(found_args, found)) != arguments_hash(arguments):
            raise ToolException(
                f"{self._tool.name} would get other arguments than those that were approved"
            )
        return found_args, found

    def later_problem(self, arguments: Mapping[str, Any], args: Positional) -> str | None:
        """Return why a call could not be made later, by itself, without its agent; else None."""
        try:
            self.read(arguments, args, {})
        except ToolException as error:
            if self.hidden - self._takes_id:
                return f"{self._tool.name} needs what only a running agent can give it"
            return str(error)
        return None


def wrapping_problem(tool: BaseTool) -> str | None:
    """Return why a tool cannot be put behind the gate, None where it can."""
    schema = tool.args_schema or tool.get_input_schema()
    try:
        ArgumentForm(tool, schema, tool.tool_call_schema)
    except Exception as error:  # noqa: BLE001  whatever a foreign tool's schema raises
        return str(error)
    return None


def canonical_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments as JSON; raises ToolException for what JSON, or PostgreSQL, cannot carry."""
    try:
        value = {str(name): _plain(item, 1) for name, item in arguments.items()}
        if storable_json(value) != value:
            raise ToolException(
                "The arguments hold characters that cannot be stored; the tool did not run."
            )
        rfc8785.dumps(value)
    except (
        rfc8785.CanonicalizationError,
        PydanticSerializationError,
        ValueError,
        RecursionError,
    ) as error:
        raise ToolException(
            f"The arguments cannot be written as JSON ({error}); the tool did not run."
        ) from error
    return value


def argument_schema(tool: BaseTool) -> Mapping[str, Any] | None:
    """Return the JSON Schema of what a model may pass, by the names that it uses.

    None where there is none to be had.
    """
    schema = tool.tool_call_schema
    if isinstance(schema, dict):
        return schema
    try:
        made = schema.model_json_schema if hasattr(schema, "model_json_schema") else schema.schema
        stored: dict[str, Any] = storable_json(made())
    except (ValueError, TypeError, PydanticUserError):  # of a type that JSON Schema cannot say
        return None
    names = given_names(tool.args_schema)
    if names and "properties" in stored:
        stored["properties"] = {names.get(n, n): v for n, v in stored["properties"].items()}
        stored["required"] = [names.get(n, n) for n in stored.get("required", ())]
    config = getattr(tool.args_schema, "model_config", None) or {}
    if config.get("extra") == "allow":
        stored["additionalProperties"] = True
    return stored


def argument_names(tool: BaseTool) -> frozenset[str] | None:
    """Return the names of all arguments that a model may pass, None where there may be others."""
    schema = argument_schema(tool)
    if schema is None or closed(schema).get("additionalProperties") is not False:
        return None
    names = frozenset(schema["properties"])
    return None if names & _TAKES_OTHERS else names


def given_names(schema: Any) -> dict[str, str]:
    """Return by what name each field is given, where that is another than the field's own."""
    names: dict[str, str] = {}
    for name, field in _fields(schema).items():
        given = getattr(field, "validation_alias", None) or getattr(field, "alias", None)
        if isinstance(given, AliasChoices):
            given = given.choices[0]
        if isinstance(given, str) and given != name:
            names[name] = given
    return names


def _plain(value: Any, depth: int) -> Any:
    """Return a validated value as JSON, with all that is in it: `exclude` hides nothing here."""
    if depth > DEEPEST:
        raise ValueError(f"they are nested more than {DEEPEST} levels deep")
    if isinstance(value, Enum):
        return _plain(value.value, depth)
    if value is None or isinstance(value, bool | str | int | float):
        if isinstance(value, float) and value.is_integer() and abs(value) >= _EXACT:
            raise ValueError(f"{value:g} is too large to be exact")
        return value
    match value:
        case Mapping():
            return _object(value.items(), depth)
        case list() | tuple():
            return [_plain(item, depth + 1) for item in value]
        case AbstractSet():
            return sorted((_plain(item, depth + 1) for item in value), key=json.dumps)
    return _plain_object(value, depth)


def _plain_object(value: Any, depth: int) -> Any:
    if hasattr(value, "get_secret_value"):
        secret = value.get_secret_value()
        return SecretText(secret.decode() if isinstance(secret, bytes) else str(secret))
    if isinstance(value, RootModel):
        return _plain(value.root, depth)
    if isinstance(value, bytes | bytearray):
        return _written_bytes(bytes(value))
    if isinstance(value, ZoneInfo):
        return str(value)
    kind = type(value)
    is_model = isinstance(value, BaseModel) or hasattr(value, "__fields_set__")  # or pydantic 1
    if is_model or (dataclasses.is_dataclass(value) and not isinstance(value, type)):
        return _object(_inside(value, kind), depth)
    return to_jsonable_python(value)  # raises for what pydantic does not know how to write


def _inside(value: Any, kind: type) -> list[tuple[str, Any]]:
    """Return all that an object holds, private or not; what is computed of it adds nothing."""
    names = given_names(kind)
    computed = getattr(kind, "model_computed_fields", {})
    slots = [f.name for f in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []
    held = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    held |= {
        n: v for n, v in getattr(value, "__dict__", {}).items() if not n.startswith("__pydantic_")
    }
    held |= getattr(value, "__pydantic_extra__", None) or {}
    held |= getattr(value, "__pydantic_private__", None) or {}
    return [(names.get(name, name), item) for name, item in held.items() if name not in computed]


def _written_bytes(value: bytes) -> str:
    """Return bytes as text where they are some, else in base64."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()


def _object(items: Any, depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, item in items:
        name = key if isinstance(key, str) else str(to_jsonable_python(key))
        if name in found:
            raise ValueError(f"two of their keys are written {quoted(name)}")
        found[name] = _plain(item, depth + 1)
    return found


def _fields(schema: Any) -> Mapping[str, Any]:
    if schema is None or isinstance(schema, dict):
        return {}
    for name in ("model_fields", "__pydantic_fields__", "__fields__"):  # of dataclasses; pydantic 1
        if isinstance(found := getattr(schema, name, None), Mapping):
            return found
    return {}


def _properties(schema: Any) -> Mapping[str, Any]:
    found = schema.get("properties") if isinstance(schema, dict) else None
    return found if isinstance(found, Mapping) else {}


def _is_call_id(annotation: Any) -> bool:
    """Return whether LangChain puts the id of the call into an argument of this annotation."""
    return any(
        part is InjectedToolCallId or isinstance(part, InjectedToolCallId)
        for part in getattr(annotation, "__metadata__", ())
    )


def _closed_names(schema: Any) -> frozenset[str] | None:
    """Return the names that a schema of JSON has, where it has no others and cannot be read."""
    if not isinstance(schema, dict) or closed(schema).get("additionalProperties") is not False:
        return None
    return frozenset(_properties(schema))
