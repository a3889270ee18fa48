"""Runs whose calls wait for a person, and the person: real rows, real agents, real decisions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import psycopg

from rota.domain.errors import ConflictError, SuspendedError
from rota.domain.runs.run import Outcome, ResultStatus
from rota.services.approvals.expiry import ApprovalExpiry
from rota.services.approvals.service import ApprovalService
from rota.services.notifications.service import NotificationService
from rota.services.runs.scheduled_execution_service import ScheduledExecutionService
from tests.services.harness import CIPHER, Workshop
from tests.services.running import fetch_run, make_run

SUSPEND = {"approvals": "suspend"}


@dataclass
class Desk:
    """Executes what waits, as one worker does, and decides as its owner."""

    workshop: Workshop
    service: ScheduledExecutionService
    approvals: ApprovalService
    times: ApprovalExpiry
    tools: tuple[str, ...] = ("look", "send", "boom", "wait")
    last: Outcome | None = field(default=None)

    async def run(self, *calls: Any, mode: str = "queue", answer: str = "", **columns: Any) -> Any:
        """Run an agent that makes these calls in one step, and answers with their results."""
        steps = [{"calls": [dict(call) for call in calls]}]
        return await self.run_steps(steps, mode=mode, answer=answer, **columns)

    async def run_steps(
        self, steps: list[Any], *, mode: str = "queue", answer: str = "", **columns: Any
    ) -> Any:
        """Run an agent that goes through these steps; returns the run's id."""
        if not any(
            row["agent_name"] == "watcher"
            for row in await self.workshop.rows("agent_configurations")
        ):
            await self.workshop.agent(
                {"steps": steps, "answer": answer or "{{ results | join(' / ') }}"},
                tools=self.tools,
            )
        options = {"approvals": mode, **columns.pop("options", {})}
        run = await make_run(self.workshop, options=options, **columns)
        await self.work()
        return run.id

    async def work(self, service: ScheduledExecutionService | None = None) -> list[Outcome]:
        """Execute what waits, until nothing does."""
        done = []
        while waiting := await self.waiting_runs():
            try:
                self.last = await (service or self.service).execute_run(waiting[0])
                done.append(self.last)
            except SuspendedError:
                continue
        return done

    async def waiting_runs(self) -> list[Any]:
        """Return the runs that wait to be taken, in order."""
        rows = await self.workshop.rows("agent_runs", "created_at")
        async with self.workshop.database.connection() as conn:
            return [await fetch_run(conn, row["id"]) for row in rows if row["status"] == "waiting"]

    async def fetch(self, run_id: Any) -> Any:
        """Return a run as it is now."""
        async with self.workshop.database.connection() as conn:
            return await fetch_run(conn, run_id)

    async def action(self) -> dict[str, Any]:
        """Return the only action."""
        return await self.workshop.row("pending_actions")

    async def actions(self) -> list[dict[str, Any]]:
        """Return all actions in the order of their calls."""
        return await self.workshop.rows("pending_actions", "model_step, call_index, created_at")

    async def actions_for(self, tool: str, *, agent: str) -> list[dict[str, Any]]:
        """Return an agent's actions for one tool."""
        found = await self.actions()
        return [a for a in found if (a["tool_name"], a["agent_name"]) == (tool, agent)]

    async def approve(self, action: Any = None, **options: Any) -> Any:
        """Approve an action, the only one by default."""
        found = action or await self.action()
        return await self.approvals.decide(
            self.workshop.user, str(found["id"]), "approve", **{"via": "cli"} | options
        )

    async def refuse(self, action: Any = None, reason: str = "", **options: Any) -> Any:
        """Refuse an action, the only one by default."""
        found = action or await self.action()
        return await self.approvals.decide(
            self.workshop.user, str(found["id"]), "refuse", reason, **{"via": "cli"} | options
        )

    async def edit(self, arguments: Any, action: Any = None, **options: Any) -> Any:
        """Edit the arguments of an action, the only one by default."""
        found = action or await self.action()
        return await self.approvals.edit(
            self.workshop.user, str(found["id"]), arguments, **{"via": "cli"} | options
        )

    async def decide_all(
        self, references: list[str], decision: Any, reason: str = "", *, via: str = "cli"
    ) -> Any:
        """Decide on several actions, by their ids."""
        found = await self.approvals.find_actions(self.workshop.user, references)
        return await self.approvals.decide_all(self.workshop.user, found, decision, reason, via=via)

    async def settle(self, outcome: Any, action: Any = None) -> Any:
        """Say what became of an action, the only one by default."""
        found = action or await self.action()
        return await self.approvals.settle(self.workshop.user, str(found["id"]), outcome, via="cli")

    async def result(self, run_id: Any) -> dict[str, Any]:
        """Return the result of a run."""
        found = [
            row
            for row in await self.workshop.rows("agent_execution_results")
            if row["run_id"] == run_id
        ]
        assert len(found) == 1, found
        return found[0]

    async def status(self, run_id: Any) -> str:
        """Return where a run stands."""
        (found,) = [row for row in await self.workshop.rows("agent_runs") if row["id"] == run_id]
        status: str = found["status"]
        return status

    async def decisions(self) -> list[tuple[str, str]]:
        """Return what the audit log says of the actions: decisions and outcomes, in order."""
        rows = await self.workshop.rows("audit_logs", "id")
        return [(row["decision"], row["outcome"]) for row in rows]

    @property
    def sent(self) -> list[Any]:
        """To whom `send` has really sent."""
        return [value for name, value in self.workshop.toolbox.calls if name == "send"]


def desk_of(workshop: Workshop, **options: Any) -> Desk:
    """Return a desk with services of its own."""
    notifications = NotificationService(workshop.database)
    return Desk(
        workshop,
        workshop.service(**options),
        ApprovalService(workshop.database, CIPHER, notifications),
        ApprovalExpiry(workshop.database, notifications),
    )


def send(to: str = "bob", **args: Any) -> dict[str, Any]:
    """Return a scripted call that needs approval."""
    return {"tool": "send", "args": {"to": to, **args}}


def look(query: str = "a") -> dict[str, Any]:
    """Return a scripted call that needs none."""
    return {"tool": "look", "args": {"query": query}}


async def outcome_of(decision: Any) -> str:
    """Return the status that a decision made, or the sentence that refused it."""
    try:
        return str((await decision).status.value)
    except ConflictError as error:
        return error.message


__all__ = ["SUSPEND", "Desk", "ResultStatus", "desk_of", "look", "outcome_of", "send"]


async def set_column(desk, name, value, *, action=None):
    """Change an action behind everybody's back."""
    found = action or await desk.action()
    owner = desk.workshop.owner
    await owner.execute("ALTER TABLE pending_actions DISABLE TRIGGER refuse_transition")
    await owner.execute(
        psycopg.sql.SQL("UPDATE pending_actions SET {} = %s WHERE id = %s").format(
            psycopg.sql.Identifier(name)
        ),
        [value, found["id"]],
    )
    await owner.execute("ALTER TABLE pending_actions ENABLE TRIGGER refuse_transition")


async def let_time_be_over(desk, *, action=None):
    """Let the time of an action be over."""
    found = action or await desk.action()
    await desk.workshop.owner.execute(
        "UPDATE pending_actions SET created_at = now() - interval '2 hours',"
        " expires_at = now() - interval '1 second' WHERE id = %s",
        [found["id"]],
    )
