"""A briefing whose grant dies and comes back: it pauses, is told of once, and goes on by itself."""

from __future__ import annotations

from datetime import timedelta

import httpx

from rota.agents.tools.builtin import builtin_tools
from rota.agents.tools.context import ToolContext
from rota.domain.runs.run import ResultStatus
from rota.services.agents.connection_upkeep import ConnectionUpkeep
from rota.services.notifications.service import NotificationService
from rota.services.schedules.resuming import resume_mended
from tests.services.agents.grants import CIPHER

SCRIPT = {"steps": [{"calls": [{"tool": "gmail_search"}]}], "answer": "Found: {{ results[0] }}"}


async def test_a_briefing_goes_on_when_its_connection_works_again(
    workshop, database, service, provider, gmail, connected, time
):
    async with httpx.AsyncClient() as http:
        executing = workshop.service(
            registry=builtin_tools(),
            tool_context=lambda user, now: ToolContext(
                user,
                now,
                lambda name: service.secret(user, name),
                lambda: None,
                http,
                {"gmail": gmail.url},
                lambda name: service.using(user, name),
                lambda gives: service.connected(user, gives),
            ),
        )
        upkeep = ConnectionUpkeep(
            database, service, NotificationService(database), key_ids=lambda: CIPHER.key_ids
        )

        async def chores(**length):
            time.passes(**length)
            await upkeep.refresh(time.now)
            await upkeep.check(time.now)
            await upkeep.tell(time.now)
            return await resume_mended(database, now=time.now)

        await workshop.agent(SCRIPT, tools=["gmail_search"])
        schedule = await workshop.schedule(catch_up_window_seconds=3 * 86_400)
        assert (await executing.execute(schedule)).status is ResultStatus.SUCCESS

        provider.revoke_all()
        time.passes(hours=2)
        failed = await executing.execute(schedule)
        await workshop.owner.execute(
            "UPDATE agent_runs SET fire_time = %s WHERE id ="
            " (SELECT run_id FROM agent_execution_results WHERE status = 'error')",
            [time.now],
        )
        assert failed.status is ResultStatus.ERROR
        when_done = "It continues by itself when that is done."
        reconnect = "Connect it again with `rota connections reconnect gmail`."
        assert failed.content.endswith(f" {reconnect} The schedule is paused. {when_done}")
        paused = await workshop.fetch(schedule.id)
        assert (paused.is_active, paused.paused_by_rota) == (False, True)
        assert paused.pause_note.endswith(f" {reconnect} {when_done}")
        assert [await chores(minutes=1), await chores(minutes=30)] == [(), ()]
        told = [row["title"] for row in await workshop.rows("notifications", "created_at")]
        assert told.count("Your connection gmail needs you") == 1

        for grant in provider.grants:
            grant.is_revoked = False
        [resumed] = await chores(days=1, hours=1)
        assert await chores(minutes=1) == ()
        assert (resumed.id, resumed.is_active) == (schedule.id, True)
        told = [row["title"] for row in await workshop.rows("notifications", "created_at")]
        assert told.count("Your connection gmail works again") == 1
        # The fire of seven o'clock that came meanwhile is caught up.
        seven = time.now.replace(hour=7, minute=0, second=0, microsecond=0)
        seven -= timedelta(days=1) if seven > time.now else timedelta(0)
        await workshop.scheduler().tick(time.now)
        await workshop.scheduler().tick(time.now)
        waiting = [run for run in await workshop.rows("agent_runs") if run["status"] != "finished"]
        assert [run["fire_time"] for run in waiting] == [seven]
