"""Writes what is generated of the HTTP API's reference: `python -m tests.http_api`.

`docs/reference/openapi.json`, and the tables of operations in `docs/reference/http-api.md`. What
stands there above the line `GENERATED` is written by hand. Tests compare both with the code.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from rota.api.app import PREFIX, describe, make_api
from rota.api.description import OPERATORS, SCOPE

REFERENCE: Final = Path(__file__).parents[1] / "docs" / "reference"
PAGE: Final = REFERENCE / "http-api.md"
PUBLISHED: Final = REFERENCE / "openapi.json"
GENERATED: Final = "<!-- From here on written by `python -m tests.http_api`. -->"
METHODS: Final = ("get", "post", "put", "patch", "delete")

Operation = Mapping[str, Any]


def described() -> dict[str, Any]:
    """Return the API's description, as it is now."""
    return describe(make_api(None, None))


def each_operation(api: Mapping[str, Any]) -> Iterator[tuple[str, str, Operation]]:
    """Yield method, path and description of each operation."""
    for path, methods in sorted(api["paths"].items()):
        for method in METHODS:
            if method in methods:
                yield method.upper(), path, methods[method]


def published(api: Mapping[str, Any]) -> str:
    """Return the text of `openapi.json`."""
    return json.dumps(api, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def page(api: Mapping[str, Any], before: str) -> str:
    """Return the text of `http-api.md`, of which `before` was written by hand."""
    return before.partition(GENERATED)[0] + "\n".join([GENERATED, *_sections(api)]) + "\n"


def _sections(api: Mapping[str, Any]) -> Iterator[str]:
    rooms: dict[str, list[str]] = {}
    for method, path, operation in each_operation(api):
        needed = operation.get(SCOPE, "-")
        if operation.get(OPERATORS):
            needed += ", operator"
        row = f"| `{method} {path.removeprefix(PREFIX)}` | {needed} | {_meaning(operation)} |"
        rooms.setdefault(operation.get("tags", ["other"])[0], []).append(row)
    for room, rows in sorted(rooms.items()):
        yield from ("", f"## {room.replace('_', ' ').capitalize()}", "")
        yield from ("| Operation | Scope | What it does |", "|---|---|---|", *rows)


def _meaning(operation: Operation) -> str:
    """Return the first paragraph of a description, on one line of a table."""
    first = str(operation.get("description", "")).partition("\n\n")[0]
    return " ".join(first.split()).replace("|", "\\|")


def main() -> int:
    """Write the files."""
    api = described()
    PAGE.write_text(page(api, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    PUBLISHED.write_text(published(api), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
