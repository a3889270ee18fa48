from __future__ import annotations

import pytest

from tests.services.harness import Workshop


@pytest.fixture
async def workshop(database, owner, alice) -> Workshop:
    made = Workshop(database, owner, alice)
    await made.declare_tools()
    return made
