"""The HTTP API beside a bare FastAPI route with one indexed query and the same identity switch.

    scripts/bench api --json

A `rota serve` process and the bare one, each on loopback over the same database: 100,000 runs of
one person among 300,000, 1,000 schedules, 10,000 notifications. Both are asked in turns, round by
round. Times are one request after another on a kept connection; requests a second are of several
connections at once. Then page 1,000 of the runs beside page 1. Exit status 1 if an answer is not
200, or a page has not as many items as it should.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from rig.api_rows import Scene, seed
from rig.figures import Spread, machine, show
from rig.processes import stop
from rig.server import Ground, ground

PAGE = 50
_READY_WITHIN = 60.0
_PREFIX = "/api/v1"


@dataclass(frozen=True, slots=True)
class Case:
    """One request: how long it takes, and how many a second are answered."""

    path: str
    times: Spread
    requests_per_second: float


@dataclass(frozen=True, slots=True)
class Figures:
    """All cases. `list_ratio` and `detail_ratio`: requests a second, of the bare route's."""

    runs: int
    schedules: int
    notifications: int
    bare_list: Case
    bare_detail: Case
    rota: list[Case]
    list_ratio: float
    detail_ratio: float
    worst_p50_ms: float
    first_page: Spread
    deep_page: Spread
    deep_page_number: int
    python: str
    machine: str


@dataclass(frozen=True, slots=True)
class Target:
    """A server, and what its requests carry."""

    port: int
    headers: dict[str, str]

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection of one's own."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def get(self, conn: http.client.HTTPConnection, path: str) -> bytes:
        """Return the body of an answer; raises RuntimeError where it is none of status 200."""
        conn.request("GET", path, headers=self.headers)
        answer = conn.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"GET {path}: {answer.status} {body[:300]!r}")
        return body


def main() -> int:
    """Measure, and print what was measured."""
    arguments = _arguments()
    with ground() as place:
        with psycopg.connect(place.owner_url, autocommit=True) as conn:
            scene = seed(
                conn,
                runs=arguments.runs,
                schedules=arguments.schedules,
                notifications=arguments.notifications,
            )
        with _serving(place, scene) as (rota, bare):
            figures = _measure(arguments, scene, rota, bare)
    show(figures, as_json=arguments.json)
    return 0


