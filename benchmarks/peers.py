"""How late others are at the same task, on the same kind of server, with their defaults.

    scripts/bench peers --json

Latency: due time to the job's first instruction, nothing else to do; the job notes the time and
returns. Scale: 1,000 jobs due at one instant among more, from that instant until all have begun
and the store has none due any more. Each peer runs in a process and a database of its own. A peer
that cannot be told an exact instant is sampled less often; the notes say so. Exit status 1 if a
peer failed or lost a job, 0 if one is merely not installed (they are in the group `bench`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import pickle
import platform
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import Any, Final

import psycopg
from rig.figures import Spread, machine, show
from rig.floor import SplitDriver
from rig.server import Ground, ground

DUE: Final = 1_000
LEAD: Final = 3.0
TIME_LIMIT: Final = 120.0
"""Seconds that a peer has for the 1,000 jobs."""

_URL: Final = "ROTA_BENCH_URL"
_MISSING: Final = 3

_begun: list[float] = []
"""Samples of this process: seconds from the due time to the job's first instruction."""


@dataclass(frozen=True, slots=True)
class Lateness:
    """A peer's lateness; no spread where it is not installed or failed."""

    peer: str
    version: str
    spread: Spread | None
    lost: int
    notes: str


@dataclass(frozen=True, slots=True)
class Burst:
    """1,000 jobs due at one instant; no seconds where the time limit was reached."""

    peer: str
    jobs: int
    due: int
    seconds: float | None
    notes: str


@dataclass(frozen=True, slots=True)
class Peers:
    latency: list[Lateness]
    scale: list[Burst]
    python: str
    machine: str


@dataclass(frozen=True, slots=True)
class Peer:
    """`measure` fires `count` jobs on an empty database and fills `_begun`."""

    package: str
    measure: Callable[[str, int], None]
    notes: str
    cadence: float
    """Seconds between two fires, at most."""


def note(due: float) -> None:
    """Be the job: note how late it began."""
    _begun.append(time.time() - due)


def measure_apscheduler(url: str, count: int) -> None:
    from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore  # noqa: PLC0415  each peer is imported alone
    from apscheduler.schedulers.background import BackgroundScheduler  # noqa: PLC0415  each peer is imported alone

    scheduler = BackgroundScheduler(
        jobstores={"default": SQLAlchemyJobStore(url=_sqlalchemy(url))}, timezone=UTC
    )
    scheduler.start()
    # Adding a job commits: leave time for all of them before the first is due.
    first = time.time() + LEAD + count * 0.02
    for due in _series(first, count, 0.1):
        when = datetime.fromtimestamp(due, UTC)
        scheduler.add_job(note, "date", run_date=when, args=[due], misfire_grace_time=None)
    _await_begun(count, first + count * 0.1 + 10)
    scheduler.shutdown()


def measure_pgqueuer(url: str, count: int) -> None:
    from pgqueuer import PgQueuer  # noqa: PLC0415  each peer is imported alone
    from pgqueuer.adapters.persistence.queries import Queries  # noqa: PLC0415  each peer is imported alone

    async def run() -> None:
        async with (
            await psycopg.AsyncConnection.connect(url, autocommit=True) as conn,
            await psycopg.AsyncConnection.connect(url, autocommit=True) as listener,
        ):
            driver = SplitDriver(conn, listener)
            await Queries(driver).install()
            pgq = PgQueuer(driver)

            # The job is not told its due time: with five seconds between two, it is the last one.
            @pgq.schedule("note", "* * * * * */5")
            async def _(_schedule: object) -> None:
                note(math.floor(time.time() / 5) * 5)

            await _until_begun(count, 5.0 * (count + 3), pgq.run, pgq.shutdown.set)

    asyncio.run(run())


def measure_procrastinate_periodic(url: str, count: int) -> None:
    from procrastinate import App, PsycopgConnector  # noqa: PLC0415  each peer is imported alone

    app = App(connector=PsycopgConnector(conninfo=url))

    @app.periodic(cron="* * * * * */2")
    @app.task(name="note")
    async def _(timestamp: int) -> None:
        note(timestamp)

    async def run() -> None:
        async with app.open_async():
            await app.schema_manager.apply_schema_async()
            await _until_begun(count + 1, 2.0 * (count + 5), _worker_of(app))

    asyncio.run(run())
    del _begun[:1]  # of the time before it started, caught up


def measure_procrastinate_at(url: str, count: int) -> None:
    from procrastinate import App, PsycopgConnector  # noqa: PLC0415  each peer is imported alone

    app = App(connector=PsycopgConnector(conninfo=url))

    @app.task(name="note")
    async def job(due: float) -> None:
        note(due)

    async def run() -> None:
        async with app.open_async():
            await app.schema_manager.apply_schema_async()
            first = time.time() + LEAD
            for due in _series(first, count, 1.7):
                at = datetime.fromtimestamp(due, UTC)
                await job.configure(schedule_at=at).defer_async(due=due)
            await _until_begun(count, LEAD + 1.7 * count + 15, _worker_of(app))

    asyncio.run(run())


