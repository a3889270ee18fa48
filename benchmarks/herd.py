"""A herd: N schedules due at one instant, executed by rota's own processes.

    scripts/bench herd --agent scripted --schedules 1000 --workers 2 --json

Starts a durable embedded PostgreSQL in a temporary directory, one `rota scheduler` and W `rota
worker` processes; once they are up and warm, the schedules fall due, and every run is stored:
occurrence, run, journal, result, notification. Wall time is from the due instant to the commit of
the last result; CPU is that of scheduler, workers and PostgreSQL. Beside it: the same agent bare,
in as many processes; the herd once more without groups (ROTA_GROUP_SIZE=1); and what PgQueuer,
Procrastinate and DBOS take for a job that does nothing. Exit status 1 if a result is missing,
doubled, an error or incomplete.
"""

from __future__ import annotations

import argparse
import platform
import sys
from dataclasses import dataclass

from rig.agents import Kind
from rig.bare import Bares, measure_bare
from rig.figures import machine, show
from rig.herds import Cpu, Found, Herd, running_herd
from rig.noop_jobs import Jobs, measure_peers
from rig.server import Ground, ground


@dataclass(frozen=True, slots=True)
class HerdFigures:
    agent: str
    schedules: int
    workers: int
    concurrency: int
    results: int
    lost: int
    duplicated: int
    errors: int
    incomplete: int
    seconds: float
    runs_per_second: float
    lag_p50_ms: float
    lag_p99_ms: float
    cpu_ms_per_run: Cpu | None
    bare_runs_per_second: float  # with a graph built for each run
    bare_cpu_ms_per_run: float
    bare_ratio: float | None
    bare_cached_runs_per_second: float | None  # with one graph for all runs of a process
    bare_cached_cpu_ms_per_run: float | None
    bare_cached_ratio: float | None
    ungrouped_faults: int | None
    ungrouped_runs_per_second: float | None
    ungrouped_cpu_ms_per_run: Cpu | None
    peers: list[Jobs]
    python: str
    machine: str


@dataclass(frozen=True, slots=True)
class Fired:
    """A herd that was fired: what became of it, and its CPU."""

    found: Found
    cpu: Cpu | None

    @property
    def runs_per_second(self) -> float:
        return round(self.found.results / self.found.seconds, 1)


def main() -> int:
    arguments = _arguments()
    kind = Kind(arguments.agent)
    concurrency = arguments.concurrency or kind.concurrency
    herd = Herd(kind, arguments.schedules, arguments.workers, concurrency)
    peers: list[Jobs] = []
    # Half of the bare loop before and half after: a busier minute of the machine touches both.
    half = (herd.schedules + 1) // 2
    bares = _bare(herd, half)
    with ground() as place:
        fired = _fire(place, herd)
    bares += _bare(herd, half)
    ungrouped: Fired | None = None
    if arguments.ungrouped:
        with ground() as place:
            ungrouped = _fire(
                place, Herd(kind, herd.schedules, herd.workers, concurrency, group_size=1)
            )
    if arguments.peers:
        with ground() as place:
            peers = measure_peers(place, jobs=herd.schedules, workers=herd.workers)
    show(_figures(herd, fired, ungrouped, bares, peers), as_json=arguments.json)
    faults = fired.found.faults + (ungrouped.found.faults if ungrouped else 0)
    return 1 if faults else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench herd", description=__doc__)
    parser.add_argument("--schedules", type=_positive, default=1_000)
    parser.add_argument("--agent", choices=[kind.value for kind in Kind], default="scripted")
    parser.add_argument("--workers", type=_positive, default=2)
    parser.add_argument(
        "--concurrency",
        type=int,
        help="ROTA_CONCURRENCY; "
        + ", ".join(f"{kind.concurrency} for {kind.value}" for kind in Kind),
    )
    parser.add_argument("--no-peers", dest="peers", action="store_false")
    parser.add_argument("--no-ungrouped", dest="ungrouped", action="store_false")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return int(text)


def _fire(place: Ground, herd: Herd) -> Fired:
    with running_herd(place, herd) as running:
        used = running.fire()
        found = running.found()
    return Fired(found, used.cpu_per(herd.schedules))


def _bare(herd: Herd, runs: int) -> Bares:
    return measure_bare(herd.kind, runs=runs, processes=herd.workers, concurrency=herd.concurrency)


def _figures(
    herd: Herd, fired: Fired, ungrouped: Fired | None, bares: Bares, peers: list[Jobs]
) -> HerdFigures:
    # Of a callable that does nothing a ratio says nothing, and it has no graph to keep.
    is_agent = herd.kind is Kind.SCRIPTED
    rate, built, cached = fired.runs_per_second, bares.built, bares.cached
    found = fired.found
    return HerdFigures(
        agent=herd.kind.value,
        schedules=herd.schedules,
        workers=herd.workers,
        concurrency=herd.concurrency,
        results=found.results,
        lost=found.lost,
        duplicated=found.duplicated,
        errors=found.errors,
        incomplete=found.incomplete,
        seconds=round(found.seconds, 2),
        runs_per_second=rate,
        lag_p50_ms=found.lag_p50_ms,
        lag_p99_ms=found.lag_p99_ms,
        cpu_ms_per_run=fired.cpu,
        bare_runs_per_second=built.runs_per_second,
        bare_cpu_ms_per_run=built.cpu_ms_per_run,
        bare_ratio=round(rate / built.runs_per_second, 3) if is_agent else None,
        bare_cached_runs_per_second=cached.runs_per_second if is_agent else None,
        bare_cached_cpu_ms_per_run=cached.cpu_ms_per_run if is_agent else None,
        bare_cached_ratio=round(rate / cached.runs_per_second, 3) if is_agent else None,
        ungrouped_faults=ungrouped.found.faults if ungrouped else None,
        ungrouped_runs_per_second=ungrouped.runs_per_second if ungrouped else None,
        ungrouped_cpu_ms_per_run=ungrouped.cpu if ungrouped else None,
        peers=peers,
        python=platform.python_version(),
        machine=machine(),
    )


if __name__ == "__main__":
    sys.exit(main())