def _measure(arguments: argparse.Namespace, scene: Scene, rota: Target, bare: Target) -> Figures:
    of_rota = [
        f"{_PREFIX}/runs",
        f"{_PREFIX}/runs/{scene.run}",
        f"{_PREFIX}/runs/{scene.run}/trace",
        f"{_PREFIX}/results",
        f"{_PREFIX}/results?q=invoice",
        f"{_PREFIX}/schedules",
        f"{_PREFIX}/schedules/{scene.schedule}",
        f"{_PREFIX}/notifications",
        f"{_PREFIX}/usage",
    ]
    of_bare = ["/runs", f"/runs/{scene.run}"]
    wanted = [(bare, path) for path in of_bare] + [(rota, path) for path in of_rota]
    for target, path in wanted:
        _times(target, path, 10)  # prepares statements, fills the pool
    times: dict[str, list[float]] = {path: [] for _, path in wanted}
    rates: dict[str, list[float]] = {path: [] for _, path in wanted}
    for _ in range(arguments.rounds):
        for target, path in wanted:
            times[path] += _times(target, path, arguments.requests)
            rates[path].append(_rate(target, path, arguments.seconds, arguments.connections))
    cases = {
        path: Case(path, Spread.of(times[path]), round(sorted(rates[path])[len(rates[path]) // 2]))
        for _, path in wanted
    }
    number, first, deep = _pages(rota, arguments)
    bare_list, bare_detail = (cases[path] for path in of_bare)
    shown = [cases[path] for path in of_rota]
    return Figures(
        runs=arguments.runs,
        schedules=arguments.schedules,
        notifications=arguments.notifications,
        bare_list=bare_list,
        bare_detail=bare_detail,
        rota=shown,
        list_ratio=_ratio(shown[0], bare_list),
        detail_ratio=_ratio(shown[1], bare_detail),
        worst_p50_ms=max(case.times.p50_ms for case in shown),
        first_page=first,
        deep_page=deep,
        deep_page_number=number,
        python=platform.python_version(),
        machine=machine(),
    )


def _ratio(case: Case, bare: Case) -> float:
    return round(case.requests_per_second / bare.requests_per_second, 2)


def _times(target: Target, path: str, count: int) -> list[float]:
    """Return how long each of so many requests took, one after another, in seconds."""
    conn = target.connect()
    times = []
    for _ in range(count):
        began = time.perf_counter()
        target.get(conn, path)
        times.append(time.perf_counter() - began)
    conn.close()
    return times


def _rate(target: Target, path: str, seconds: float, connections: int) -> float:
    """Return how many requests a second are answered to several connections at once."""
    counts = [0] * connections
    errors: list[Exception] = []
    end = time.perf_counter() + seconds

    def ask(number: int) -> None:
        conn = target.connect()
        try:
            while time.perf_counter() < end:
                target.get(conn, path)
                counts[number] += 1
        except (OSError, RuntimeError, http.client.HTTPException) as error:
            errors.append(error)
        conn.close()

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(connections)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return sum(counts) / (time.perf_counter() - began)


def _pages(rota: Target, arguments: argparse.Namespace) -> tuple[int, Spread, Spread]:
    """Turn to the page that is asked for, or the last; time it in turns with the first."""
    first = deep = f"{_PREFIX}/runs"
    last = min(arguments.page, arguments.runs // PAGE)
    conn = rota.connect()
    number = 1
    while number < last:
        step = min(200 // PAGE, last - number)
        sign = "&" if "?" in deep else "?"
        page = json.loads(rota.get(conn, f"{deep}{sign}limit={step * PAGE}"))
        if len(page["items"]) != step * PAGE:
            raise RuntimeError(f"page {number} has {len(page['items'])} items")
        deep = f"{_PREFIX}/runs?after={page['next']}"
        number += step
    conn.close()
    times: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(arguments.rounds):
        for is_deep, path in ((False, first), (True, deep)):
            times[is_deep] += _times(rota, path, arguments.requests)
    return number, Spread.of(times[False]), Spread.of(times[True])


@contextmanager
def _serving(place: Ground, scene: Scene) -> Iterator[tuple[Target, Target]]:
    """Run `rota serve` and the bare server; yield them once both answer."""
    ports = _free_port(), _free_port()
    settings = {"ROTA_LISTEN": f"127.0.0.1:{ports[0]}", "ROTA_REQUESTS_PER_MINUTE": "1000000"}
    running: list[subprocess.Popen[bytes]] = []
    try:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ROTA_")},
            **settings,
            "ROTA_DATABASE_URL": place.app_url,
            "ROTA_SECRET_KEY": "00" * 32,
            "ROTA_LOG_LEVEL": "warning",
            "ROTA_CONFIG": os.devnull,
        }
        made = subprocess.run(
            [
                *(sys.executable, "-m", "rota", "tokens", "create", "bench", "--scope", "read"),
                *("--as", str(scene.person), "--json"),
            ],
            env=environment,
            check=True,
            stdout=subprocess.PIPE,
        )
        headers = {"Authorization": f"Bearer {json.loads(made.stdout)['secret']}"}
        running.append(subprocess.Popen([sys.executable, "-m", "rota", "serve"], env=environment))
        running.append(
            subprocess.Popen(
                [
                    *(sys.executable, "-m", "rig.bare_api"),
                    *(place.app_url, str(scene.person), str(ports[1])),
                ],
                cwd=Path(__file__).parent,
                env=environment,
            )
        )
        targets = Target(ports[0], headers), Target(ports[1], {})
        for target, path in zip(targets, ("/healthz", f"/runs/{scene.run}"), strict=True):
            _await(target, path)
        yield targets
    finally:
        stop(running)


def _await(target: Target, path: str) -> None:
    deadline = time.monotonic() + _READY_WITHIN
    while True:
        try:
            target.get(target.connect(), path)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def _free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench api", description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000, help="of one person, of three")
    parser.add_argument("--schedules", type=int, default=1_000)
    parser.add_argument("--notifications", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=100, help="of each case in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="of load, each case and round")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--page", type=int, default=1_000, help="the deep page")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
