"""Backups: what was kept comes back, on the same and on another kind of server, and not twice."""

from __future__ import annotations

import errno
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from rota.bootstrap import backups
from rota.bootstrap.app import Server
from rota.domain.errors import (
    ConflictError,
    InvalidInputError,
    MigrationError,
    SetupRequiredError,
    UnavailableError,
)
from rota.settings import Settings
from rota.store.embedded.files import instance_lock
from rota.store.embedded.server import EmbeddedPostgres
from rota.store.migrations import migrate
from tests.postgres import on_database
from tests.privileges import document
from tests.services.harness import PAST, Workshop

KEY = "00" * 32
SETTINGS = Settings(secret_key=KEY)
SHAPE = """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), convalidated
    FROM pg_constraint WHERE connamespace::regnamespace::text IN ('public', 'rota')
    UNION ALL
    SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid), tgenabled = 'O'
    FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL
    SELECT oid::regclass::text, 'row security', '', relrowsecurity
    FROM pg_class WHERE relkind = 'r' AND relnamespace::regnamespace::text IN ('public', 'rota')
    ORDER BY 1, 2, 3
"""


@pytest.fixture
async def workshop(database, owner, alice) -> Workshop:
    made = Workshop(database, owner, alice)
    await made.declare_tools()
    await made.agent()
    return made


@pytest.fixture
def elsewhere(postgres_server):
    """The owner's URL of an empty database."""
    with postgres_server.database() as name:
        yield postgres_server.owner_of(name)


async def back_up(url, file):
    return await backups.back_up(SETTINGS, Server(url, url, None), file)


async def restore(url, file, *, settings=SETTINGS, embedded=None, **said):
    options = {"replaces": False, "goes_on": False, "skips_due": False} | said
    with backups.open_backup(file) as backup:
        return await backups.restore(settings, Server(url, url, embedded), backup, **options)


def contents(file):
    with zipfile.ZipFile(file) as archive:
        return {
            name: sorted(archive.read(name).splitlines())
            for name in archive.namelist()
            if name.startswith("tables/")
        }


def shape(url):
    with psycopg.connect(url) as conn:
        return conn.execute(SHAPE).fetchall()


async def test_all_rows_rights_and_rules_come_back(workshop, owner_url, elsewhere, tmp_path):
    await workshop.schedule()
    await workshop.owner.execute(
        "INSERT INTO agent_runs (user_id, agent_name, trigger, prompt)"
        " VALUES (%s, 'watcher', 'manual', E'tab\\tline\\nback\\\\slash \u2028 \U0001f600')",
        [workshop.user],
    )
    manifest = await back_up(owner_url, tmp_path / "first.zip")

    restored = await restore(elsewhere, tmp_path / "first.zip", goes_on=True)
    await back_up(elsewhere, tmp_path / "second.zip")

    assert contents(tmp_path / "second.zip") == contents(tmp_path / "first.zip")
    assert manifest.rows_of("public.agent_runs") == 1
    assert restored.left.under_way == 1
    assert document(elsewhere) == document(owner_url)
    assert shape(elsewhere) == shape(owner_url)


async def test_file_is_for_its_owner_alone_and_is_not_overwritten(owner_url, tmp_path):
    file = tmp_path / "a.zip"
    await back_up(owner_url, file)

    assert file.stat().st_mode & 0o777 == 0o600
    before = file.read_bytes()
    with pytest.raises(ConflictError, match="is there already"):
        await back_up(owner_url, file)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


async def test_key_is_not_in_the_file(owner_url, tmp_path):
    await back_up(owner_url, tmp_path / "a.zip")

    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert not [name for name in archive.namelist() if KEY.encode() in archive.read(name)]


async def test_role_that_obeys_row_level_security_makes_no_backup(database_url, tmp_path):
    with pytest.raises(SetupRequiredError, match="does not own rota's tables"):
        await back_up(database_url, tmp_path / "a.zip")

    assert list(tmp_path.iterdir()) == []


