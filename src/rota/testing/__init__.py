"""Tools to test your own agent: a real database, scripted models, a clock that you set.

    @pytest.fixture(scope="session")
    def server():
        with rota.testing.server() as server:
            yield server

    async def test_agent_asks_before_it_writes(server):
        async with rota.testing.house(server, tools={"write_note": "house:note_writer"}) as house:
            ...

A part of the public face, as `rota` is: docs/howto/testing-agents.md.
"""

from rota.testing.clock import Clock
from rota.testing.house import House, house, server

__all__ = ["Clock", "House", "house", "server"]
