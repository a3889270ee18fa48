"""`rota doctor` finds a database that takes no writes, and clocks that differ from its own."""

from __future__ import annotations

import asyncio
import json
from importlib.resources import files
from uuid import uuid4

import psycopg
import pytest
from typer.testing import CliRunner

from rota.cli.main import app
from rota.services.operations.chores import reporting
from rota.settings import COMPARED, read_settings
from rota.store.operations import processes


@pytest.fixture
def doctor(database_url, monkeypatch, tmp_path):
    monkeypatch.setenv("ROTA_DATABASE_URL", database_url)
    monkeypatch.setenv("ROTA_DATA_DIR", str(tmp_path))

    async def doctor():
        outcome = await asyncio.to_thread(CliRunner().invoke, app, ["doctor", "--json"])
        checks = json.loads(outcome.stdout)
        return outcome.exit_code, {c["name"]: c["said"] for c in checks if c["verdict"] == "fail"}

    return doctor


async def test_doctor_is_content_with_a_database_that_takes_writes(doctor):
    assert await doctor() == (0, {})


async def test_doctor_says_that_the_database_is_read_only(doctor, owner):
    await owner.execute(
        psycopg.sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(
            psycopg.sql.Identifier(owner.info.dbname)
        )
    )

    code, failed = await doctor()

    assert code == 1
    assert "read-only" in failed["Writing"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "does not exist"),
        (b"\x1f\x8bxx", "it is compressed"),
        (b"Hello", "does not begin with a line"),
    ],
)
async def test_doctor_says_that_the_mailbox_cannot_be_read(
    doctor, alice, monkeypatch, tmp_path, content, why
):
    path = tmp_path / "box"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("ROTA_MAIL", str(path))
    monkeypatch.setenv("ROTA_USER", "alice@example.com")

    code, failed = await doctor()

    assert code == 1
    assert why in failed["Mail folder"]


async def test_a_briefing_on_a_mailbox_that_cannot_be_read_is_a_failure(
    doctor, alice, monkeypatch, tmp_path
):
    box = tmp_path / "box"
    box.write_bytes(b"From a Mon Nov 30 01:00:00 2026\nFrom: ann@example.org\nSubject: x\n\ny\n")
    monkeypatch.setenv("ROTA_MAIL", str(box))
    monkeypatch.setenv("ROTA_USER", "alice@example.com")
    monkeypatch.setenv("ROTA_SECRET_KEY", "00" * 32)
    file = files("rota.sample") / "demo-briefing.yaml"

    async def rota(*arguments):
        return await asyncio.to_thread(CliRunner().invoke, app, arguments)

    assert (await rota("agents", "apply", str(file))).exit_code == 0
    read = await rota("run", "demo-briefing")
    assert (read.exit_code, "1 message, the newest first" in read.stdout) == (0, True)
    assert "Note: It has no Date header" in read.stdout

    box.write_bytes(b"\x1f\x8bxx")
    failed = await rota("run", "demo-briefing", "--json")
    assert failed.exit_code != 0
    assert json.loads(failed.stdout)["status"] == "error"
    assert "it is compressed" in failed.stdout


@pytest.mark.parametrize(("ahead", "said"), [(400, "400 s ahead of"), (-400, "400 s behind")])
async def test_doctor_finds_a_process_whose_clock_differs(doctor, owner, ahead, said):
    await owner.execute(
        "INSERT INTO rota.processes (id, kind, host, pid, version, clock_ahead)"
        " VALUES (gen_random_uuid(), 'worker', 'elsewhere', 1, '1', %s)",
        [ahead],
    )

    code, failed = await doctor()

    assert code == 1
    assert "elsewhere" in failed["Clock"]
    assert said in failed["Clock"]


async def test_doctor_warns_of_an_endpoint_that_agents_name_and_nobody_registered(
    database_url, monkeypatch, tmp_path, owner
):
    monkeypatch.setenv("ROTA_DATABASE_URL", database_url)
    monkeypatch.setenv("ROTA_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ROTA_ENDPOINTS", "house=http://127.0.0.1:1/v1")
    for name, endpoint in (("one", "hous"), ("two", "hous"), ("three", "house")):
        await owner.execute(
            "INSERT INTO agent_configurations (user_id, agent_name, model, model_settings)"
            " VALUES (NULL, %s, 'openai:x', jsonb_build_object('endpoint', %s::text))",
            [name, endpoint],
        )

    outcome = await asyncio.to_thread(CliRunner().invoke, app, ["doctor", "--json"])

    found = [c for c in json.loads(outcome.stdout) if c["name"] == "Endpoint"]
    assert [(c["verdict"], c["said"]) for c in found] == [
        (
            "warn",
            (
                "'hous' is not in ROTA_ENDPOINTS here; one, two cannot run on a worker that lacks "
                "it. Register it, or mend the agent's model_settings."
            ),
        )
    ]


@pytest.fixture
def said_of(database_url, monkeypatch, tmp_path):
    monkeypatch.setenv("ROTA_DATABASE_URL", database_url)
    monkeypatch.setenv("ROTA_DATA_DIR", str(tmp_path))
    for name in COMPARED:
        monkeypatch.delenv(name, raising=False)

    async def said_of(name):
        outcome = await asyncio.to_thread(CliRunner().invoke, app, ["doctor", "--json"])
        assert "abcdef" not in outcome.output
        return [(c["verdict"], c["said"]) for c in json.loads(outcome.stdout) if c["name"] == name]

    return said_of


async def test_doctor_says_which_settings_the_worker_has_and_the_terminal_has_not(
    said_of, database, owner, monkeypatch
):
    async with database.connection() as conn:
        await processes.report(
            conn,
            uuid4(),
            kind="worker",
            host="den",
            pid=7,
            version="1",
            settings=["ROTA_SECRET_KEY", "ANTHROPIC_API_KEY"],
        )
    monkeypatch.setenv("OPENAI_API_KEY", "abcdef")

    assert await said_of("Settings") == [
        (
            "warn",
            (
                "This terminal has no ROTA_SECRET_KEY, ANTHROPIC_API_KEY, the worker den:7 has; "
                "the worker den:7 has no OPENAI_API_KEY, this terminal has. What counts is what "
                "the worker has. Where it should have them too, set them there, and restart it."
            ),
        )
    ]
    assert await said_of("Model keys") == [("ok", "ANTHROPIC_API_KEY (the worker's)")]


async def test_doctor_has_nothing_to_say_of_settings_that_agree(said_of, database, monkeypatch):
    monkeypatch.setenv("ROTA_SECRET_KEY", "abcdef" * 10 + "abcd")
    async with database.connection() as conn:
        for kind, settings in (
            ("worker", ["ROTA_SECRET_KEY"]),
            ("scheduler", []),
            ("worker", None),
        ):
            await processes.report(
                conn, uuid4(), kind=kind, host="den", pid=7, version="1", settings=settings
            )

    assert await said_of("Settings") == []
    assert await said_of("Model keys") == [
        ("warn", "None is set (the worker's); agents with a scripted model need none.")
    ]


async def test_worker_reports_the_names_of_its_settings_and_no_value(database, owner):
    settings = read_settings({"ROTA_SECRET_KEY": "abcdef", "OPENAI_API_KEY": "abcdef"})
    async with reporting(database, "worker", settings=settings.compared):
        cursor = await owner.execute("SELECT to_jsonb(p) FROM rota.processes AS p")
        [(row,)] = await cursor.fetchall()

    assert row["settings"] == ["ROTA_SECRET_KEY", "OPENAI_API_KEY"]
    assert "abcdef" not in json.dumps(row)
