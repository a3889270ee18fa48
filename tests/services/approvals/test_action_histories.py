"""Random histories of many deciders, workers and clocks at once: what holds after every one."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from rota.domain.approvals.actions import NEXT, ActionStatus
from rota.domain.errors import ConflictError, SuspendedError
from rota.domain.runs.run import FencedError
from rota.services.runs.service import RunService
from tests.services.deciding import desk_of
from tests.services.running import make_run

OVER = {status for status, following in NEXT.items() if not following} | {ActionStatus.UNKNOWN}
LOG = """
CREATE TABLE public.transitions (id bigserial, action_id uuid, from_status text, to_status text);
CREATE FUNCTION public.log_transition() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO public.transitions (action_id, from_status, to_status)
    VALUES (NEW.id, OLD.status, NEW.status);
    RETURN NULL;
END $$;
CREATE TRIGGER log_transition AFTER UPDATE ON public.pending_actions FOR EACH ROW
    WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION public.log_transition();
"""
CALLS = [{"tool": "send", "args": {"to": "{{ prompt }} " + str(n)}} for n in range(3)]


class History:
    """What everybody does, at random, until there is nothing left to decide."""

    def __init__(self, workshop, seed):
        self.random = random.Random(seed)
        self.workshop = workshop
        self.desk = desk_of(workshop)
        self.is_over = False

    async def begin(self):
        await self.workshop.owner.execute(LOG)
        await self.workshop.agent({"steps": [{"calls": CALLS}], "answer": "done"}, tools=["send"])
        for n in range(4):
            mode = self.random.choice(["queue", "suspend"])
            await make_run(self.workshop, prompt=f"run {n}", options={"approvals": mode})

    async def pause(self):
        await asyncio.sleep(self.random.random() * 0.02)

    async def some_action(self):
        actions = await self.desk.actions()
        return self.random.choice(actions) if actions else None

    async def decide(self, via):
        while not self.is_over:
            await self.pause()
            if (action := await self.some_action()) is None:
                continue
            version = self.random.choice([None, None, 1, 2])
            try:
                match self.random.randrange(5):
                    case 0 | 1:
                        await self.desk.approve(action, via=via, version=version)
                    case 2:
                        await self.desk.refuse(action, via=via, version=version)
                    case 3:
                        to = action["arguments"]["to"]
                        await self.desk.edit(
                            {"to": to, "text": f"by {via}"}, action, via=via, version=version
                        )
                    case _:
                        others = [action, await self.some_action()]
                        await self.desk.decide_all(
                            [str(a["id"]) for a in others],
                            self.random.choice(["approve", "refuse"]),
                            via=via,
                        )
            except ConflictError:
                continue

    async def let_time_pass(self):
        while not self.is_over:
            await self.pause()
            if self.random.random() < 0.15 and (action := await self.some_action()):
                await self.workshop.owner.execute(
                    "UPDATE pending_actions SET expires_at = clock_timestamp()"
                    " WHERE id = %s AND status = 'pending'",
                    [action["id"]],
                )
            await self.desk.times.look()

    async def cancel(self):
        for _ in range(self.random.randrange(3)):
            await asyncio.sleep(self.random.random() * 0.4)
            run = self.random.choice(await self.workshop.rows("agent_runs"))
            try:
                await RunService(self.workshop.database).cancel(self.workshop.user, str(run["id"]))
            except ConflictError:
                continue

    async def work(self):
        """Two of these take each other's runs, as workers do whose leases ran out."""
        desk = desk_of(self.workshop)
        while not self.is_over:
            await self.pause()
            try:
                await desk.work()
            except (FencedError, ConflictError, SuspendedError):
                continue

    async def happen(self):
        await self.begin()
        actors = [
            asyncio.create_task(actor)
            for actor in (
                *(self.decide(via) for via in ("web", "telegram", "cli")),
                self.let_time_pass(),
                self.work(),
                self.work(),
            )
        ]
        await self.cancel()
        try:
            async with asyncio.timeout(30):
                while not await self.is_settled():
                    await asyncio.sleep(0.05)
                    for actor in actors:
                        if actor.done():
                            actor.result()
        finally:
            self.is_over = True
            await asyncio.gather(*actors)

    async def is_settled(self):
        await self.take_up_what_was_dropped()
        actions = await self.desk.actions()
        runs = await self.workshop.rows("agent_runs")
        return (
            bool(actions or not any(r["status"] != "cancelled" for r in runs))
            and all(action["status"] in OVER for action in actions)
            and all(run["status"] in {"finished", "cancelled"} for run in runs)
        )

    async def take_up_what_was_dropped(self):
        """An attempt that lost its run to one that then lost it too: the queue's lease expires."""
        for row in await self.workshop.rows("agent_runs"):
            if row["status"] == "running" and self.random.random() < 0.1:
                run = await self.desk.fetch(row["id"])
                await asyncio.gather(self.desk.service.execute_run(run), return_exceptions=True)


@pytest.mark.parametrize("seed", range(12))
async def test_history(workshop, seed):
    history = History(workshop, seed)
    await history.happen()

    done = Counter(to for name, to in workshop.toolbox.calls if name == "send")
    for action in await history.desk.actions():
        times = done.pop(action["arguments"]["to"], 0)
        match ActionStatus(action["status"]):
            case ActionStatus.SUCCEEDED:
                assert times == 1
            case ActionStatus.UNKNOWN:
                assert times <= 1
            case _:
                assert times == 0, action["status"]
    assert not done, "effects that nobody asked for"

    moves = Counter(
        (row["action_id"], row["from_status"])
        for row in await workshop.rows("public.transitions", "id")
    )
    assert set(moves.values()) <= {1}, "an action left a state twice"
    for row in await workshop.rows("public.transitions", "id"):
        assert ActionStatus(row["to_status"]) in NEXT[ActionStatus(row["from_status"])]

    decisions = Counter(
        row["action_id"]
        for row in await workshop.rows("audit_logs", "id")
        if row["decision"] == "expired"
        or (row["decision"] in {"approved", "refused"} and row["actor"] not in {"agent", "rota"})
    )
    assert set(decisions.values()) <= {1}, "more than one decision on an action"
    results = Counter(r["run_id"] for r in await workshop.rows("agent_execution_results"))
    assert set(results.values()) <= {1}