async def test_database_with_rows_is_left_alone_unless_told(
    workshop, owner_url, postgres_server, migrated_template, tmp_path
):
    await workshop.schedule(name="kept")
    await back_up(owner_url, tmp_path / "a.zip")
    await workshop.schedule(name="later")

    with pytest.raises(ConflictError, match="--replace"):
        await restore(owner_url, tmp_path / "a.zip")
    assert len(await workshop.rows("agent_schedules")) == 2

    await restore(owner_url, tmp_path / "a.zip", replaces=True)
    assert (await workshop.row("agent_schedules"))["name"] == "kept"
    await workshop.schedule(name="again")  # its constraints and triggers work


async def test_database_that_rota_only_migrated_counts_as_empty(
    workshop, owner_url, elsewhere, tmp_path
):
    await workshop.schedule()
    await back_up(owner_url, tmp_path / "a.zip")
    await migrate(elsewhere)

    await restore(elsewhere, tmp_path / "a.zip")

    with psycopg.connect(elsewhere) as conn:
        assert conn.execute("SELECT count(*) FROM agent_schedules").fetchone() == (1,)


async def test_nothing_is_restored_below_a_running_rota(workshop, owner_url, tmp_path):
    await back_up(owner_url, tmp_path / "a.zip")
    await workshop.owner.execute(
        "INSERT INTO rota.processes (id, kind, host, pid, version)"
        " VALUES (gen_random_uuid(), 'worker', 'here', 4711, '1')"
    )

    with pytest.raises(ConflictError, match="worker 4711 on here"):
        await restore(owner_url, tmp_path / "a.zip", replaces=True)


async def test_what_was_under_way_is_cancelled_and_told_and_not_repeated(
    workshop, owner_url, elsewhere, tmp_path
):
    for status in ("waiting", "queued", "running", "suspended", "finished"):
        await workshop.owner.execute(
            "INSERT INTO agent_runs (user_id, agent_name, trigger, status)"
            " VALUES (%s, 'watcher', 'manual', %s)",
            [workshop.user, status],
        )
    await back_up(owner_url, tmp_path / "a.zip")

    restored = await restore(elsewhere, tmp_path / "a.zip")

    assert (restored.left.under_way, restored.cancelled) == (3, 3)
    with psycopg.connect(elsewhere) as conn:
        runs = conn.execute(
            "SELECT status, cancel_requested_at IS NOT NULL FROM agent_runs ORDER BY 1"
        ).fetchall()
        told = conn.execute(
            "SELECT user_id, body FROM notifications WHERE run_id IS NULL"
        ).fetchall()
    assert runs == [
        ("cancelled", True),
        ("cancelled", True),
        ("cancelled", True),
        ("finished", False),
        ("suspended", False),
    ]
    ((whose, body),) = told
    assert whose == workshop.user
    assert "3 runs of yours were under way" in body


async def test_schedules_that_fell_due_are_caught_up_or_passed_over(
    workshop, owner_url, elsewhere, tmp_path
):
    due = datetime.now(UTC) - timedelta(hours=1)
    schedule = await workshop.due(due)
    await back_up(owner_url, tmp_path / "a.zip")

    restored = await restore(elsewhere, tmp_path / "a.zip")
    with psycopg.connect(elsewhere) as conn:
        kept = conn.execute("SELECT next_fire_at FROM agent_schedules").fetchone()
    assert restored.left.due == 1
    assert kept == (due,)  # as after an outage

    restored = await restore(elsewhere, tmp_path / "a.zip", replaces=True, skips_due=True)
    with psycopg.connect(elsewhere) as conn:
        planned = conn.execute("SELECT next_fire_at, plan_from > %s FROM agent_schedules", [due])
        assert planned.fetchone() == (None, True)
    assert restored.left.due == 0
    assert schedule.plan_from == PAST


async def test_key_that_opens_nothing_is_told(workshop, owner_url, elsewhere, tmp_path):
    await workshop.owner.execute(
        "INSERT INTO connections (user_id, name, service, secret, key_id)"
        " VALUES (%s, 'gmail', 'gmail', %s, 'x')",
        [workshop.user, b"\x00" * 40],
    )
    manifest = await back_up(owner_url, tmp_path / "a.zip")
    assert manifest.sealed == 1

    other = replace(SETTINGS, secret_key="11" * 32)
    restored = await restore(elsewhere, tmp_path / "a.zip", settings=other)
    assert not restored.opens

    restored = await restore(elsewhere, tmp_path / "a.zip", replaces=True)
    assert restored.opens