def measure_dbos(url: str, count: int) -> None:
    from dbos import DBOS  # noqa: PLC0415  each peer is imported alone

    DBOS(
        config={
            "name": "bench",
            "system_database_url": _sqlalchemy(url),
            "log_level": "ERROR",
            "application_version": "bench",
        }
    )

    @DBOS.workflow()
    def note_workflow(scheduled: datetime, _context: Any) -> None:
        note(scheduled.timestamp())

    DBOS.launch()
    try:
        DBOS.create_schedule(
            schedule_name="note", workflow_fn=note_workflow, schedule="*/5 * * * * *"
        )
        _await_begun(count, time.time() + 5.0 * (count + 6))
    finally:
        DBOS.destroy()


PEERS: Final = {
    "apscheduler": Peer(
        "apscheduler",
        measure_apscheduler,
        "3.x, SQLAlchemy job store on the same server, BackgroundScheduler, date jobs at odd "
        "fractions of a second; scheduler and jobs in one process; a job begins before "
        "the store hears of it, and one that a crash interrupts may be lost or repeated",
        0.1,
    ),
    "pgqueuer": Peer(
        "pgqueuer",
        measure_pgqueuer,
        "@pgq.schedule: cron with seconds in a sixth field, no exact instants; waits one second "
        "more than it needs to on purpose; fewer samples, every five seconds",
        5.0,
    ),
    "procrastinate_periodic": Peer(
        "procrastinate",
        measure_procrastinate_periodic,
        "@app.periodic: cron with seconds in a sixth field, no exact instants; waits half a "
        "second more than it needs to on purpose; fewer samples, every two seconds",
        2.0,
    ),
    "procrastinate_at": Peer(
        "procrastinate",
        measure_procrastinate_at,
        "schedule_at: exact instants, found by polling, by default every five seconds; fewer "
        "samples, 1.7 seconds apart",
        1.7,
    ),
    "dbos": Peer(
        "dbos",
        measure_dbos,
        "scheduled workflow: cron with seconds, no exact instants; adds up to a tenth of the "
        "waiting time (at most 10 s) at random, then its queue is polled every second; fewer "
        "samples, every five seconds",
        5.0,
    ),
}


def burst_apscheduler(url: str, jobs: int) -> float | None:
    """Fire 1,000 of many yearly jobs; returns seconds, or None if it takes too long."""
    from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore  # noqa: PLC0415  each peer is imported alone
    from apscheduler.schedulers.background import BackgroundScheduler  # noqa: PLC0415  each peer is imported alone

    store = SQLAlchemyJobStore(url=_sqlalchemy(url))
    scheduler = BackgroundScheduler(jobstores={"default": store}, timezone=UTC)
    scheduler.start(paused=True)
    due = time.time() + LEAD + jobs * 0.0002
    with psycopg.connect(url, autocommit=True) as conn:
        _copy_jobs(conn, scheduler, jobs, due)
        conn.execute("VACUUM (ANALYZE)")
        conn.execute("CHECKPOINT")
        due = max(due, time.time() + 1.0)
        conn.execute(
            "UPDATE apscheduler_jobs SET next_run_time = %s WHERE next_run_time < %s",
            [due, due + 3_600],
        )
        scheduler.resume()
        while time.time() < due + TIME_LIMIT:
            time.sleep(0.02)
            if len(_begun) < DUE:
                continue
            row = conn.execute(
                "SELECT count(*) FROM apscheduler_jobs WHERE next_run_time <= %s", [due]
            ).fetchone()
            if row == (0,):
                scheduler.shutdown()
                return time.time() - due
    os._exit(4)  # its threads would go on for as long as it takes


def _copy_jobs(conn: psycopg.Connection[Any], scheduler: Any, jobs: int, due: float) -> None:
    """Write jobs as the job store does, at once: added one by one, each is a transaction."""
    from apscheduler.job import Job  # noqa: PLC0415  each peer is imported alone
    from apscheduler.triggers.cron import CronTrigger  # noqa: PLC0415  each peer is imported alone

    trigger = CronTrigger(month=1, day=1, timezone=UTC)
    step = jobs // DUE
    with (
        conn.cursor() as cursor,
        cursor.copy(
            "COPY apscheduler_jobs (id, next_run_time, job_state) FROM STDIN (FORMAT BINARY)"
        ) as copy,
    ):
        copy.set_types(["text", "float8", "bytea"])
        for n in range(jobs):
            at = due if n % step == 0 else due + 86_400 + n * (31_536_000 / jobs)
            job = Job(
                scheduler,
                id=f"job-{n}",
                name="note",
                func=note,
                args=(due,),
                kwargs={},
                trigger=trigger,
                executor="default",
                misfire_grace_time=None,
                coalesce=True,
                max_instances=1,
                next_run_time=datetime.fromtimestamp(at, UTC),
            )
            state = pickle.dumps(job.__getstate__(), pickle.HIGHEST_PROTOCOL)
            copy.write_row((job.id, at, state))


