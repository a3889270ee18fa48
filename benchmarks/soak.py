"""A soak: rota at work while everything around it is killed, stalled and cut off.

    scripts/soak --seconds 600 --seed 1 --json

Two schedulers and three workers as processes on an embedded PostgreSQL. By a plan that depends on
the seed alone, random ones and the server are killed (-9), some are stopped past their lease and
go on, some are asked to end, connections are cut, and a tool blocks its loop. Beside it another
person does in SQL what they may do, and means no good. Then all is left alone until nothing is
under way, and what happened is compared with what was to happen. Exit status 1 if anything was
lost, done twice, repeated though it was written down, or is stuck.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import psycopg
from rig import soak_ledger
from rig.server import lift_quotas
from rig.soak_ledger import Counts
from rig.soak_neighbour import Neighbour
from rig.soak_plan import WORKERS, plan
from rig.soak_scene import Scene

from rota.store.embedded.server import EmbeddedPostgres
from rota.store.migrations import migrate

PATIENCE: Final = 150.0
"""Seconds without a run that begins or ends, once all is left alone: what is not over by then is
stuck. Leases, sweeps and a process's start fit in several times over."""

_TOLD_EVERY: Final = 30.0

_STARTED_WITHIN: Final = 180.0
_LATECOMERS: Final = 3.0  # whoever might do something twice has had the time


@dataclass(frozen=True, slots=True)
class Soaked:
    """What came of a soak, and what was done to whom."""

    seed: int
    seconds: float
    disturbances: int
    hostile_acts: int  # of the neighbour, that were not refused
    settled_after: float  # seconds since all was left alone
    ended_by_themselves: int
    counts: Counts
    would_not_end: int
    log: str

    def figures(self) -> dict[str, Any]:
        values = asdict(self) | asdict(self.counts)
        values["stuck"] += values.pop("would_not_end")
        del values["log"], values["counts"]
        return values

    @property
    def is_clean(self) -> bool:
        figures = self.figures()
        return not any(
            figures[name]
            for name in (
                "lost",
                "duplicated",
                "repeated_side_effects",
                "repeated_flushed_steps",
                "unrecorded_effects",
                "wrong_answers",
                "stuck",
            )
        )


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--schedules", type=int, default=32, help="each fires every 8 seconds")
    parser.add_argument("--log", action="store_true", help="tell what is done as it is done")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all processes are ended
    soaked = soak(
        arguments.seconds, seed=arguments.seed, schedules=arguments.schedules, live=arguments.log
    )
    if arguments.log or not soaked.is_clean:
        print(soaked.log, file=sys.stderr)
    if not soaked.is_clean:
        print(
            f"Again: scripts/soak --seconds {arguments.seconds:g} --seed {arguments.seed}"
            f" --schedules {arguments.schedules}",
            file=sys.stderr,
        )
    if arguments.json:
        print(json.dumps(soaked.figures()))
    else:
        for name, value in soaked.figures().items():
            print(f"{name:26} {value}")
    return 0 if soaked.is_clean else 1


def soak(seconds: float, *, seed: int, schedules: int, live: bool = False) -> Soaked:
    """Run a soak; every process that it starts has ended when it returns, or raises.

    With `live` it tells on stderr what is done, as it is done.
    """
    disturbances = plan(seed, seconds)
    with tempfile.TemporaryDirectory(prefix="rota-soak-") as folder:
        Path(folder).chmod(0o755)  # the server may run as another user
        scene = Scene(EmbeddedPostgres.open(Path(folder) / "data"), Path(folder), live=live)
        try:
            asyncio.run(migrate(scene.server.owner_url))
            lift_quotas(scene.server.owner_url)
            with scene.connect() as conn:
                user = soak_ledger.prepare(conn)
                scene.start_all()
                _await_workers(conn, scene)
                ends_at = datetime.now(UTC) + timedelta(seconds=seconds)
                soak_ledger.add_schedules(conn, user, schedules, ends_at=ends_at)
            neighbour = Neighbour(scene.server, seed)
            neighbour.move_in()
            began = time.monotonic()
            for disturbance in disturbances:
                _look_after(scene, until=began + disturbance.at)
                scene.disturb(disturbance)
            _look_after(scene, until=began + seconds)
            with scene.connect() as conn:
                neighbour.leave(conn)
            scene.note("all is left alone")
            settled_after = _settle(scene)
            scene.end_all()
            said = scene.logs()
            with scene.connect() as conn:
                counts = soak_ledger.count(conn, scene.folder)
                found = soak_ledger.what_was_found(conn, scene.folder)
        finally:
            scene.end_all()
            scene.server.destroy()
    return Soaked(
        seed=seed,
        seconds=seconds,
        disturbances=len(disturbances),
        hostile_acts=neighbour.acts,
        settled_after=round(settled_after, 1),
        ended_by_themselves=scene.died_alone,
        counts=counts,
        would_not_end=scene.would_not_end,
        log="\n".join([*([] if live else scene.log), *found, said]),
    )


def _await_workers(conn: psycopg.Connection[Any], scene: Scene) -> None:
    deadline = time.monotonic() + _STARTED_WITHIN
    while time.monotonic() < deadline:
        row = conn.execute("SELECT count(*) FROM rota.processes WHERE kind = 'worker'").fetchone()
        if row is not None and row[0] >= len(WORKERS):
            return
        time.sleep(0.2)
    raise TimeoutError(f"the workers did not start\n{scene.logs()}")


def _look_after(scene: Scene, *, until: float) -> None:
    while time.monotonic() < until:
        scene.look_after()
        time.sleep(0.1)


def _settle(scene: Scene) -> float:
    """Wait until nothing is under way; returns the seconds that it took."""
    scene.leave_alone()
    began = moved = told = time.monotonic()
    before = None
    with scene.connect() as conn:
        while not soak_ledger.is_settled(conn):
            scene.look_after()
            time.sleep(0.5)
            now = time.monotonic()
            if (state := soak_ledger.state(conn)) != before:
                before, moved = state, now
            if now - moved > PATIENCE:
                scene.note(f"nothing has moved for {PATIENCE:.0f} s: {state}")
                break
            if now - told > _TOLD_EVERY:
                told = now
                scene.note(str(state))
    took = time.monotonic() - began
    time.sleep(_LATECOMERS)
    return took


if __name__ == "__main__":
    sys.exit(main())
