"""A short soak: what `scripts/soak` does for ten minutes, for less than one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.kill

SOAK = Path(__file__).parents[2] / "benchmarks" / "soak.py"
SECONDS = 40
SCHEDULES = 16
SEED = 4
EVERY = 8


@pytest.mark.timeout(420)
def test_nothing_is_lost_or_done_twice_while_everything_is_killed():
    options = {"seconds": SECONDS, "seed": SEED, "schedules": SCHEDULES}
    soak = subprocess.Popen(
        [sys.executable, SOAK, "--json", *(f"--{name}={value}" for name, value in options.items())],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said, log = soak.communicate()
    finally:  # timed out or interrupted: it ends its processes and its server itself
        if soak.poll() is None:
            soak.terminate()
            soak.communicate()

    assert soak.returncode == 0, f"{said}\n{log}"
    figures = json.loads(said)
    assert figures["results"] == figures["occurrences"]
    assert figures["occurrences"] >= (SECONDS // EVERY - 1) * SCHEDULES
    assert figures["disturbances"] >= 5  # one of each kind
    assert figures["attempts_beyond_the_first"] > 0  # it did hurt
