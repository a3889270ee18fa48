"""Where agents need a tool or a callable that a process does not have, it says so at its start."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from rota.store.agents import rows

CODE = tuple(
    f"Warning: {missing} fail here. Write it into ~/.config/rota/.env, as docs/howto/{page} shows, "
    "and start rota again.\n"
    for missing, page in (
        ("ROTA_TOOLS does not name the tool disk_free, so runs of watcher", "own-tools.md"),
        (
            "ROTA_CALLABLES does not name the callable disk, so runs of a, b, c and 1 more",
            "own-agents.md",
        ),
        ("ROTA_CALLABLES does not name the callable is_full, so runs of watcher", "own-agents.md"),
    )
)


def warnings(command, environment):
    """Return the warnings of a process until it works, then end it."""
    found = []
    with subprocess.Popen(
        [sys.executable, "-m", "rota", command],
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            for line in process.stderr:
                if line.startswith("Warning: "):
                    found.append(line)
                if "The worker is ready" in line or "Starting a scheduler" in line:
                    break
        finally:
            process.kill()
    return tuple(found)


@pytest.fixture
async def agents(owner, alice):
    """Agents that need code: a tool, callables, and a callable of a pre-check."""
    for name in ("disk_free", "mail_search", "keep_note"):
        await owner.execute(
            "INSERT INTO tools (name) VALUES (%s) ON CONFLICT DO NOTHING",
            [name],
        )

    async def agent(name, model, tools=()):
        made, _ = await rows.upsert_agent(
            owner,
            user_id=alice,
            agent_name=name,
            description="",
            model=model,
            model_settings={},
            system_prompt="",
            script=None,
            max_steps=25,
            fallback_models=(),
            limits={},
            max_concurrency=None,
        )
        await rows.replace_agent_tools(owner, made, tools)

    await agent("watcher", "openai:x", ("disk_free", "mail_search"))
    await agent("gone", "openai:x", ("keep_note",))
    await owner.execute("UPDATE agent_configurations SET is_active = false WHERE agent_name='gone'")
    for name in "abcd":
        await agent(name, "callable:disk")
    await owner.execute(
        "INSERT INTO agent_schedules (user_id, name, agent_name, cron, time_zone, options,"
        " next_fire_at) VALUES (%s, 'checked', 'watcher', '@daily', 'UTC',"
        """ '{"precheck": {"callable": "is_full"}}', now() + interval '1 day')""",
        [alice],
    )


@pytest.mark.parametrize("command", ["worker", "up"])
@pytest.mark.usefixtures("agents")
def test_tools_and_callables_that_agents_need_and_a_process_lacks_are_named_at_its_start(
    command, database_url, tmp_path
):
    environment = os.environ | {
        "ROTA_DATABASE_URL": database_url,
        "ROTA_USER": "alice@example.com",
        "ROTA_SECRET_KEY": "00" * 32,
        "ROTA_DATA_DIR": str(tmp_path / "data"),
    }
    assert warnings(command, environment) == CODE

    registered = {
        "ROTA_TOOLS": "disk_free=os.path:getsize",
        "ROTA_CALLABLES": "disk=asyncio:sleep is_full=asyncio:sleep",
    }
    if command == "up":  # its worker imports them, this process only reads the names
        assert warnings(command, environment | registered) == ()
