"""Where rota works as a role that can do too much, it says so and what to do, and works on."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import subprocess
import sys
from urllib.parse import urlsplit

import psycopg
import pytest
from typer.testing import CliRunner

from rota.cli.main import app
from rota.store.migrations import migrate
from rota.store.roles import backend_role_problem, lacking_rights_problem, working_role_problem

pytestmark = pytest.mark.long

ADVICE = (
    "Name rota_backend and its password in ROTA_DATABASE_URL; nothing else changes. Only the "
    "schema's owner migrates: rota."
)


def printed(said):
    """Return the statements that a message names."""
    return re.findall(r"(?:CREATE|ALTER|GRANT)\b[^;]*;", " ".join(said.split()))


def rota(url, tmp_path, *arguments):
    env = environment(url, tmp_path)
    del env["ROTA_USER"]
    return subprocess.run(
        [sys.executable, "-m", "rota", *arguments],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


def environment(url, tmp_path):
    return {
        **os.environ,
        "ROTA_DATABASE_URL": url,
        "ROTA_USER": "alice@example.com",
        "ROTA_SECRET_KEY": "00" * 32,
        "ROTA_DATA_DIR": str(tmp_path / "data"),
    }


def first_warning(command, url, tmp_path):
    """Return the first line of what a process says on standard error, then end it."""
    with subprocess.Popen(
        [sys.executable, "-m", "rota", command],
        env=environment(url, tmp_path),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if not line.startswith("·"):
                    return line
            return ""
        finally:
            process.kill()


def doctor_on_role(monkeypatch, url):
    monkeypatch.setenv("ROTA_DATABASE_URL", url)
    found = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)
    (check,) = [one for one in found if one["name"] == "Role"]
    return check["verdict"], check["said"]


def test_doctor_warns_of_a_superuser(monkeypatch, owner_url):
    verdict, said = doctor_on_role(monkeypatch, owner_url)
    assert verdict == "warn"
    assert "rota works as rota, which is a superuser" in said
    assert ADVICE in said


def test_doctor_is_content_with_rotas_own_role(monkeypatch, database_url):
    assert doctor_on_role(monkeypatch, database_url) == ("ok", "rota_backend")


@pytest.mark.parametrize("command", ["scheduler", "worker", "up"])
def test_process_that_works_as_the_owner_says_so_in_one_line(command, owner_url, alice, tmp_path):
    line = first_warning(command, owner_url, tmp_path)

    assert line.startswith("Warning: rota works as rota, which is a superuser")
    assert ADVICE in line


@pytest.mark.postgres15
async def test_role_past_row_level_security_and_the_owner_are_known(supabase_database, plain15):
    await migrate(supabase_database.owner_url)
    plain15.execute("template1", "CREATE ROLE mere_owner LOGIN CREATEROLE")
    with plain15.database("mere_owner") as name:
        await migrate(plain15.url("mere_owner", name))
        for url, why in (
            (supabase_database.owner_url, "is past row-level security (BYPASSRLS)"),
            (plain15.url("mere_owner", name), "owns the schema"),
            (supabase_database.backend_url, None),
        ):
            async with await psycopg.AsyncConnection.connect(url) as conn:
                problem = await working_role_problem(conn)
            assert (problem is None) == (why is None)
            assert problem is None or f", which {why}: " in problem


@pytest.mark.postgres15
async def test_migrate_warns_until_there_is_a_role_to_work_as(plain15, monkeypatch, tmp_path):
    plain15.execute("template1", "CREATE ROLE lonely_owner LOGIN CREATEROLE")
    with plain15.database("lonely_owner") as name:
        url = plain15.url("lonely_owner", name)

        first = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "rota", "migrate", "--json"],
            env=environment(url, tmp_path),
            capture_output=True,
            text=True,
            check=True,
        )
        assert "Warning: There is no role rota_backend that may log in" in first.stderr
        assert printed(first.stderr) == [
            "CREATE ROLE rota_backend LOGIN PASSWORD '...';",
            "GRANT anon, authenticated, service_role TO rota_backend;",
        ]
        assert "Run as a superuser: CREATE" in " ".join(first.stderr.split())
        assert json.loads(first.stdout)["applied"]

        try:
            async with await psycopg.AsyncConnection.connect(url, autocommit=True) as conn:
                plain15.execute(name, *printed(first.stderr))
                assert await backend_role_problem(conn) is None
                assert (await migrate(url)).applied == ()
                assert rota(plain15.url("rota_backend", name), tmp_path, "doctor").returncode == 0
                plain15.execute(name, "REVOKE service_role FROM rota_backend")
                problem = await backend_role_problem(conn)
                assert problem is not None
                assert printed(problem) == ["GRANT service_role TO rota_backend;"]
                plain15.execute(name, *printed(problem))
                for right in ("BYPASSRLS", "SUPERUSER", "BYPASSRLS SUPERUSER", "NOLOGIN"):
                    plain15.execute(name, f"ALTER ROLE rota_backend {right}")
                    problem = await backend_role_problem(conn)
                    assert problem is not None
                    plain15.execute(name, *printed(problem))
                    assert await backend_role_problem(conn) is None, right
        finally:
            plain15.execute(
                name,
                "REVOKE anon, authenticated, service_role FROM rota_backend",
                "DROP ROLE rota_backend",
            )


@pytest.mark.postgres15
async def test_grant_that_migrate_may_not_make_works_as_printed(plain15, tmp_path):
    plain15.execute("template1", "CREATE ROLE late_owner LOGIN CREATEROLE")
    with plain15.database("late_owner") as name:
        url = plain15.url("late_owner", name)
        await migrate(url)
        plain15.execute(name, "CREATE ROLE rota_backend LOGIN")
        try:
            doctor = rota(plain15.url("rota_backend", name), tmp_path, "doctor", "--json")
            (check,) = [one for one in json.loads(doctor.stdout) if one["name"] == "Role"]
            assert "Run as a superuser: GRANT" in check["said"]
            again = rota(url, tmp_path, "migrate")
            assert again.returncode == 7
            assert "late_owner may not grant the roles that rota needs. Run as a superuser" in (
                " ".join(again.stderr.split())
            )
            plain15.execute(name, *printed(again.stderr))
            assert rota(url, tmp_path, "migrate").returncode == 0
            assert rota(plain15.url("rota_backend", name), tmp_path, "doctor").returncode == 0
        finally:
            plain15.execute(
                name,
                "REVOKE anon, authenticated, service_role FROM rota_backend",
                "DROP ROLE rota_backend",
            )


@pytest.mark.postgres15
async def test_grant_is_asked_of_the_owner_where_that_may_make_it(supabase_database):
    await migrate(supabase_database.owner_url)
    supabase_database.server.execute(
        supabase_database.name, "REVOKE service_role FROM rota_backend"
    )
    async with await psycopg.AsyncConnection.connect(supabase_database.backend_url) as conn:
        problem = await lacking_rights_problem(conn)
    assert problem is not None
    assert 'Run as postgres: GRANT service_role TO "rota_backend";' in problem
    (grant,) = printed(problem)
    supabase_database.server.execute(supabase_database.name, grant, role="postgres")
    async with await psycopg.AsyncConnection.connect(supabase_database.backend_url) as conn:
        assert await lacking_rights_problem(conn) is None


@pytest.mark.postgres15
async def test_rotas_own_role_that_can_do_too_much_is_narrowed_as_printed(supabase_database):
    await migrate(supabase_database.owner_url)
    server, name = supabase_database.server, supabase_database.name
    for rights, statement in (
        ("BYPASSRLS", "ALTER ROLE rota_backend NOBYPASSRLS;"),
        ("SUPERUSER BYPASSRLS", "ALTER ROLE rota_backend NOSUPERUSER NOBYPASSRLS;"),
    ):
        server.execute(name, f"ALTER ROLE rota_backend {rights}")
        async with await psycopg.AsyncConnection.connect(supabase_database.backend_url) as conn:
            problem = await working_role_problem(conn)
            assert problem is not None
            assert printed(problem)[0] == statement
            assert "CREATE ROLE" not in problem
            assert "migrate" not in problem
            server.execute(name, *printed(problem))
            assert await working_role_problem(conn) is None


@pytest.fixture
async def plain_role(owner, postgres_server, migrated_database):
    """The URL of a role that may log in, and was granted nothing."""
    role = f"clerk_{secrets.token_hex(4)}"
    await owner.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'clerk'")
    url = urlsplit(postgres_server.backend_of(migrated_database))
    host = url.netloc.rpartition("@")[2]
    yield url._replace(netloc=f"{role}:clerk@{host}").geturl()
    await owner.execute(f"DROP ROLE {role}")


@pytest.mark.parametrize("command", ["status", "worker", "scheduler", "up"])
async def test_role_that_was_granted_nothing_is_told_the_grant(
    command, plain_role, owner, alice, tmp_path
):
    async def run(*arguments):
        return await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "rota", *arguments],
            env=environment(plain_role, tmp_path),
            capture_output=True,
            text=True,
            check=False,
        )

    refused = await run(command)

    assert refused.returncode == 6, refused.stderr
    assert "GRANT anon, authenticated, service_role TO" in refused.stderr
    if command == "status":
        doctor = await run("doctor", "--json")
        assert doctor.returncode == 1
        (check,) = [one for one in json.loads(doctor.stdout) if one["name"] == "Role"]
        assert check["verdict"] == "fail"
        assert "GRANT anon, authenticated, service_role TO" in check["said"]
        role = urlsplit(plain_role).username
        await owner.execute(f"GRANT anon, authenticated, service_role TO {role}")
        assert (await run("status")).returncode == 0
        await owner.execute(f"GRANT service_role TO {role} WITH INHERIT FALSE")
        refused = await run("status")
        assert refused.returncode == 6, refused.stderr
        assert "does not inherit the rights of service_role" in refused.stderr


@pytest.mark.parametrize("setting", ["ROTA_USER", "ROTA_OPERATOR"])
def test_person_of_a_setting_who_is_unknown_is_named_with_it(
    setting, database_url, alice, tmp_path
):
    (tmp_path / ".env").write_text(f"{setting}=nobody@example.com\n")
    env = {**environment(database_url, tmp_path), "ROTA_CONFIG": str(tmp_path / ".env")}
    if setting == "ROTA_USER":
        del env["ROTA_USER"]

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "rota", *arguments],
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )

    says = (
        f"No user 'nobody@example.com'. {setting} in {tmp_path / '.env'} names them: mend it, or "
        "add them with `rota people add nobody@example.com`."
    )
    doctor = run("doctor", "--json")
    assert doctor.returncode == 1
    (check,) = [one for one in json.loads(doctor.stdout) if "nobody" in one["said"]]
    assert (check["verdict"], check["said"]) == ("fail", says)
    refused = run("worker" if setting == "ROTA_OPERATOR" else "status")
    assert refused.returncode == 3
    assert says in " ".join(refused.stderr.split())


def test_person_of_the_option_who_is_unknown_gets_the_advice_of_other_commands(
    database_url, tmp_path
):
    who = ("--as", "nobody@example.com")
    doctor = rota(database_url, tmp_path, "doctor", "--json", *who)
    refused = rota(database_url, tmp_path, "schedules", "list", *who)

    (check,) = [one for one in json.loads(doctor.stdout) if one["name"] == "User"]
    assert check["said"].endswith("`rota people add nobody@example.com` adds somebody.")
    assert check["said"] in " ".join(refused.stderr.split())


def test_worker_with_a_mail_folder_of_nobody_says_which_setting_lacks(database_url, tmp_path):
    env = {**environment(database_url, tmp_path), "ROTA_MAIL": str(tmp_path / "inbox")}
    del env["ROTA_USER"]

    refused = subprocess.run(
        [sys.executable, "-m", "rota", "worker"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert refused.returncode == 6
    assert "ROTA_MAIL is set; ROTA_USER says whose mail it is. Set it too, in the same place" in (
        " ".join(refused.stderr.split())
    )
