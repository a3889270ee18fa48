from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """Let later tests log: a command sets logs up on an error stream that ends with the test."""
    yield
    structlog.reset_defaults()
