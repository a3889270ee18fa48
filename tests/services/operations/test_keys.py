"""Rotation of the key: every secret is sealed anew, none is lost, and it goes on where it was."""

from __future__ import annotations

import asyncio
import json

import pytest
from typer.testing import CliRunner

from rota.cli.main import app
from rota.domain.errors import SetupRequiredError
from rota.security.secrets.encryption import Cipher, KeyFile, load_keys
from rota.security.secrets.redaction import redact_text
from rota.services.agents.connections import ConnectionService
from rota.services.audit.checkpoints import Checkpoints
from rota.services.audit.service import AuditService
from rota.services.operations import keys
from rota.services.operations.retention import Period, RetentionService
from rota.store.database import Database
from tests.services.auditing import LONG_AGO, Log, now
from tests.services.harness import clock

OLD, NEW, LOST = (bytes([number]) * 32 for number in (1, 2, 3))
STOP = """
    CREATE FUNCTION public.stop_it() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'the power is gone'; END $$;
    CREATE TRIGGER stop_it BEFORE UPDATE ON connections FOR EACH ROW
        WHEN (OLD.account = 'stop') EXECUTE FUNCTION public.stop_it();
"""


@pytest.fixture
async def as_owner(owner_url):
    async with Database(owner_url).opened() as opened:
        yield opened


async def connect(database, user_id, key, account=""):
    service = ConnectionService(database, Cipher(key), clock=clock)
    await service.keep(user_id, "gmail", f"token-of-{key[0]}", account=account)


async def hold(owner, user_id, cipher):
    """Insert a call with hidden arguments, and return its id."""
    cursor = await owner.execute(
        "INSERT INTO pending_actions (user_id, agent_name, tool_name, arguments, arguments_hash,"
        " definition_hash, argument_schema, risk, expires_at)"
        " VALUES (%s, 'a', 'pay', '{}', repeat('0', 64), repeat('0', 64), '{}', 'high',"
        " now() + '1 day') RETURNING id",
        [user_id],
    )
    (action_id,) = await cursor.fetchone()
    sealed = cipher.encrypt('{"pin": 1}', identity=f"action:{action_id}")
    await owner.execute(
        "UPDATE pending_actions SET sealed_arguments = %s WHERE id = %s", [sealed, action_id]
    )
    return action_id


@pytest.fixture
def rota(owner_url, database_url, monkeypatch, tmp_path):
    monkeypatch.setenv("ROTA_DATA_DIR", str(tmp_path))

    async def run(*arguments, by_owner=True):
        monkeypatch.setenv("ROTA_DATABASE_URL", owner_url if by_owner else database_url)
        done = await asyncio.to_thread(CliRunner().invoke, app, [*arguments, "--json"])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return json.loads(done.stdout)

    return run


async def test_secrets_and_calls_are_sealed_with_the_newest_key(
    database, as_owner, owner, alice, bob
):
    await connect(database, alice, OLD)
    await connect(database, bob, NEW)
    action_id = await hold(owner, alice, Cipher(OLD))

    rotation = await keys.rotate(as_owner, Cipher(NEW, (OLD,)))

    assert (rotation.resealed, rotation.left) == (2, ())
    only_new = ConnectionService(database, Cipher(NEW), clock=clock)
    assert await only_new.secret(alice, "gmail") == "token-of-1"
    assert await only_new.secret(bob, "gmail") == "token-of-2"
    cursor = await owner.execute("SELECT sealed_arguments FROM pending_actions")
    (sealed,) = await cursor.fetchone()
    assert Cipher(NEW).decrypt(sealed, identity=f"action:{action_id}") == '{"pin": 1}'
    cursor = await owner.execute("SELECT DISTINCT key_id FROM connections")
    assert await cursor.fetchall() == [(Cipher(NEW).key_id,)]
    assert (await keys.rotate(as_owner, Cipher(NEW, (OLD,)))).resealed == 0


async def test_checkpoints_are_signed_anew_and_forged_ones_are_not(
    database, as_owner, owner, alice
):
    log = Log(database, owner)
    await log.sealed(alice, at=LONG_AGO)
    old = Cipher(OLD)
    retention = RetentionService(database, Checkpoints(old))
    await retention.set({Period.AUDIT: 365})
    await retention.prune(now())

    assert (await keys.rotate(as_owner, Cipher(NEW, (OLD,)))).signed == 1
    only_new = AuditService(database, Checkpoints(Cipher(NEW)))
    assert (await only_new.verify(alice, now=now())).problems == ()

    await owner.execute("UPDATE audit_checkpoints SET key_id = 'x', row_count = 1")
    assert (await keys.rotate(as_owner, Cipher(NEW, (OLD,)))).signed == 0


async def test_interrupted_rotation_goes_on_with_the_key_that_it_made(
    rota, database, owner, tmp_path, alice, bob
):
    (old,) = load_keys(None, tmp_path / "secret.key")
    for user_id, account in ((alice, ""), (bob, "")):
        await connect(database, user_id, old, account)
    await owner.execute(
        "UPDATE connections SET account = 'stop' WHERE id = (SELECT max(id::text)::uuid"
        " FROM connections)"
    )
    await owner.execute(STOP)
    with pytest.raises(Exception, match="the power is gone"):
        await rota("keys", "rotate")
    first = KeyFile(tmp_path / "secret.key").keys()
    assert first[1:] == (old,)
    running = Cipher(old, source=KeyFile(tmp_path / "secret.key").keys)
    for user_id in (alice, bob):  # one is sealed anew and one is not; both are read
        secret = await ConnectionService(database, running, clock=clock).secret(user_id, "gmail")
        assert secret.startswith("token-of")

    await owner.execute("DROP TRIGGER stop_it ON connections")
    done = await rota("keys", "rotate")

    assert (done["resealed"], done["left"]) == (1, [])
    assert KeyFile(tmp_path / "secret.key").keys() == first
    await rota("keys", "rotate")
    assert len(KeyFile(tmp_path / "secret.key").keys()) == 3  # this one was over: a new key


