"""What approvals cost, and how soon a yes is done: against the same run without the gate's no.

    scripts/bench approvals --json

One `rota scheduler` and one `rota worker`, warm. A herd of runs that make one call each: first of a
tool that may run (the floor), then of one that waits, by `queue` and by `suspend`. Each request is
approved by `decide_action`, one after another, while nothing else is under way; the time is from
the commit of the decision to the commit of the action's end. What ran is counted by what the tool
wrote to a file: exit status 1 if a call is missing or doubled. Then, in this process alone: what it
takes to judge a call by rules, to seal entries of the audit log, and to verify them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from rig.approval_tools import FILE, NAME, TOOLS
from rig.figures import Spread, machine, show
from rig.processes import rota_processes
from rig.server import add_person, ground, settle

from rota.domain.agents.configuration import ToolDeclaration
from rota.domain.approvals.condition_syntax import parse_condition
from rota.domain.approvals.rules import Rule, RuleDraft
from rota.domain.approvals.verdict import Circumstances, judge
from rota.domain.ids import RuleId, ToolId, UserId
from rota.security.secrets.encryption import Cipher
from rota.services.audit.checkpoints import Checkpoints
from rota.services.audit.sealing import AuditSealer
from rota.services.audit.service import AuditService
from rota.store.database import Database

PATIENCE = 120.0
_FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Asking:
    """A herd of runs, one call each, until the last of them is over or parked."""

    mode: str
    runs: int
    runs_per_second: float
    share_of_floor: float


@dataclass(frozen=True, slots=True)
class Deciding:
    """From a decision's commit to that of the action's end, and of the run that waited for it."""

    mode: str
    to_the_end_of_the_action: Spread
    executed: int
    lost: int
    doubled: int


@dataclass(frozen=True, slots=True)
class Judging:
    """Microseconds to judge one call."""

    rules: int
    us: float


@dataclass(frozen=True, slots=True)
class Approvals:
    asking: list[Asking]
    deciding: list[Deciding]
    judging: list[Judging]
    sealed_per_second: float
    verified_per_second: float
    python: str
    machine: str


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench approvals", description=__doc__)
    parser.add_argument("--runs", type=int, default=150, help="at most 180: 200 may wait at a time")
    parser.add_argument("--entries", type=int, default=50_000, help="of the audit log")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with ground() as place, tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sent"
        file.touch()
        settings = {
            "ROTA_TOOLS": TOOLS,
            "PYTHONPATH": os.pathsep.join([str(_FOLDER), os.environ.get("PYTHONPATH", "")]),
            FILE: str(file),
        }
        with psycopg.connect(place.owner_url, autocommit=True) as conn:
            person = _furnish(conn)
            with rota_processes(place.app_url, "scheduler", "worker", settings=settings):
                _herd(conn, person, "queue", 10, tier="auto")  # until all is warm
                floor = _herd(conn, person, "queue", arguments.runs, tier="auto")
                asking = [Asking("none", arguments.runs, round(floor, 1), 1.0)]
                deciding = []
                for mode in ("queue", "suspend"):
                    rate = _herd(conn, person, mode, arguments.runs, tier="requires_approval")
                    asking.append(
                        Asking(mode, arguments.runs, round(rate, 1), round(rate / floor, 2))
                    )
                    deciding.append(_decide(conn, person, mode, file))
            sealed, verified = asyncio.run(_audit(place.app_url, conn, person, arguments.entries))
    figures = Approvals(
        asking,
        deciding,
        [Judging(count, _judge(count)) for count in (0, 1, 10, 100, 500)],
        round(sealed),
        round(verified),
        platform.python_version(),
        machine(),
    )
    show(figures, as_json=arguments.json)
    return 1 if any(d.lost or d.doubled for d in deciding) else 0


def _furnish(conn: psycopg.Connection[Any]) -> Any:
    person = add_person(conn)
    conn.execute(
        "INSERT INTO tools (name, default_tier, risk, brings_outside_text)"
        " VALUES (%s, 'auto', 'low', false)",
        [NAME],
    )
    script = {"steps": [{"calls": [{"tool": NAME, "args": {"to": "{{ prompt }}"}}]}], "answer": "x"}
    conn.execute(
        "WITH made AS (INSERT INTO agent_configurations (user_id, agent_name, model, script)"
        " VALUES (%s, 'asker', 'scripted:x', %s) RETURNING id)"
        " INSERT INTO agent_tools (agent_id, tool_id, position)"
        " SELECT made.id, tools.id, 0 FROM made, tools WHERE tools.name = %s",
        [person, json.dumps(script), NAME],
    )
    return person


def _herd(conn: psycopg.Connection[Any], person: Any, mode: str, runs: int, *, tier: str) -> float:
    """Make runs, wait until none of them is to be worked on, and return runs a second."""
    conn.execute("UPDATE tools SET default_tier = %s WHERE name = %s", [tier, NAME])
    settle(conn)
    began = time.perf_counter()
    conn.execute(
        "INSERT INTO agent_runs (user_id, agent_name, prompt, trigger, priority, options)"
        " SELECT %s, 'asker', gen_random_uuid(), 'manual', 0, %s FROM generate_series(1, %s)",
        [person, json.dumps({"approvals": mode}), runs],
    )
    _wait(
        conn,
        "SELECT NOT EXISTS (SELECT FROM agent_runs"
        " WHERE status IN ('waiting', 'queued', 'running'))",
    )
    return runs / (time.perf_counter() - began)


def _decide(conn: psycopg.Connection[Any], person: Any, mode: str, file: Path) -> Deciding:
    """Approve what waits, one after another, and see that each ran once."""
    before = len(file.read_text().splitlines())
    cursor = conn.execute("SELECT id FROM pending_actions WHERE status = 'pending' ORDER BY id")
    waiting = [row[0] for row in cursor.fetchall()]
    if not waiting:
        raise RuntimeError("no run asked for anything")
    took = []
    for action in waiting:
        with conn.transaction():
            conn.execute("SET LOCAL ROLE authenticated")
            conn.execute(
                "SELECT set_config('request.jwt.claims', %s, true)",
                [json.dumps({"sub": str(person)})],
            )
            conn.execute("SELECT decide_action(%s, 'approve', 1, NULL, 'api')", [action])
        began = time.perf_counter()
        while True:
            row = conn.execute(
                "SELECT status FROM pending_actions WHERE id = %s", [action]
            ).fetchone()
            if row is None or row[0] not in {"approved", "running"}:
                break
            if time.perf_counter() - began > PATIENCE:
                break
            time.sleep(0.001)
        took.append(time.perf_counter() - began)
    lines = file.read_text().splitlines()[before:]
    return Deciding(
        mode,
        Spread.of(took),
        executed=len(lines),
        lost=len(waiting) - len(set(lines)),
        doubled=len(lines) - len(set(lines)),
    )


def _wait(conn: psycopg.Connection[Any], question: str) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        row = conn.execute(question).fetchone()
        if row is not None and row[0]:
            return
        time.sleep(0.01)
    raise TimeoutError(question)


def _judge(count: int) -> float:
    """Return microseconds that judging a call takes by so many rules, of which the last decides."""
    user = UserId(uuid4())
    now = datetime.now(UTC)
    declaration = ToolDeclaration(
        id=ToolId(uuid4()),
        name="send",
        description="",
        version=1,
        read_only=False,
        idempotent=False,
        risk="low",
        default_tier="user_configurable",
        timeout_seconds=60,
    )
    rules = [
        Rule(
            RuleId(uuid4()),
            user,
            RuleDraft("allow", "send", (parse_condition(f"to email_domain d{n}.example"),)),
        )
        for n in range(count)
    ]
    here = Circumstances(user, "asker", None, unattended=True, now=now)
    arguments = {"to": f"ann@d{count - 1}.example", "text": "Hello"}
    rounds = max(20, 2_000 // max(count, 1))
    best = float("inf")
    for _ in range(5):
        began = time.process_time()
        for _ in range(rounds):
            judge("send", declaration, arguments, rules, here)
        best = min(best, (time.process_time() - began) / rounds)
    return round(best * 1e6, 1)


async def _audit(
    url: str, conn: psycopg.Connection[Any], person: Any, entries: int
) -> tuple[float, float]:
    """Return entries a second that are sealed, and that are verified."""
    database = Database(url)
    async with database.opened():
        sealer = AuditSealer(database)
        await sealer.seal(datetime.now(UTC))  # what the herds left
        conn.execute(
            "INSERT INTO audit_logs (user_id, run_id, agent_name, tool_name, tier, decision,"
            " outcome, arguments, arguments_hash, called_at)"
            " SELECT %s, gen_random_uuid(), 'asker', %s, 'auto', 'allowed', 'succeeded',"
            ' \'{"to": "ann@example.org", "text": "Hello"}\', repeat(\'a\', 64), now()'
            " FROM generate_series(1, %s)",
            [person, NAME, entries],
        )
        settle(conn)
        began = time.perf_counter()
        sealed = await sealer.seal(datetime.now(UTC))
        sealing = time.perf_counter() - began
        service = AuditService(database, Checkpoints(Cipher(b"k" * 32)))
        began = time.perf_counter()
        found = await service.verify(UserId(person), now=datetime.now(UTC))
        verifying = time.perf_counter() - began
    if found.problems or sealed != entries:
        raise RuntimeError(f"{sealed} of {entries} sealed; {found.problems[:3]}")
    return sealed / sealing, sum(chain.entries for chain in found.chains) / verifying


if __name__ == "__main__":
    sys.exit(main())
