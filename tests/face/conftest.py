"""One PostgreSQL for all tests of the face."""

import pytest

from rota import testing


@pytest.fixture(scope="session")
def server():
    with testing.server() as server:
        yield server
