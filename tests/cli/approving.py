"""The terminals of people who decide on what waits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from rota.cli.main import app

KEY = b"k" * 32
"""As the desk's."""


def terminal_of_alice(
    database_url: str, monkeypatch: pytest.MonkeyPatch, *, group: str = "approvals"
) -> Callable[..., Any]:
    """Return what runs commands of a group as Alice, and returns what they printed."""
    monkeypatch.setenv("ROTA_DATABASE_URL", database_url)
    monkeypatch.setenv("ROTA_USER", "alice@example.com")
    monkeypatch.setenv("ROTA_SECRET_KEY", KEY.hex())

    async def run(*arguments: str, exit_code: int = 0) -> Any:
        result = await asyncio.to_thread(CliRunner().invoke, app, [group, *arguments])
        if result.exception is not None and not isinstance(
            result.exception, SystemExit | typer.Exit
        ):
            raise result.exception
        assert result.exit_code == exit_code, result.output
        return json.loads(result.stdout) if "--json" in arguments else result.stdout

    return run


def ids(actions: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the ids of actions, of rows or of JSON."""
    return [str(action["id"]) for action in actions]
