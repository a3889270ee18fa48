"""`rota doctor` finds a database that takes no writes, and clocks that differ from its own."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
from importlib.resources import files
from uuid import uuid4

import psycopg
import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from rota.bootstrap.app import Server, application, clock
from rota.bootstrap.background import background, load_code
from rota.bootstrap.mail import mail_folders
from rota.cli.main import app
from rota.domain.errors import SetupRequiredError
from rota.security.secrets.encryption import Cipher, KeyFile
from rota.services.agents.connections import ConnectionService
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


KEY, OTHER_KEY = "11" * 32, "22" * 32
KEY_ID, OTHER_ID = (Cipher(bytes.fromhex(key)).key_id for key in (KEY, OTHER_KEY))


async def _worker_with_key(database, *key_ids):
    async with database.connection() as conn:
        await processes.report(
            conn,
            uuid4(),
            kind="worker",
            host="den",
            pid=7,
            version="1",
            settings=["ROTA_SECRET_KEY"],
            key_ids=key_ids,
        )


async def _connect(database, user_id, key):
    service = ConnectionService(database, Cipher(bytes.fromhex(key)), clock=clock)
    await service.keep(user_id, "gmail", "ya29.token")


async def test_doctor_fails_where_a_worker_has_another_key_than_the_terminal(
    said_of, database, monkeypatch
):
    monkeypatch.setenv("ROTA_SECRET_KEY", KEY)
    await _worker_with_key(database, OTHER_ID)

    [(verdict, said)] = await said_of("Worker's key")

    assert verdict == "fail"
    assert said.startswith(
        f"The worker den:7 has another key. Its key is {OTHER_ID}, this terminal's is {KEY_ID}."
    )
    assert await said_of("Settings") == []


@pytest.mark.parametrize("of_terminal", [KEY, None])
async def test_doctor_fails_where_a_worker_lacks_the_key_of_stored_secrets(
    said_of, database, alice, monkeypatch, of_terminal
):
    await _connect(database, alice, KEY)
    await _worker_with_key(database, OTHER_ID)
    if of_terminal is not None:
        monkeypatch.setenv("ROTA_SECRET_KEY", of_terminal)

    [(verdict, said)] = await said_of("Worker's key")

    assert verdict == "fail"
    assert said.startswith(
        f"The worker den:7 lacks the key of stored secrets ({KEY_ID}). Its key is {OTHER_ID}"
    )


async def test_doctor_is_content_with_a_worker_that_has_the_keys(
    said_of, database, alice, monkeypatch
):
    await _connect(database, alice, KEY)
    await _worker_with_key(database, OTHER_ID, KEY_ID)  # a rotation is under way
    monkeypatch.setenv("ROTA_SECRET_KEY", f"{OTHER_KEY} {KEY}")

    assert await said_of("Worker's key") == []
    assert await said_of("Settings") == []


async def test_doctor_compares_the_key_file_of_a_terminal_with_the_key_of_a_worker(
    said_of, database, tmp_path
):
    """No warning of a setting that the one has and the other has not, where the key is the same."""
    file = tmp_path / "secret.key"
    file.write_text(base64.b64encode(bytes.fromhex(KEY)).decode())
    file.chmod(0o600)
    await _worker_with_key(database, KEY_ID)

    assert await said_of("Worker's key") == []
    assert await said_of("Settings") == []


@pytest.mark.parametrize(
    ("key", "is_told"), [(KEY, False), (OTHER_KEY, True), (f"{OTHER_KEY} {KEY}", False)]
)
async def test_worker_says_at_its_start_that_its_key_opens_no_stored_secret(
    database, database_url, alice, tmp_path, key, is_told
):
    await _connect(database, alice, KEY)
    settings = read_settings(
        {"ROTA_DATABASE_URL": database_url, "ROTA_SECRET_KEY": key}, data_dir=tmp_path
    )
    server = Server(database_url, database_url, None)

    with capture_logs() as logs:
        async with application(settings, server) as app_, background(app_, load_code(settings)):
            pass

    told = [line for line in logs if line["event"] == "key_opens_nothing"]
    assert [(line["log_level"], line["key_id"], line["stored_with"]) for line in told] == (
        [("error", OTHER_ID, KEY_ID)] if is_told else []
    )


async def test_worker_reports_the_fingerprints_of_its_keys_and_those_of_a_rotation(
    database, database_url, owner, tmp_path
):
    settings = read_settings({"ROTA_DATABASE_URL": database_url}, data_dir=tmp_path)
    server = Server(database_url, database_url, None)

    async def reported():
        cursor = await owner.execute("SELECT key_ids FROM rota.processes WHERE kind = 'worker'")
        return [row for (row,) in await cursor.fetchall()]

    async with application(settings, server) as app_, background(app_, load_code(settings)) as it:
        stop = asyncio.Event()
        working = asyncio.create_task(it.run_worker(stop))
        first = app_.cipher.key_id
        while await reported() != [[first]]:
            await asyncio.sleep(0.1)
        KeyFile(tmp_path / "secret.key").add()
        second = app_.cipher.key_id
        assert second != first
        while await reported() != [[second, first]]:
            await asyncio.sleep(0.1)
        stop.set()
        await working


async def test_doctor_names_the_key_where_it_is_the_key_that_is_wrong(
    doctor, database, alice, monkeypatch, tmp_path
):
    await _connect(database, alice, KEY)
    monkeypatch.setenv("ROTA_SECRET_KEY", "abc")

    code, failed = await doctor()

    assert (code, list(failed)) == (1, ["Key"])
    assert "ROTA_SECRET_KEY must hold 32 bytes" in failed["Key"]


@pytest.mark.parametrize("is_folder", [False, True])
async def test_doctor_names_the_key_where_its_file_cannot_be_used(
    doctor, database, alice, tmp_path, is_folder
):
    await _connect(database, alice, KEY)
    file = tmp_path / "secret.key"
    if is_folder:
        file.mkdir(mode=0o700)
    else:
        file.write_text(KEY)
        file.chmod(0o644)

    code, failed = await doctor()

    assert (code, list(failed)) == (1, ["Key"])
    assert str(file) in failed["Key"]


async def test_a_person_without_a_mail_folder_is_told_which_worker_lacks_it(database_url, alice):
    settings = read_settings({"ROTA_DATABASE_URL": database_url, "ROTA_SECRET_KEY": "00" * 32})
    async with application(settings, Server(database_url, database_url, None)) as opened:
        folder = await mail_folders(opened)
        with pytest.raises(SetupRequiredError) as refused:
            folder(alice)

    worker = f"{socket.gethostname()}:{os.getpid()}"
    assert refused.value.message.startswith(
        f"No mail folder is set up for you on the worker {worker}. Set ROTA_MAIL"
    )
