"""The API described as OpenAPI 3.1, with what FastAPI does not know of it.

The scope that an operation needs is read from the dependency that checks it, and each POST has the
header `Idempotency-Key`. So neither can be forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts

from rota.api.callers import Need
from rota.api.idempotency import KEY_PARAMETER
from rota.api.problems import Problem

SCHEMES: Final[dict[str, Any]] = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API token, or a JWT of your identity provider.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "__Host-rota",
        "description": "The session of somebody who signed in with a browser: all scopes. "
        "Without TLS, on loopback, the cookie is called `rota-PORT`.",
    },
}
SCOPE: Final = "x-rota-scope"
OPERATORS: Final = "x-rota-operators-only"


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path, and who may call it; `need` is None where nobody needs to sign in."""

    method: str
    path: str
    name: str
    need: Need | None


def operations(api: FastAPI) -> tuple[Operation, ...]:
    """Return all operations that are published, by path."""
    found = [
        Operation(
            method.lower(), str(context.path_format), str(context.name), _need(context.dependant)
        )
        for context in iter_route_contexts(api.routes)
        if getattr(context, "include_in_schema", False)
        for method in sorted(context.methods or ())
    ]
    return tuple(sorted(found, key=lambda one: (one.path, one.method)))


def describe(api: FastAPI) -> dict[str, Any]:
    """Return the API as OpenAPI 3.1."""
    described = api.openapi()
    components = described.setdefault("components", {})
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    components.setdefault("schemas", {}).update(problem.pop("$defs"), Problem=problem)
    components.setdefault("securitySchemes", {}).update(SCHEMES)
    for one in operations(api):
        operation = described["paths"][one.path][one.method]
        if "428" in operation["responses"]:
            operation.setdefault("parameters", []).extend(_preconditions(one.method))
        if one.need is None:
            operation["security"] = []
            continue
        operation[SCOPE] = one.need.called
        operation["security"] = [{"session": []}]
        if not one.need.in_person:
            scopes = [] if one.need.scope is None else [one.need.scope.value]
            operation["security"].insert(0, {"token": scopes})
        if one.need.operator:
            operation[OPERATORS] = True
        parameters = operation.setdefault("parameters", [])
        if one.method == "post" and KEY_PARAMETER not in parameters:  # FastAPI keeps what it made
            parameters.append(KEY_PARAMETER)
    return described


def _preconditions(method: str) -> list[dict[str, Any]]:
    """Return the headers of an operation that checks what its sender saw."""
    tag = {"in": "header", "required": False, "schema": {"type": "string"}}
    matches = {
        "name": "If-Match",
        "description": "The ETag of what you read; `*` for whatever is there.",
        "example": '"3"',
    }
    is_new = {
        "name": "If-None-Match",
        "description": "`*`: only make it, and replace nothing.",
        "example": "*",
    }
    return [matches | tag, *([is_new | tag] if method == "put" else [])]


def _need(dependant: Dependant) -> Need | None:
    """Return what the dependency checks that finds out who calls."""
    if isinstance(dependant.call, Need):
        return dependant.call
    return next(filter(None, map(_need, dependant.dependencies)), None)
