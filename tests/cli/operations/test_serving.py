"""What `rota up` and `rota sign-in` say of the server, and what they open."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress

import httpx
import pytest

from tests.terminal import Terminal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240), pytest.mark.long]


def rota(*arguments, environment):
    return subprocess.run(
        [sys.executable, "-m", "rota", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def redeem(link):
    origin, code = re.fullmatch(r"(http://[\d.:]+)/sign-in#(\S+)", link).groups()
    return httpx.post(f"{origin}/api/v1/session", json={"code": code}, trust_env=False)


@pytest.fixture
def environment(tmp_path):
    """A machine with a display, and a browser that notes what it is told to open."""
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    browser.chmod(0o700)
    return os.environ | {
        "ROTA_DATA_DIR": str(tmp_path / "data"),
        "BROWSER": str(browser),
        "DISPLAY": ":9",
    }


@pytest.mark.parametrize("options", [[], ["--no-browser"]])
def test_the_owner_is_signed_in_by_a_link_that_works_once(environment, tmp_path, options):
    with ExitStack() as taken:
        with suppress(OSError):  # somebody has it already
            taken.enter_context(socket.create_server(("127.0.0.1", 7682)))
        terminal = Terminal("up", *options, environment=environment)
        try:
            port = terminal.until(r"the server listens on\s+127\.0\.0\.1:(\d+)")[1]
            link = terminal.until(r"In a browser: (\S+)\r?\n")[1]
            assert link.startswith(f"http://127.0.0.1:{port}/sign-in#")
            assert redeem(link).json()["email"] == "owner@localhost"
            assert redeem(link).status_code == 401

            another = rota("sign-in", environment=environment).strip()
            assert another.startswith(f"http://127.0.0.1:{port}/sign-in#")
            assert redeem(another).status_code == 201
            assert f"http://127.0.0.1:{port}" in rota("status", environment=environment)
        finally:
            terminal.interrupt()
            terminal.process.wait()
    opened = tmp_path / "opened"
    if options:
        assert not opened.exists()
    else:
        assert opened.read_text().strip() == link


def test_where_nobody_reads_the_output_no_link_is_in_it(environment, tmp_path):
    said = rota("up", "-d", environment=environment)
    try:
        assert re.search(r"In a browser: http://127\.0\.0\.1:\d+\n", said)
        assert "sign-in#" not in said
        data = environment["ROTA_DATA_DIR"]
        assert f"\nTo sign in: `rota sign-in --data-dir {data}`\n" in said
        assert redeem(rota("sign-in", environment=environment).strip()).status_code == 201
        assert not (tmp_path / "opened").exists()
    finally:
        rota("down", environment=environment)


def test_the_api_is_described_without_a_database(tmp_path):
    described = json.loads(
        rota(
            "openapi",
            environment=os.environ
            | {"ROTA_DATA_DIR": str(tmp_path / "none"), "ROTA_DATABASE_URL": "postgresql://h:1/x"},
        )
    )
    assert described["openapi"].startswith("3.1.")
    assert "/api/v1/schedules/{schedule}" in described["paths"]
    assert not (tmp_path / "none").exists()