@pytest.mark.parametrize("damage", ["cut", "text", "missing"])
async def test_damaged_file_changes_nothing(owner_url, elsewhere, tmp_path, damage):
    file = tmp_path / "a.zip"
    if damage != "missing":
        await back_up(owner_url, file)
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"hello")

    with pytest.raises((InvalidInputError, UnavailableError)):
        await restore(elsewhere, file)

    with psycopg.connect(elsewhere) as conn:
        assert conn.execute("SELECT to_regnamespace('rota')").fetchone() == (None,)


async def test_file_whose_rows_were_changed_is_refused(workshop, owner_url, elsewhere, tmp_path):
    await back_up(owner_url, tmp_path / "a.zip")
    people = "tables/auth.users.tsv"
    with (
        zipfile.ZipFile(tmp_path / "a.zip") as whole,
        zipfile.ZipFile(tmp_path / "b.zip", "w") as changed,
    ):
        for name in whole.namelist():
            changed.writestr(name, b"" if name == people else whole.read(name))

    with pytest.raises(ConflictError, match="damaged"):
        await restore(elsewhere, tmp_path / "b.zip")

    with psycopg.connect(elsewhere) as conn:
        assert conn.execute("SELECT count(*) FROM agent_configurations").fetchone() == (1,)


async def test_table_that_rota_does_not_have_is_refused(owner_url, elsewhere, tmp_path):
    await back_up(owner_url, tmp_path / "a.zip")
    with (
        zipfile.ZipFile(tmp_path / "a.zip") as whole,
        zipfile.ZipFile(tmp_path / "b.zip", "w") as changed,
    ):
        for name in whole.namelist():
            text = whole.read(name)
            if name == "manifest.json":
                text = text.replace(b'"rota.marks"', b'"x; DROP TABLE auth.users; --"')
            changed.writestr(name, text)

    with pytest.raises(InvalidInputError, match="a table that rota does not"):
        await restore(elsewhere, tmp_path / "b.zip")


async def test_backup_of_a_newer_rota_is_refused(owner_url, owner, elsewhere, tmp_path):
    await owner.execute(
        "INSERT INTO rota.schema_migrations (version, name, checksum)"
        " VALUES ('29990101000000', 'future', 'x')"
    )
    with pytest.raises(MigrationError, match="newer"):
        await back_up(owner_url, tmp_path / "a.zip")


async def test_backup_of_an_older_schema_is_brought_up_to_date(tmp_path, postgres_server):
    from rota.store.migrations import migrations

    older = [m for m in migrations() if m.version < "20261201000000"]
    assert older != list(migrations())
    with postgres_server.database() as source, postgres_server.database() as target:
        urls = postgres_server.owner_of(source), postgres_server.owner_of(target)
        await migrate(urls[0], shipped=older)
        with psycopg.connect(urls[0]) as conn:
            conn.execute("INSERT INTO auth.users (email) VALUES ('alice@example.com')")
        await back_up(urls[0], tmp_path / "a.zip")

        await restore(urls[1], tmp_path / "a.zip")

        with psycopg.connect(urls[1]) as conn:
            booked = conn.execute("SELECT count(*) FROM rota.schema_migrations").fetchone()
            people = conn.execute("SELECT email FROM auth.users").fetchall()
        assert booked == (len(migrations()),)
        assert people == [("alice@example.com",)]

        with pytest.raises(ConflictError, match="newer than the backup's"):
            await restore(urls[1], tmp_path / "a.zip", replaces=True)