def main() -> int:
    arguments = _arguments()
    if arguments.only:
        return _child(arguments.only, arguments.samples)
    with ground() as place:
        latency = [_latency(place, name, arguments) for name in arguments.peers]
        scale = [_burst(place, jobs) for jobs in arguments.sizes]
    show(Peers(latency, scale, platform.python_version(), machine()), as_json=arguments.json)
    failed = any(item.lost for item in latency)
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench peers", description=__doc__)
    parser.add_argument("--samples", type=int, default=500, help="of those told exact instants")
    parser.add_argument("--cron-samples", type=int, default=30, help="of those told by cron")
    parser.add_argument("--peers", type=_names, default=list(PEERS), help=", ".join(PEERS))
    parser.add_argument("--sizes", type=_sizes, default=[1_000, 100_000], help="'' for none")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    if unknown := set(names) - set(PEERS):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}")
    return names


def _sizes(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part]


def _latency(place: Ground, name: str, arguments: argparse.Namespace) -> Lateness:
    peer = PEERS[name]
    count = arguments.samples if peer.cadence < 1 else arguments.cron_samples
    finished = _run_child(
        place.database(name), name, count, timeout=60 + count * (peer.cadence + 0.05) + 60
    )
    if finished.returncode == _MISSING:
        return Lateness(name, "", None, 0, finished.stderr.strip())
    if finished.returncode != 0:
        print(finished.stderr, file=sys.stderr)
        return Lateness(name, version(peer.package), None, count, "failed; see the error output")
    samples = json.loads(finished.stdout.splitlines()[-1])
    return Lateness(
        peer=name,
        version=version(peer.package),
        spread=Spread.of(samples) if samples else None,
        lost=max(0, count - len(samples)),
        notes=peer.notes,
    )


def _burst(place: Ground, jobs: int) -> Burst:
    finished = _run_child(
        place.database(f"burst_{jobs}"), f"burst:{jobs}", DUE, timeout=TIME_LIMIT * 3
    )
    seconds: float | None = None
    notes = "3.x, SQLAlchemy job store, yearly cron jobs, pool of 10 threads"
    match finished.returncode:
        case 0:
            seconds = round(json.loads(finished.stdout.splitlines()[-1]), 3)
        case 4:
            notes = f"over {TIME_LIMIT:.0f} s: {notes}"
        case _:
            notes = finished.stderr.strip().splitlines()[-1]
    return Burst("apscheduler", jobs, DUE, seconds, notes)


def _run_child(
    url: str, name: str, samples: int, *, timeout: float
) -> subprocess.CompletedProcess[str]:
    """Measure in a process of its own. Its environment says nothing of the person's servers."""
    command = [sys.executable, __file__, "--only", name, "--samples", str(samples)]
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("DBOS", "PGQUEUER"))
    }
    try:
        return subprocess.run(
            command,
            env=environment | {_URL: url},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        return subprocess.CompletedProcess(command, 1, "", f"{name}: {error}")


def _child(name: str, samples: int) -> int:
    kind, _, jobs = name.partition(":")
    found: object
    try:
        if kind == "burst":
            found = burst_apscheduler(os.environ[_URL], int(jobs))
        else:
            PEERS[name].measure(os.environ[_URL], samples)
            found = _begun[:samples]
    except ModuleNotFoundError as error:
        print(f"{error.name} is not installed: uv sync --group bench", file=sys.stderr)
        return _MISSING
    print(json.dumps(found), flush=True)
    return 0


def _series(first: float, count: int, interval: float) -> list[float]:
    """Return due times at odd fractions of a second."""
    return [first + n * interval + (n * 7_919 % 20_011) / 1_000_000 for n in range(count)]


def _await_begun(count: int, deadline: float) -> None:
    while len(_begun) < count and time.time() < deadline:
        time.sleep(0.1)


def _sqlalchemy(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


def _worker_of(app: Any) -> Callable[[], Awaitable[None]]:
    return partial(app.run_worker_async, install_signal_handlers=False)


async def _until_begun(
    count: int,
    seconds: float,
    run: Callable[[], Awaitable[None]],
    stop: Callable[[], None] | None = None,
) -> None:
    """Run something that does not end until enough jobs have begun."""
    task = asyncio.ensure_future(run())
    deadline = time.time() + seconds
    while len(_begun) < count and time.time() < deadline and not task.done():  # noqa: ASYNC110  jobs run in threads too, which cannot set an asyncio.Event
        await asyncio.sleep(0.1)
    if stop is not None:
        stop()
        with suppress(TimeoutError):
            await asyncio.wait_for(task, 10)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


if __name__ == "__main__":
    sys.exit(main())
