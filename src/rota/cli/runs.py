"""`rota runs`: what runs, what ran, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rota.cli.options import As, DatabaseUrl, DataDir, Json, Limit, as_person, settings_from

if TYPE_CHECKING:
    from rota.bootstrap import App
    from rota.domain.ids import UserId
    from rota.store.run_views import RunView
    from rota.store.runs import StepRow

app = typer.Typer(help="Runs: what runs, and what ran, step by step.", no_args_is_help=True)
Run = Annotated[str, typer.Argument(metavar="RUN", help="Its id, or the beginning of it.")]

_STATUSES = ("waiting", "queued", "running", "finished", "cancelled")
_OVER = frozenset({"finished", "cancelled"})
_LOOK_EVERY = 0.5
_SHOWN = 500


@app.command("list")
def list_runs(
    schedule: Annotated[
        str | None, typer.Option("--schedule", help="Of this schedule only: its name or id.")
    ] = None,
    status: Annotated[
        str | None, typer.Option("--status", help=f"Only {', '.join(_STATUSES)}.")
    ] = None,
    limit: Limit = 20,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    user: As = None,
    json: Json = False,
) -> None:
    """List runs, the newest first."""
    from rota.cli import output
    from rota.domain.errors import InvalidInputError

    if status not in {None, *_STATUSES}:
        raise InvalidInputError(f"There is no status {status!r}; it is {', '.join(_STATUSES)}.")

    async def work(app: App, me: UserId) -> tuple[str, tuple[RunView, ...]]:
        of = (await app.schedules.get(me, schedule)).id if schedule is not None else None
        found = await app.runs.all(me, schedule_id=of, status=status, limit=limit)
        return await app.schedules.zone(me), found

    zone, found = as_person(settings_from(data_dir, database_url, user), work)
    if json:
        output.print_json(found)
        return
    output.table(
        ["ID", "WHEN", "AGENT", "TRIGGER", "STATUS", "RESULT"],
        [
            (
                output.short(run.id),
                output.when(run.fire_time or run.created_at, zone),
                run.schedule_name or run.agent_name,
                run.trigger,
                _status(run),
                run.result_status or "-",
            )
            for run in found
        ],
        empty="There are no runs yet. `rota run AGENT` makes one.",
    )


@app.command("show")
def show(
    run: Run,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    user: As = None,
    json: Json = False,
) -> None:
    """Show a run: where it stands, and each model and tool call, secrets replaced."""
    from rota.cli import output

    async def work(app: App, me: UserId) -> tuple[str, RunView, tuple[StepRow, ...]]:
        return await app.schedules.zone(me), *await app.runs.get(me, run)

    zone, found, steps = as_person(settings_from(data_dir, database_url, user), work)
    if json:
        from dataclasses import asdict

        from rota.security.redaction import redact

        output.print_json(asdict(found) | {"steps": [redact(asdict(step)) for step in steps]})
        return
    _print_run(found, zone)
    for step in steps:
        _print_step(step)


@app.command("tail")
def tail(
    run: Run,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    user: As = None,
) -> None:
    """Follow a run: print its calls as they are made, until it is over."""
    import asyncio

    from rota.cli import output

    async def work(app: App, me: UserId) -> None:
        zone = await app.schedules.zone(me)
        found, steps = await app.runs.get(me, run)
        _print_run(found, zone)
        seen: dict[tuple[int, int], str] = {}
        while True:
            for step in steps:
                key = (step.model_step, step.call_index)
                if seen.get(key) != step.status:
                    seen[key] = step.status
                    _print_step(step)
            if found.status in _OVER:
                break
            await asyncio.sleep(_LOOK_EVERY)
            found, steps = await app.runs.get(me, run)
        output.say(f"{_status(found)}{f', {found.result_status}' if found.result_status else ''}.")

    as_person(settings_from(data_dir, database_url, user), work)


@app.command("cancel")
def cancel(
    run: Run,
    note: Annotated[str, typer.Option("--note", help="Why, for whoever wonders.")] = "",
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    user: As = None,
) -> None:
    """Cancel a run, on whatever machine it is; what it has so far is stored as its result."""
    from rota.cli import output

    found = as_person(
        settings_from(data_dir, database_url, user),
        lambda app, me: app.runs.cancel(me, run, note),
    )
    if found.status == "cancelled":
        output.say("Cancelled; it had not begun.")
    else:
        output.say("Asked to stop; its worker stores what there is within two seconds.")


def _status(run: RunView) -> str:
    if run.status == "running" and run.cancel_requested_at is not None:
        return "stopping"
    return run.status


def _print_run(run: RunView, zone: str) -> None:
    from rota.cli import output

    output.say(f"{run.schedule_name or run.agent_name}: {_status(run)}", style="bold")
    lines = [
        ("Run", str(run.id)),
        ("Agent", run.agent_name),
        ("Trigger", run.trigger),
        ("Prompt", run.prompt or "(none)"),
        ("Fire time", run.fire_time and output.moment(run.fire_time, zone)),
        ("Created", output.moment(run.created_at, zone)),
        ("Started", run.started_at and output.moment(run.started_at, zone)),
        ("Ended", run.finished_at and output.moment(run.finished_at, zone)),
        ("Attempt", str(run.attempt) if run.attempt > 1 else None),
        ("Cancelled", run.cancel_reason),
        ("Result", run.result_status),
    ]
    for name, said in lines:
        if said:
            output.say(f"{name:10} {said}")


def _print_step(step: StepRow) -> None:
    """Print one call: which, how it stands, how long it took, what went in and came out."""
    from rota.cli import output

    took = ""
    if step.finished_at is not None:
        took = f"  {(step.finished_at - step.started_at).total_seconds():.2f} s"
    tokens = ""
    if step.usage and any(step.usage.values()):
        tokens = (
            f"  {step.usage.get('input_tokens', 0)}+{step.usage.get('output_tokens', 0)} tokens"
        )
    place = f"{step.model_step}" if step.kind == "model" else f"{step.model_step}.{step.call_index}"
    output.say()
    output.say(f"{place:5} {step.kind} {step.name}: {step.status}{took}{tokens}", style="bold")
    arguments = step.request.get("arguments")
    if arguments:
        output.say(f"      {_shown(arguments)}")
    answer = step.error or _answer(step.response)
    if answer:
        output.say(f"      {answer}")


def _answer(response: object) -> str:
    from rota.domain.content import normalize_content

    messages = response if isinstance(response, list) else [response]
    texts: list[str] = []
    for message in messages:
        if isinstance(message, dict) and isinstance(data := message.get("data"), dict):
            texts.append(normalize_content(data.get("content") or ""))
            texts += [f"→ {call.get('name')}" for call in data.get("tool_calls") or ()]
    return _shown(" ".join(text for text in texts if text)) if any(texts) else ""


def _shown(value: object) -> str:
    """Return a value on one line, secrets replaced, cut."""
    import json

    from rota.security.redaction import redact, redact_text

    text = (
        redact_text(value)
        if isinstance(value, str)
        else json.dumps(redact(value), ensure_ascii=False)
    )
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