async def test_embedded_database_is_replaced_as_a_whole_or_not_at_all(
    workshop, owner_url, tmp_path
):
    await workshop.schedule()
    await back_up(owner_url, tmp_path / "a.zip")
    embedded = EmbeddedPostgres.open(tmp_path / "data", durable=False)
    try:
        url = embedded.owner_url
        await migrate(url)
        await restore(url, tmp_path / "a.zip", embedded=embedded)
        with psycopg.connect(url) as conn:
            assert conn.execute("SELECT count(*) FROM agent_schedules").fetchone() == (1,)

        (tmp_path / "bad.zip").write_bytes((tmp_path / "a.zip").read_bytes()[:3000])
        with pytest.raises(InvalidInputError):
            await restore(url, tmp_path / "bad.zip", embedded=embedded, replaces=True)
        with psycopg.connect(on_database(url, "postgres")) as conn:
            names = conn.execute("SELECT datname FROM pg_database ORDER BY 1").fetchall()
        assert names == [("postgres",), ("rota",), ("template0",), ("template1",)]
        with psycopg.connect(url) as conn:
            assert conn.execute("SELECT count(*) FROM agent_schedules").fetchone() == (1,)
            assert conn.execute(
                "SELECT has_database_privilege('authenticated', 'rota', 'TEMPORARY')"
            ).fetchone() == (False,)
    finally:
        embedded.destroy()


async def test_embedded_database_is_not_replaced_below_rota_up(owner_url, tmp_path):
    await back_up(owner_url, tmp_path / "a.zip")
    with EmbeddedPostgres.open(tmp_path / "data", durable=False) as embedded:
        with (
            instance_lock(tmp_path / "data"),
            pytest.raises(ConflictError, match="already running"),
        ):
            await restore(embedded.owner_url, tmp_path / "a.zip", embedded=embedded)
        with psycopg.connect(on_database(embedded.owner_url, "postgres"), autocommit=True) as conn:
            conn.execute("CREATE DATABASE new_0123456789ab")  # of a restore that was killed
            await restore(embedded.owner_url, tmp_path / "a.zip", embedded=embedded)
            names = conn.execute("SELECT datname FROM pg_database ORDER BY 1").fetchall()
        assert names == [("postgres",), ("rota",), ("template0",), ("template1",)]
        embedded.destroy()


async def test_backup_goes_to_a_stick_that_has_no_hard_links(owner_url, tmp_path, monkeypatch):
    def refuse(_source, _target):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    await back_up(owner_url, tmp_path / "a.zip")

    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
    with pytest.raises(ConflictError, match="is there already"):
        await back_up(owner_url, tmp_path / "a.zip")


@pytest.mark.postgres15
async def test_backup_of_18_comes_into_a_plain_15_by_its_owner(
    workshop, owner_url, plain15, tmp_path
):
    await workshop.schedule()
    await back_up(owner_url, tmp_path / "a.zip")
    plain15.execute("template1", "CREATE ROLE keeper LOGIN CREATEROLE")
    with plain15.database("keeper") as name:
        url = plain15.url("keeper", name)
        await restore(url, tmp_path / "a.zip", goes_on=True)
        await back_up(url, tmp_path / "b.zip")

        assert contents(tmp_path / "b.zip") == contents(tmp_path / "a.zip")
        assert document(url) == document(owner_url)


@pytest.mark.postgres15
async def test_people_of_supabase_have_to_be_there(supabase_database, tmp_path):
    url = supabase_database.owner_url
    await migrate(url)
    alice = supabase_database.sign_up("alice@example.com")
    with psycopg.connect(url) as conn:
        conn.execute("INSERT INTO rota.people (user_id, may_run) VALUES (%s, true)", [alice])
    await back_up(url, tmp_path / "a.zip")

    with psycopg.connect(url) as conn:
        conn.execute("DELETE FROM rota.people")
    await restore(url, tmp_path / "a.zip")
    with psycopg.connect(url) as conn:
        assert conn.execute("SELECT count(*) FROM rota.people").fetchone() == (1,)

    with psycopg.connect(supabase_database.url("supabase_auth_admin")) as conn:
        conn.execute("DELETE FROM auth.users")
    with pytest.raises(ConflictError, match="have no account here: alice@"):
        await restore(url, tmp_path / "a.zip")
