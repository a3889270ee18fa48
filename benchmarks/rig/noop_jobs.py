"""What others take for a job that does nothing: N of them enqueued beforehand, W processes.

Each peer has a database of its own on the same server, and the settings that its own documentation
gives for many short jobs. Jobs per second are from the first job's first instruction to the last
job's end as the peer's own tables have it, so that nobody's start-up counts.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, Final

import psycopg

from rig.processes import stop
from rig.server import Ground

TIME_LIMIT: Final = 300.0
"""Seconds that a peer has for its jobs."""

_FOLDER: Final = Path(__file__).resolve().parent.parent
_URL: Final = "ROTA_BENCH_URL"
_MISSING: Final = 3
_POLL: Final = 0.1

_begun: list[float] = []
"""When this process began its first job."""


@dataclass(frozen=True, slots=True)
class Jobs:
    """A peer's jobs per second; None where it is not installed, failed or took too long."""

    peer: str
    version: str
    jobs: int
    workers: int
    jobs_per_second: float | None
    notes: str


@dataclass(frozen=True, slots=True)
class Peer:
    """`fill` enqueues jobs; `work` does them, once it was told to, until the process is ended.

    `done` is SQL that returns how many have ended, and the last one's end as seconds.
    """

    package: str
    fill: Callable[[str, int], None]
    work: Callable[[str, Callable[[], None]], None]
    done: str
    notes: str


class PeerError(Exception):
    """A peer is not installed, failed, or took too long; the message says which."""


def measure_peers(place: Ground, *, jobs: int, workers: int) -> list[Jobs]:
    """Measure each peer, one after another."""
    return [_measure(place, name, jobs, workers) for name in PEERS]


def noop() -> None:
    """Be the job: tell when this process began its first one."""
    if not _begun:
        _begun.append(time.time())
        print(json.dumps(_begun[0]), flush=True)


def fill_pgqueuer(url: str, jobs: int) -> None:
    from pgqueuer.adapters.drivers.psycopg import PsycopgDriver  # noqa: PLC0415  a peer's process imports its own peer alone

    from rig.floor import queries_on  # noqa: PLC0415  a peer's process imports its own peer alone

    async def run() -> None:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as conn:
            queries = queries_on(PsycopgDriver(conn))
            await queries.install()
            await queries.enqueue(["noop"] * jobs, [None] * jobs, [0] * jobs)

    asyncio.run(run())


def work_pgqueuer(url: str, ready: Callable[[], None]) -> None:
    from pgqueuer.core.qm import QueueManager  # noqa: PLC0415  a peer's process imports its own peer alone
    from pgqueuer.domain.models import Job  # noqa: PLC0415  a peer's process imports its own peer alone

    from rig.floor import SplitDriver, queries_on  # noqa: PLC0415  a peer's process imports its own peer alone

    async def run() -> None:
        async with (
            await psycopg.AsyncConnection.connect(url, autocommit=True) as conn,
            await psycopg.AsyncConnection.connect(url, autocommit=True) as listener,
        ):
            manager = QueueManager(queries_on(SplitDriver(conn, listener)))

            @manager.entrypoint("noop", accepts_context=False)
            async def _(job: Job) -> None:  # noqa: ARG001  what PgQueuer calls takes one
                noop()

            ready()
            await manager.run(batch_size=100)

    asyncio.run(run())


def fill_procrastinate(url: str, jobs: int) -> None:
    async def run() -> None:
        app, job = _procrastinate(url)
        async with app.open_async():
            await app.schema_manager.apply_schema_async()
            await job.batch_defer_async(*({} for _ in range(jobs)))

    asyncio.run(run())


def work_procrastinate(url: str, ready: Callable[[], None]) -> None:
    async def run() -> None:
        app, _ = _procrastinate(url)
        async with app.open_async():
            ready()
            await app.run_worker_async(concurrency=20, install_signal_handlers=False)

    asyncio.run(run())


def _procrastinate(url: str) -> tuple[Any, Any]:
    from procrastinate import App, PsycopgConnector  # noqa: PLC0415  each peer is imported alone

    app = App(connector=PsycopgConnector(conninfo=url, min_size=10, max_size=20))

    @app.task(name="noop")
    async def job() -> None:
        noop()

    return app, job


def fill_dbos(url: str, jobs: int) -> None:
    dbos, job = _dbos(url)
    dbos.listen_queues([])  # it enqueues, and leaves the work to others
    dbos.launch()
    try:
        dbos.register_queue("noop", polling_interval_sec=0.1)
        for _ in range(jobs):
            dbos.enqueue_workflow("noop", job)
    finally:
        dbos.destroy()


def work_dbos(url: str, ready: Callable[[], None]) -> None:
    dbos, _ = _dbos(url)
    ready()
    dbos.launch()
    time.sleep(TIME_LIMIT)  # it works in threads of its own


