"""Schedulers and workers of the schema version before go on during and after `migrate`.

The code of then comes from the repository's history: the commit before the first of the newest
migrations was added. Where that is not at hand (a shallow clone, an archive), the test is skipped.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import psycopg
import pytest

from rota.security.secrets.hashing import arguments_hash
from rota.store.migrations import migrate, migrations

pytestmark = pytest.mark.kill

ROOT = Path(__file__).parents[2]
BEFORE = [m for m in migrations() if m.version <= "20260217000006"]
NEXT = migrations()[len(BEFORE)]
SCRIPT = {"steps": [], "answer": "All quiet."}


@pytest.fixture(scope="module")
def code_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the sources of the commit before the schema went on."""
    added = git("log", "-1", "--format=%H", "--diff-filter=A", "--", f"*/{NEXT.name}.sql")
    if not added:
        pytest.skip("the history of this checkout does not go back to the schema version before")
    folder = tmp_path_factory.mktemp("before")
    packed = git("archive", f"{added.decode().strip()}^", "src", "supabase")
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    names = sorted(path.stem for path in (folder / "supabase" / "migrations").glob("*.sql"))
    assert names == [m.name for m in BEFORE]
    return folder / "src"


def git(*arguments: str) -> bytes:
    finished = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, check=False)
    return finished.stdout if finished.returncode == 0 else b""


class Processes:
    """Rota's processes on one database, of either version."""

    def __init__(self, url: str, folder: Path) -> None:
        self._environment = os.environ | {
            "ROTA_DATABASE_URL": url,
            "ROTA_SECRET_KEY": "00" * 32,
            "ROTA_USER": "owner@localhost",
            "ROTA_DATA_DIR": str(folder / "data"),
        }
        self.running: list[subprocess.Popen[bytes]] = []
        self._commands: dict[subprocess.Popen[bytes], tuple[Path, tuple[str, ...]]] = {}

    def start(self, source: Path, *arguments: str) -> subprocess.Popen[bytes]:
        environment = self._environment | {"PYTHONPATH": str(source)}
        process = subprocess.Popen([sys.executable, "-m", "rota", *arguments], env=environment)
        self.running.append(process)
        self._commands[process] = (source, arguments)
        return process

    def restart_ended(self, processes: list[subprocess.Popen[bytes]]) -> None:
        """Start anew what has ended by itself, in its place, as a supervisor does."""
        for number, process in enumerate(processes):
            if process.poll() is not None:
                source, arguments = self._commands[process]
                processes[number] = self.start(source, *arguments)

    def run(self, source: Path, *arguments: str) -> str:
        environment = self._environment | {"PYTHONPATH": str(source)}
        command = [sys.executable, "-m", "rota", *arguments]
        return subprocess.run(
            command, env=environment, check=True, capture_output=True, text=True
        ).stdout


@pytest.fixture
async def processes(postgres_server, empty_database, tmp_path):
    made = Processes(postgres_server.backend_of(empty_database), tmp_path)
    yield made
    for process in made.running:
        process.kill()
        await asyncio.to_thread(process.wait)


async def successes(owner) -> int:
    cursor = await owner.execute(
        "SELECT count(*) FROM agent_execution_results WHERE status = 'success'"
    )
    (count,) = await cursor.fetchone()
    return int(count)


async def more_results(owner, processes, of_version, count: int) -> None:
    """Wait until so many more runs have succeeded; processes that end are started again.

    Those of before may end once: PostgreSQL refuses statements that they prepared on a table that
    has a new column ("cached plan must not change result type").
    """
    wanted = await successes(owner) + count
    while await successes(owner) < wanted:
        processes.restart_ended(of_version)
        await asyncio.sleep(0.1)


@pytest.mark.timeout(240)
async def test_processes_of_the_version_before_work_on_during_and_after_migrate(
    code_before, postgres_server, empty_database, processes
):
    owner_url = postgres_server.owner_of(empty_database)
    await migrate(owner_url, shipped=BEFORE)
    async with await psycopg.AsyncConnection.connect(owner_url, autocommit=True) as owner:
        await owner.execute("INSERT INTO auth.users (email) VALUES ('owner@localhost')")
        await owner.execute(
            "INSERT INTO agent_configurations (agent_name, model, script)"
            " VALUES ('quiet', 'scripted:quiet', %s)",
            [json.dumps(SCRIPT)],
        )
        await owner.execute(
            "INSERT INTO agent_schedules (user_id, name, agent_name, prompt, cron, catch_up,"
            " overlap_policy) SELECT id, 'each-second', 'quiet', 'Look.', '* * * * * *', 'all',"
            " 'allow_all' FROM auth.users"
        )
        old = [processes.start(code_before, kind) for kind in ("scheduler", "worker")]
        await more_results(owner, processes, old, 3)

        report = await migrate(owner_url)

        assert report.applied == tuple(m.name for m in migrations()[len(BEFORE) :])
        await more_results(owner, processes, old, 5)
        for command in ("schedules list", "results list", "approvals list", "doctor"):
            said = await asyncio.to_thread(processes.run, code_before, *command.split(), "--json")
            assert json.loads(said) is not None
        cursor = await owner.execute(
            "INSERT INTO pending_actions (user_id, agent_name, tool_name, arguments,"
            " arguments_hash) SELECT id, 'quiet', 'send', '{}', %s FROM auth.users RETURNING id",
            [arguments_hash({})],
        )
        (action,) = await cursor.fetchone()
        await asyncio.to_thread(processes.run, code_before, "approvals", "reject", str(action))
        cursor = await owner.execute("SELECT status, decided_via FROM pending_actions")
        assert await cursor.fetchall() == [("refused", "cli")]

        new = [processes.start(ROOT / "src", kind) for kind in ("scheduler", "worker")]
        await more_results(owner, processes, old, 5)
        assert [process.poll() for process in new] == [None, None]
        for process in old:
            process.send_signal(signal.SIGTERM)
        for process in old:
            await asyncio.to_thread(process.wait)
        await more_results(owner, processes, new, 5)

        cursor = await owner.execute(
            "SELECT count(*), count(DISTINCT fire_time),"
            " extract(epoch FROM max(fire_time) - min(fire_time))::int + 1"
            " FROM schedule_occurrences"
        )
        rows, distinct, seconds = await cursor.fetchone()
        assert rows == distinct == seconds, "a fire time is there twice, or not at all"
        cursor = await owner.execute(
            "SELECT DISTINCT status FROM agent_execution_results ORDER BY 1"
        )
        assert await cursor.fetchall() == [("success",)]
