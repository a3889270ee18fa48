"""rota on Supabase, as the how-to has it: the owner migrates, and rota_backend works."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests import supabase
from tests.conftest import need_postgres15

HOWTO = Path(__file__).parents[3] / "docs" / "howto" / "own-database.md"
MAIL = "From bob@example.com Mon Nov 30 07:00:00 2026\nFrom: bob@example.com\nSubject: Hi\n\nHi.\n"

pytestmark = [pytest.mark.postgres15, pytest.mark.timeout(300)]  # commands, one after another


def blocks(begin, end):
    text = HOWTO.read_text(encoding="utf-8")
    section = text[text.index(begin) : text.index(end)]
    return re.findall(r"```(\w+)\n(.*?)```", section, re.DOTALL)


@pytest.fixture
def environment(tmp_path):
    (tmp_path / "mbox").write_text(MAIL, encoding="utf-8")
    return os.environ | {
        "ROTA_SECRET_KEY": "00" * 32,
        "ROTA_DATA_DIR": str(tmp_path / "data"),
        "ROTA_MAIL": str(tmp_path / "mbox"),
        "COLUMNS": "200",
    }


def rota(environment, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "rota", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def as_typed(environment, supabase_database):
    """Type what the how-to says, with this server instead of Supabase's; return what is printed."""
    written = re.compile(r":\.\.\.@db\.PROJECT\.supabase\.co:5432/postgres")
    here = f"@/{supabase_database.name}?host={supabase_database.server.folder}"
    said = []
    for kind, block in blocks("## Supabase", "The transaction pooler (port"):
        if kind == "sql":
            with psycopg.connect(supabase_database.owner_url, autocommit=True) as conn:
                conn.execute(block)
            continue
        for line in written.sub(here, block).splitlines():
            command, *arguments = shlex.split(line)
            if command == "export":
                name, _, value = arguments[0].partition("=")
                environment[name] = value
            elif command == "rota":
                said.append(rota(environment, *arguments))
            else:
                assert line == "supabase db push --include-all"
    return said


def test_howto_works_word_by_word_and_so_do_commands_that_name_a_person(
    supabase_database, environment
):
    # The how-to makes it; the fixture did so before.
    supabase_database.server.execute(supabase_database.name, "DROP ROLE rota_backend")
    supabase_database.sign_up("alice@example.com")

    migrated, doctor, allowed, schedules = as_typed(environment, supabase_database)

    for finished in (migrated, doctor, allowed, schedules):
        assert finished.returncode == 0, finished.stdout + finished.stderr
        assert "Warning" not in finished.stderr
    assert re.search(r"^Role +ok +rota_backend", doctor.stdout, re.MULTILINE)

    environment["ROTA_USER"] = "alice@example.com"
    for line in (
        "up --exit-after-demo",
        "schedules list",
        "limits set --user alice@example.com --concurrency 2",
        "limits show",
        "approvals policy add --operator --require gmail_search --user alice@example.com",
        "approvals policy list --operator",
        "approvals deputies list",
        "audit verify",
        "retention run --dry-run",
    ):
        finished = rota(environment, *line.split())
        assert finished.returncode == 0, (line, finished.stdout, finished.stderr)
        assert "Warning" not in finished.stderr
        if "policy list" in line or line == "limits show":
            assert "alice@example.com" in finished.stdout
    found = json.loads(rota(environment, "results", "list", "--json").stdout)
    assert [result["status"] for result in found] == ["success"]

    unknown = rota(environment | {"ROTA_USER": "eve@example.com"}, "schedules", "list")
    assert unknown.returncode != 0
    assert "eve@example.com" in unknown.stderr
    assert "permission denied" not in unknown.stderr


def test_howto_for_plain_postgresql_works_word_by_word(environment):
    need_postgres15()
    with supabase.postgres15("admin") as server:
        written = re.compile(r":\.\.\.@host/rota")
        for kind, block in blocks("## Plain PostgreSQL", "## Supabase"):
            if "my_role" in block:  # instead of rota_backend
                continue
            if kind == "sql":
                owner = "rota_owner" if "auth.users" in block else "admin"
                database = "rota" if owner == "rota_owner" else "template1"
                statements = [one for one in block.split(";") if one.strip()]
                server.execute(database, *statements, role=owner)
                continue
            for line in written.sub(f"@/rota?host={server.folder}", block).splitlines():
                if kind == "text":  # lines of a settings file
                    name, _, value = line.partition("=")
                    environment[name] = value
                    continue
                command, *arguments = shlex.split(line)
                if command == "export":
                    name, _, value = arguments[0].partition("=")
                    environment[name] = value
                    continue
                finished = rota(environment, *arguments)
                assert finished.returncode == 0, (line, finished.stdout, finished.stderr)
                assert "Warning" not in finished.stderr


def test_people_who_share_an_address_are_named_by_their_ids(supabase_database, environment):
    environment["ROTA_DATABASE_URL"] = supabase_database.backend_url
    assert rota(environment, "migrate", "--database-url", supabase_database.owner_url).stderr == ""
    first = supabase_database.sign_up("shared@example.com")
    supabase_database.server.execute(
        supabase_database.name,
        "INSERT INTO auth.users (id, email, is_sso_user)"
        " VALUES (gen_random_uuid(), 'shared@example.com', true)",
    )

    refused = rota(environment, "schedules", "list", "--as", "shared@example.com")
    by_id = rota(environment, "schedules", "list", "--as", first)

    assert "2 people are shared@example.com; name one by their id." in refused.stderr
    assert by_id.returncode == 0


def test_rotas_role_reads_no_people_itself_and_strangers_look_up_nobody(
    supabase_database, environment
):
    rota(environment, "migrate", "--database-url", supabase_database.owner_url)
    for role, statements in (
        ("rota_backend", ["SELECT id FROM auth.users"]),
        (
            "authenticator",
            [
                "SET ROLE authenticated; SELECT rota.find_people('a@example.com', NULL)",
                "SET ROLE anon; SELECT rota.addresses_of_people('{}')",
            ],
        ),
    ):
        for statement in statements:
            with (
                psycopg.connect(supabase_database.url(role)) as conn,
                pytest.raises(psycopg.errors.InsufficientPrivilege),
            ):
                conn.execute(statement)
