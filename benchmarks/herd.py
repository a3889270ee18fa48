"""A herd: N schedules due in the same second, executed by rota's own processes.

    scripts/bench herd --schedules 1000 --workers 2 --json

Starts a durable embedded PostgreSQL in a temporary directory, one `rota scheduler` and W `rota
worker` processes, and waits until every schedule has its result. Then the same agent (same model,
same tool, same prompt) runs bare, `create_agent` + `ainvoke`, as often, in as many processes.
Figures are ratios of one run on one machine; exit status 1 if a result is missing or doubled.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage

from rota.agents.scripted import ScriptedChatModel
from rota.agents.tools.mail_folder import mail_search_tool
from rota.bootstrap import LOCAL_OWNER
from rota.sample import sample_mailbox_path
from rota.store.embedded import EmbeddedPostgres
from rota.store.migrations import migrate

SCRIPT: dict[str, Any] = {
    "steps": [{"calls": [{"tool": "mail_search", "args": {"query": "", "max_results": 5}}]}],
    "answer": "{{ results[0] | length }} messages",
}
LEAD = timedelta(seconds=8)
PATIENCE = 600.0


@dataclass(frozen=True)
class Herd:
    schedules: int
    workers: int
    results: int
    lost: int
    duplicated: int
    errors: int
    seconds: float
    runs_per_second: float
    lag_p50_ms: float
    lag_p99_ms: float
    bare_seconds: float
    bare_runs_per_second: float
    bare_ratio: float
    python: str
    machine: str


def main() -> int:
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="rota-bench-") as folder:
        server = EmbeddedPostgres.open(Path(folder) / "data")
        try:
            asyncio.run(migrate(server.owner_url))
            with psycopg.connect(server.owner_url, autocommit=True) as conn:
                due = _seed(conn, arguments.schedules)
                processes = _start(server.app_url, arguments.workers)
                try:
                    _await_results(conn, arguments.schedules)
                finally:
                    _stop(processes)
                measured = _measure(conn, due)
        finally:
            server.destroy()
    bare = _bare(arguments.schedules, arguments.workers)
    herd = Herd(
        schedules=arguments.schedules,
        workers=arguments.workers,
        bare_seconds=round(bare, 2),
        bare_runs_per_second=round(arguments.schedules / bare, 1),
        bare_ratio=round(bare / measured["seconds"], 3),
        python=platform.python_version(),
        machine=f"{platform.machine()}, {os.cpu_count()} cores",
        **measured,
    )
    if arguments.json:
        print(json.dumps(asdict(herd)))
    else:
        for name, value in asdict(herd).items():
            print(f"{name:22} {value}")
    return 1 if herd.lost or herd.duplicated or herd.errors else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench herd", description=__doc__)
    parser.add_argument("--schedules", type=int, default=1_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _seed(conn: psycopg.Connection[Any], count: int) -> datetime:
    user = conn.execute(
        "INSERT INTO auth.users (email) VALUES (%s) RETURNING id", [LOCAL_OWNER]
    ).fetchone()
    assert user is not None
    conn.execute(
        "INSERT INTO agent_configurations (user_id, agent_name, model, script)"
        " VALUES (%s, 'herd', 'scripted:herd', %s)",
        [user[0], json.dumps(SCRIPT)],
    )
    conn.execute(
        "INSERT INTO agent_tools (agent_id, tool_id) SELECT a.id, t.id"
        " FROM agent_configurations AS a, tools AS t"
        " WHERE a.agent_name = 'herd' AND t.name = 'mail_search'"
    )
    due = (datetime.now(UTC) + LEAD).replace(microsecond=0)
    conn.execute(
        "INSERT INTO agent_schedules (user_id, name, agent_name, cron, next_fire_at)"
        " SELECT %s, 'herd-' || n, 'herd', '0 0 1 1 *', %s FROM generate_series(1, %s) AS n",
        [user[0], due, count],
    )
    return due


def _start(url: str, workers: int) -> list[subprocess.Popen[bytes]]:
    environment = os.environ | {
        "ROTA_DATABASE_URL": url,
        "ROTA_USER": LOCAL_OWNER,
        "ROTA_MAIL": str(sample_mailbox_path()),
        "ROTA_SECRET_KEY": "00" * 32,
        "ROTA_LOG_LEVEL": "warning",
    }
    rota = [sys.executable, "-m", "rota"]
    commands = [[*rota, "scheduler"], *([*rota, "worker"] for _ in range(workers))]
    return [subprocess.Popen(command, env=environment) for command in commands]


def _await_results(conn: psycopg.Connection[Any], count: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        row = conn.execute("SELECT count(*) FROM agent_execution_results").fetchone()
        if row is not None and row[0] >= count:
            return
        time.sleep(0.1)
    print(f"gave up after {PATIENCE:.0f} s", file=sys.stderr)


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()


def _measure(conn: psycopg.Connection[Any], due: datetime) -> dict[str, Any]:
    row = conn.execute(
        """
        SELECT count(r.id), count(*) FILTER (WHERE r.id IS NULL),
               count(r.id) - count(DISTINCT s.id) FILTER (WHERE r.id IS NOT NULL),
               count(*) FILTER (WHERE r.status <> 'success'),
               extract(epoch FROM max(r.created_at) - %(due)s),
               percentile_cont(0.5) WITHIN GROUP (ORDER BY n.started_at - %(due)s),
               percentile_cont(0.99) WITHIN GROUP (ORDER BY n.started_at - %(due)s)
        FROM agent_schedules AS s
        LEFT JOIN agent_execution_results AS r ON r.schedule_id = s.id
        LEFT JOIN agent_runs AS n ON n.id = r.run_id
        """,
        {"due": due},
    ).fetchone()
    assert row is not None
    results, lost, duplicated, errors, seconds, p50, p99 = row
    return {
        "results": results,
        "lost": lost,
        "duplicated": duplicated,
        "errors": errors,
        "seconds": round(float(seconds), 2),
        "runs_per_second": round(results / float(seconds), 1),
        "lag_p50_ms": round(p50.total_seconds() * 1000, 1),
        "lag_p99_ms": round(p99.total_seconds() * 1000, 1),
    }


def _bare(count: int, processes: int) -> float:
    shares = [count // processes + (i < count % processes) for i in range(processes)]
    with ProcessPoolExecutor(processes) as pool:
        list(pool.map(_warm_up, range(processes)))
        started = time.perf_counter()
        list(pool.map(_bare_share, shares))
        return time.perf_counter() - started


def _warm_up(_: int) -> None:
    _bare_share(1)


def _bare_share(count: int) -> None:
    asyncio.run(_bare_loop(count))


async def _bare_loop(count: int) -> None:
    """Build the graph and run it, `count` times, ten at a time: a worker's part, without rota."""

    def now() -> datetime:
        return datetime.now(UTC)

    room = asyncio.Semaphore(10)

    async def once() -> None:
        async with room:
            tool = mail_search_tool(folder_path=sample_mailbox_path(), now=now)
            graph = create_agent(ScriptedChatModel(script=SCRIPT, now=now()), tools=[tool])
            await graph.ainvoke({"messages": [HumanMessage("")]})

    await asyncio.gather(*(once() for _ in range(count)))


if __name__ == "__main__":
    sys.exit(main())