def _dbos(url: str) -> tuple[Any, Any]:
    from dbos import DBOS  # noqa: PLC0415  each peer is imported alone

    DBOS(
        config={
            "name": "bench",
            "system_database_url": url.replace("postgresql://", "postgresql+psycopg://", 1),
            "log_level": "ERROR",
            "application_version": "bench",
            "executor_id": f"bench-{os.getpid()}",
        }
    )

    @DBOS.workflow()
    async def noop_workflow() -> None:
        noop()

    return DBOS, noop_workflow


PEERS: Final = {
    "pgqueuer": Peer(
        "pgqueuer",
        fill_pgqueuer,
        work_pgqueuer,
        "SELECT count(DISTINCT job_id), extract(epoch FROM max(created))::float8"
        " FROM pgqueuer_log WHERE status = 'successful'",
        "batch_size=100, no limit of concurrency, durability `balanced` as rota has it; "
        "ended jobs are written in batches",
    ),
    "procrastinate": Peer(
        "procrastinate",
        fill_procrastinate,
        work_procrastinate,
        "SELECT count(DISTINCT job_id), extract(epoch FROM max(at))::float8"
        " FROM procrastinate_events WHERE type = 'succeeded'",
        "concurrency=20, a pool of 20 connections; asynchronous task",
    ),
    "dbos": Peer(
        "dbos",
        fill_dbos,
        work_dbos,
        "SELECT count(*), max(completed_at) / 1000.0::float8"
        " FROM dbos.workflow_status WHERE status = 'SUCCESS'",
        "queue without limits of concurrency, polling_interval_sec=0.1; asynchronous workflow",
    ),
}


def _measure(place: Ground, name: str, jobs: int, workers: int) -> Jobs:
    peer = PEERS[name]
    installed = ""
    rate: float | None = None
    notes = peer.notes
    try:
        url = place.database(f"noop_{name}")
        _fill(url, name, jobs)
        installed = version(peer.package)
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("VACUUM (ANALYZE)")
            conn.execute("CHECKPOINT")
            seconds = _work(conn, url, name, jobs, workers)
        rate = round(jobs / seconds, 1)
    except PeerError as error:
        notes = f"{error}; {peer.notes}"
    return Jobs(name, installed, jobs, workers, rate, notes)


def _fill(url: str, name: str, jobs: int) -> None:
    try:
        finished = subprocess.run(
            [*_command(name), str(jobs)],
            env=_environment(url),
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise PeerError(f"enqueuing took over {TIME_LIMIT:.0f} s") from error
    if finished.returncode == _MISSING:
        raise PeerError(finished.stderr.strip().splitlines()[-1])
    if finished.returncode != 0:
        print(finished.stderr, file=sys.stderr)
        raise PeerError("enqueuing failed, see the error output")


def _work(conn: psycopg.Connection[Any], url: str, name: str, jobs: int, workers: int) -> float:
    """Return the seconds from the first job's begin to the last one's end."""
    with _workers(url, name, workers) as running:
        for process in running:
            if _stdout(process).readline() != "ready\n":
                raise PeerError("a worker did not start, see the error output")
        for process in running:
            _tell(process)
        ended = _await_done(conn, name, jobs, running)
    began = [float(line) for process in running for line in _stdout(process)]
    return ended - min(began)


def _await_done(
    conn: psycopg.Connection[Any], name: str, jobs: int, running: Sequence[subprocess.Popen[str]]
) -> float:
    deadline = time.monotonic() + TIME_LIMIT
    while time.monotonic() < deadline:
        row = conn.execute(PEERS[name].done).fetchone()
        if row is not None and row[0] >= jobs:
            return float(row[1])
        if any(process.poll() is not None for process in running):
            raise PeerError("a worker ended, see the error output")
        time.sleep(_POLL)
    raise PeerError(f"over {TIME_LIMIT:.0f} s")


@contextmanager
def _workers(url: str, name: str, count: int) -> Iterator[list[subprocess.Popen[str]]]:
    running: list[subprocess.Popen[str]] = []
    try:
        for _ in range(count):
            worker = subprocess.Popen(
                _command(name),
                env=_environment(url),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            running.append(worker)
        yield running
    finally:
        stop(running)


def _stdout(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout is not None
    return process.stdout


def _tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def _command(name: str) -> list[str]:
    # Not by -m: Procrastinate warns of an app in the main module.
    return [sys.executable, "-c", "from rig import noop_jobs; noop_jobs.main()", name]


def _environment(url: str) -> dict[str, str]:
    """Return what a peer's process is given: nothing of the person's servers."""
    foreign = ("DBOS", "PGQUEUER", "PROCRASTINATE", "ROTA_")
    ours = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return ours | {_URL: url, "PYTHONPATH": str(_FOLDER)}


def main() -> None:
    """Be a peer's process: enqueue jobs where told how many, else do them."""
    peer, url = PEERS[sys.argv[1]], os.environ[_URL]

    def ready() -> None:
        print("ready", flush=True)
        sys.stdin.readline()

    try:
        if len(sys.argv) > 2:
            peer.fill(url, int(sys.argv[2]))
        else:
            peer.work(url, ready)
    except ModuleNotFoundError as error:
        print(f"{error.name} is not installed: uv sync --group bench", file=sys.stderr)
        sys.exit(_MISSING)
