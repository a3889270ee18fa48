from __future__ import annotations

import pytest

from rota.services.audit.checkpoints import Checkpoints
from rota.services.operations.retention import RetentionService
from tests.services.auditing import Log
from tests.services.harness import CIPHER, Workshop


@pytest.fixture
async def workshop(database, owner, alice) -> Workshop:
    made = Workshop(database, owner, alice)
    await made.declare_tools()
    return made


@pytest.fixture
def log(database, owner) -> Log:
    return Log(database, owner)


@pytest.fixture
def retention(database) -> RetentionService:
    return RetentionService(database, Checkpoints(CIPHER))
