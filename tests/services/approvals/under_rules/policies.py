"""Agents that may pay and mail, under rules: what the tests of rules at the gate share."""

from __future__ import annotations

from langchain_core.tools import tool

from rota.agents.tools.context import ToolRegistry
from rota.domain.approvals.condition_syntax import parse_condition
from rota.domain.approvals.rules import RuleDraft
from tests.services.deciding import desk_of
from tests.services.harness import CIPHER
from tests.services.running import make_run


def desk_with_payments(workshop, paid):
    """Return a desk whose agents have `pay`, which adds to `paid`, and `mail`, beside others."""

    @tool
    def pay(amount_eur: float, to: str = "bob") -> str:
        """Pay somebody."""
        paid.append((amount_eur, to))
        return f"paid {amount_eur:g}"

    @tool
    async def mail(to: str, bcc: str = "", text: str = "") -> str:
        """Send a mail."""
        workshop.toolbox.calls.append(("mail", to))
        return f"mailed to {to}"

    standard = workshop.toolbox.registry()
    more = {t.name: (lambda _context, t=t: t) for t in (pay, mail)}
    registry = ToolRegistry(
        {
            **{name: (lambda c, name=name: standard.build(name, c)) for name in standard.names()},
            **more,
        }
    )
    return desk_of(workshop, registry=registry, cipher=CIPHER)


async def declare_payments(workshop):
    """Declare `pay`, `mail` and `send` as tools that rules of their owner may allow."""
    for name in ("pay", "mail"):
        await workshop.owner.execute(
            "INSERT INTO tools (name, default_tier, risk, brings_outside_text)"
            " VALUES (%s, 'user_configurable', 'medium', false)",
            [name],
        )
    await workshop.declare("send", default_tier="user_configurable")


async def scripted(desk, *calls, answer="{{ results | join(' / ') }}", **columns):
    """Run an agent that makes these calls; returns the run's id."""
    rows = await desk.workshop.rows("agent_configurations")
    if not any(row["agent_name"] == "watcher" for row in rows):
        script = {"steps": [{"calls": [dict(call) for call in calls]}], "answer": answer}
        await desk.workshop.agent(script, tools=["look", "send", "boom", "pay", "mail"])
    run = await make_run(desk.workshop, **columns)
    await desk.work()
    return run.id


def pay(amount, **args):
    return {"tool": "pay", "args": {"amount_eur": amount, **args}}


def mail(to, **args):
    return {"tool": "mail", "args": {"to": to, **args}}


def draft(effect, *when, tool="send", **fields):
    return RuleDraft(effect, tool, tuple(map(parse_condition, when)), **fields)


async def statuses(desk):
    return [action["status"] for action in await desk.actions()]