async def test_configured_key_is_rotated_once_a_new_one_stands_before_it(
    rota, database, alice, monkeypatch
):
    await connect(database, alice, OLD)
    monkeypatch.setenv("ROTA_SECRET_KEY", OLD.hex())
    with pytest.raises(SetupRequiredError, match="ROTA_SECRET_KEY has one key"):
        await rota("keys", "rotate")

    monkeypatch.setenv("ROTA_SECRET_KEY", f"{NEW.hex()} {OLD.hex()}")
    assert (await rota("keys", "rotate"))["resealed"] == 1


async def test_role_that_may_not_change_calls_does_not_rotate(rota, owner, monkeypatch):
    monkeypatch.setenv("ROTA_SECRET_KEY", f"{NEW.hex()} {OLD.hex()}")

    with pytest.raises(SetupRequiredError, match="does not own") as refused:
        await rota("keys", "rotate", by_owner=False)

    named = f"--database-url postgresql://{owner.info.user}:...@HOST/{owner.info.dbname}."
    assert redact_text(refused.value.message).endswith(named)  # as it is printed


async def test_rotation_says_how_many_secrets_were_encrypted_anew(
    database, owner_url, alice, bob, monkeypatch
):
    """And never calls it anything but encryption, as the pages do."""
    await connect(database, alice, LOST)
    await connect(database, bob, OLD)
    monkeypatch.setenv("ROTA_SECRET_KEY", f"{NEW.hex()} {OLD.hex()}")
    monkeypatch.setenv("ROTA_DATABASE_URL", owner_url)

    told = (await asyncio.to_thread(CliRunner().invoke, app, ["keys", "rotate"])).stdout

    assert told.startswith("Encrypted anew with the newest key: 1 secret.\n")
    assert "No key decrypts the connection gmail" in told
    assert "of alice@example.com." in " ".join(told.split())
    assert "ealed" not in told
    again = (await asyncio.to_thread(CliRunner().invoke, app, ["keys", "rotate"])).stdout
    assert again.startswith("Encrypted anew with the newest key: 0 secrets.\n")


async def test_secret_of_a_lost_key_is_named_and_the_others_are_rotated(
    rota, database, owner, alice, bob, monkeypatch
):
    await connect(database, alice, LOST)
    await connect(database, bob, OLD)
    monkeypatch.setenv("ROTA_SECRET_KEY", f"{NEW.hex()} {OLD.hex()}")

    done = await rota("keys", "rotate")

    assert done["resealed"] == 1
    assert [(one["kind"], one["name"], one["user_id"]) for one in done["left"]] == [
        ("connection", "gmail", str(alice))
    ]
    checks = {c["name"]: c for c in await rota("doctor", by_owner=False)}
    assert checks["Secrets"]["verdict"] == "fail"
    assert checks["Secrets"]["said"] == (
        "No key decrypts connection gmail of alice@example.com. Write the key that they were "
        "stored with after the one that is there (in secret.key on a line of its own, in "
        "ROTA_SECRET_KEY after a space), then run `rota keys rotate`. If that key is lost: "
        "`rota connections reconnect gmail --as alice@example.com`. See docs/howto/keys.md."
    )

    monkeypatch.setenv("ROTA_SECRET_KEY", f"{NEW.hex()} {LOST.hex()}")
    checks = {c["name"]: c for c in await rota("doctor", by_owner=False)}
    assert checks["Secrets"]["verdict"] == "ok"


async def test_doctor_blames_the_connection_whose_secret_is_lost_and_no_other(
    rota, database, alice, bob, monkeypatch
):
    await connect(database, alice, LOST, account="alice@gmail.example")
    await connect(database, bob, OLD, account="bob@gmail.example")
    monkeypatch.setenv("ROTA_SECRET_KEY", OLD.hex())

    checks = await rota("doctor", by_owner=False)

    assert {
        c["said"].partition(":")[0]: (c["verdict"], c["said"].partition(": ")[2])
        for c in checks
        if c["name"] == "Connection gmail"
    } == {
        "alice@gmail.example": ("fail", "no key decrypts its secret, see Secrets"),
        "bob@gmail.example": ("ok", "not checked"),
    }


async def test_doctor_makes_no_key_where_one_is_missing(rota, database, owner, alice, tmp_path):
    """It names what is lost without it, and the commands for the case that it is lost."""
    await connect(database, alice, LOST)
    call = await hold(owner, alice, Cipher(LOST))

    checks = {c["name"]: c for c in await rota("doctor", by_owner=False)}

    assert checks["Secrets"]["said"] == (
        "There is no key here to decrypt connection gmail of alice@example.com, call pay of "
        "alice@example.com. Put it back: secret.key into the data directory, or ROTA_SECRET_KEY. "
        "If that key is lost: `rota connections reconnect gmail --as alice@example.com`, "
        f"`rota approvals refuse {call} --as alice@example.com`. See docs/howto/keys.md."
    )
    assert checks["Connection gmail"]["verdict"] == "fail"
    assert not (tmp_path / "secret.key").exists()


async def test_call_whose_arguments_no_key_opens_can_be_refused(rota, owner, alice, monkeypatch):
    action_id = await hold(owner, alice, Cipher(LOST))
    monkeypatch.setenv("ROTA_SECRET_KEY", NEW.hex())

    await rota("approvals", "refuse", str(action_id), "--as", str(alice), by_owner=False)

    cursor = await owner.execute("SELECT status FROM pending_actions")
    assert await cursor.fetchall() == [("refused",)]
