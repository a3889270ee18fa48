"""What a run costs beyond its agent: CPU and commits.

    scripts/bench overhead --json

For each agent (`scripted`: one tool call that reads; `callable`: nothing) three herds: without
groups (ROTA_GROUP_SIZE=1) at the least concurrency there is, where the queue hands out jobs one by
one; without groups at a usual one; and with groups. Each has a server of its own, one `rota
scheduler` and one `rota worker`, warm. CPU is that of scheduler, workers and PostgreSQL; the bare
agent's is that of a process that does nothing else.
Transaction ids are what the server gave out, one for each transaction that writes. Commits are the
server's own count, those of reading transactions among them. What an idle system takes in the same
time is measured first and taken off. Exit status 1 if a result is missing, doubled, an error or
incomplete.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from dataclasses import dataclass

from rig.agents import Kind
from rig.bare import Bares, measure_bare
from rig.figures import machine, show
from rig.herds import Counters, Cpu, Found, Herd, running_herd
from rig.server import ground

LEAST_CONCURRENCY = 2
SETTLING = 12.0
"""Seconds after which an idle connection has surely reported its statistics (PostgreSQL: 10)."""


@dataclass(frozen=True, slots=True)
class Idle:
    """What the same processes take while nothing is due."""

    cpu_ms_per_second: Cpu | None
    commits_per_second: float


@dataclass(frozen=True, slots=True)
class Overhead:
    """Of one agent, with or without groups; per run, what an idle system takes taken off."""

    agent: str
    grouped: bool
    concurrency: int
    runs: int
    seconds: float
    lost: int
    duplicated: int
    errors: int
    incomplete: int
    cpu_ms_per_run: Cpu | None
    bare_cpu_ms_per_run: float  # with a graph built for each run
    beyond_ms: float | None
    bare_cached_cpu_ms_per_run: float | None  # with one graph for all runs, as rota has it
    beyond_cached_ms: float | None
    writing_transactions_per_run: float
    commits_per_run: float  # with transactions that only read
    idle: Idle


@dataclass(frozen=True, slots=True)
class Overheads:
    cases: list[Overhead]
    python: str
    machine: str


def main() -> int:
    arguments = _arguments()
    cases = [
        _overhead(Kind(name), arguments, concurrency=concurrency, grouped=grouped)
        for name in arguments.agents
        for concurrency, grouped in (
            (LEAST_CONCURRENCY, False),
            (Kind(name).concurrency, False),
            (Kind(name).concurrency, True),
        )
    ]
    show(Overheads(cases, platform.python_version(), machine()), as_json=arguments.json)
    faults = (case.lost or case.duplicated or case.errors or case.incomplete for case in cases)
    return 1 if any(faults) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench overhead", description=__doc__)
    names = [kind.value for kind in reversed(Kind)]
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--agents", nargs="+", choices=names, default=names)
    parser.add_argument(
        "--settling",
        type=float,
        default=SETTLING,
        help="seconds; below 12 the count of commits means nothing",
    )
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _overhead(
    kind: Kind, arguments: argparse.Namespace, *, concurrency: int, grouped: bool
) -> Overhead:
    herd = Herd(kind, arguments.runs, 1, concurrency, group_size=None if grouped else 1)
    with ground() as place, running_herd(place, herd) as running:
        time.sleep(arguments.settling)
        before = running.counters()
        time.sleep(arguments.settling)
        idle = running.counters().since(before)
        before = running.counters()
        used = running.fire()
        time.sleep(arguments.settling)  # until every connection has reported what it committed
        commits = running.counters().since(before)
        found = running.found()
    bares = measure_bare(kind, runs=herd.schedules, processes=1, concurrency=concurrency)
    return _case(herd, found, used, commits, idle, bares)


def _case(
    herd: Herd,
    found: Found,
    used: Counters,
    commits: Counters,
    idle: Counters,
    bares: Bares,
) -> Overhead:
    runs = herd.schedules
    own = used.without(idle)
    cpu = own.cpu_per(runs)
    bare, cached = bares.built.cpu_ms_per_run, bares.cached.cpu_ms_per_run
    is_agent = herd.kind is Kind.SCRIPTED
    return Overhead(
        agent=herd.kind.value,
        grouped=herd.group_size is None,
        concurrency=herd.concurrency,
        runs=runs,
        seconds=round(found.seconds, 2),
        lost=found.lost,
        duplicated=found.duplicated,
        errors=found.errors,
        incomplete=found.incomplete,
        cpu_ms_per_run=cpu,
        bare_cpu_ms_per_run=bare,
        beyond_ms=round(cpu.total_ms - bare, 2) if cpu else None,
        bare_cached_cpu_ms_per_run=cached if is_agent else None,
        beyond_cached_ms=round(cpu.total_ms - cached, 2) if cpu and is_agent else None,
        writing_transactions_per_run=round(own.transaction_ids / runs, 2),
        commits_per_run=round(commits.without(idle).commits / runs, 2),
        idle=Idle(
            cpu_ms_per_second=idle.cpu_per_second(),
            commits_per_second=round(idle.commits / idle.at, 2),
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
