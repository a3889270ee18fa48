"""What holds on the embedded server holds on a plain PostgreSQL 15: this folder, run there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.postgres import OWN_SERVER

FOLDER = Path(__file__).parent


@pytest.mark.postgres15
@pytest.mark.timeout(1200)  # as long as all of them
def test_policies_hold_on_a_plain_15(plain15):
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")
    }
    done = subprocess.run(
        [*command, "-m", "not postgres15", FOLDER],
        env=environment | {OWN_SERVER: plain15.url(plain15.superuser, "postgres")},
        cwd=FOLDER.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
