"""What PgQueuer says of each failed write while the database is away is not repeated."""

from __future__ import annotations

import logging

import psycopg
from pgqueuer.core import logconfig

from rota.cli.logs import configure_logs
from rota.domain.errors import UnavailableError
from rota.settings import Settings


def test_failed_writes_of_the_queue_are_not_logged_one_by_one(capsys):
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    try:
        configure_logs(Settings())
        logconfig.logger.error("Flush failed, requeuing %d items", 1)
        logconfig.logger.warning("Shutdown flush failed, %d items remaining", 1)
        logconfig.logger.error("Unhandled exception in task: %s", "mine")
        for away in (
            psycopg.OperationalError("the connection is lost"),
            UnavailableError("no answer", service="database"),
            UnavailableError("no answer", service="gmail"),
            ValueError("a fault"),
        ):
            logconfig.logger.error(
                "Exception while processing entrypoint/job-id: %s/%s", "run", 7, exc_info=away
            )
    finally:
        root.handlers[:] = before
        root.setLevel(level)

    said = capsys.readouterr().err
    assert "flush" not in said.lower()
    assert "Unhandled exception in task: mine" in said
    assert "the connection is lost" not in said
    assert said.count("Exception while processing") == 2
