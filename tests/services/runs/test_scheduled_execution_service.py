"""SPEC-003's eight unit tests by their names, and every edge case of the spec."""

from __future__ import annotations

import asyncio
import json

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from structlog.testing import capture_logs

from rota.domain.errors import StatementError
from rota.domain.runs.run import FencedError, ResultStatus
from rota.domain.text.storable import RESULT_CONTENT_LIMIT
from rota.services.notifications.service import NotificationService
from tests.services.harness import ANSWER
from tests.services.running import fetch_run

CALL_SEND = {"calls": [{"tool": "send", "args": {"to": "bob@example.com"}}]}


async def test_execute_success(workshop):
    await workshop.agent(
        {
            "steps": [{"calls": [{"tool": "look", "args": {"query": "{{ prompt }}"}}]}],
            "answer": "Seen: {{ results[0].seen }}",
        },
        tools=["look"],
    )
    schedule = await workshop.schedule(prompt="the news")

    outcome = await workshop.service().execute(schedule)

    assert workshop.toolbox.calls == [("look", "the news")]
    assert outcome.status is ResultStatus.SUCCESS
    assert outcome.as_dict()["success"] is True
    stored = await workshop.row("agent_execution_results")
    assert stored["result_content"] == "Seen: the news" == outcome.content
    assert stored["status"] == "success"
    assert stored["user_id"] == workshop.user
    assert stored["schedule_id"] == schedule.id
    assert (stored["agent_name"], stored["prompt"]) == ("watcher", "the news")
    notification = await workshop.row("notifications")
    assert notification["category"] == "agent_result"
    assert notification["title"] == "morning"
    assert notification["body"] == "Seen: the news"
    assert notification["run_id"] == stored["run_id"]


async def test_execute_error(workshop):
    await workshop.agent({"steps": [{"error": "the model fell over"}], "answer": ""})
    schedule = await workshop.schedule()

    outcome = await workshop.service().execute(schedule)

    answer = outcome.as_dict()
    assert answer["success"] is False
    assert "the model fell over" in answer["error"]
    stored = await workshop.row("agent_execution_results")
    assert stored["status"] == "error"
    assert "the model fell over" in stored["result_content"]
    assert stored["execution_duration_ms"] >= 0
    notification = await workshop.row("notifications")
    assert notification["category"] == "error"
    assert "the model fell over" in notification["body"]
    assert (await workshop.row("agent_runs"))["status"] == "finished"


async def test_execute_wraps_tools_with_approval(workshop):
    await workshop.agent(
        {"steps": [CALL_SEND], "answer": "{{ results[0] }}"}, tools=["look", "send"]
    )

    outcome = await workshop.service().execute(await workshop.schedule())

    assert workshop.toolbox.calls == []  # held, not run
    assert "needs the owner's approval" in outcome.content
    action = await workshop.row("pending_actions")
    assert (action["status"], action["tool_name"]) == ("pending", "send")
    assert action["arguments"] == {"to": "bob@example.com", "text": ""}
    assert action["run_id"] == outcome.run_id
    entry = await workshop.row("audit_logs")
    assert (entry["decision"], entry["outcome"]) == ("held", "not_run")
    assert entry["arguments_hash"] == action["arguments_hash"]


async def test_execute_normalizes_content_blocks(workshop):
    blocks = [
        {"type": "reasoning", "reasoning": "hm"},
        {"type": "text", "text": "Good morning."},
        {"type": "text", "text": "Two mails."},
    ]
    await workshop.agent(ANSWER)

    outcome = await workshop.service(models=_always(blocks)).execute(await workshop.schedule())

    assert "Good morning." in outcome.content
    assert "Two mails." in outcome.content
    assert "hm" not in outcome.content
    assert "type" not in outcome.content
    assert (await workshop.row("agent_execution_results"))["result_content"] == outcome.content


async def test_execute_stores_duration_ms(workshop):
    await workshop.agent({"steps": [{"sleep_ms": 120}], "answer": "Slept."})

    outcome = await workshop.service().execute(await workshop.schedule())

    stored = await workshop.row("agent_execution_results")
    assert stored["execution_duration_ms"] == outcome.duration_ms >= 120
    assert stored["metadata"]["wall_ms"] >= stored["execution_duration_ms"] - 1


async def test_execute_truncates_result_at_50000_chars(workshop):
    text = "é😀" * 30_000  # code points, not bytes nor UTF-16 units
    await workshop.agent({"steps": [], "answer": text})

    outcome = await workshop.service().execute(await workshop.schedule())

    stored = await workshop.row("agent_execution_results")
    assert stored["result_content"] == text[:RESULT_CONTENT_LIMIT] == outcome.content
    assert stored["metadata"]["truncated"] is True
    assert stored["metadata"]["original_length"] == 60_000
    assert stored["status"] == "success"
    kept = await workshop.row("result_texts")
    assert (kept["result_id"], kept["content"]) == (stored["id"], text)
    body = (await workshop.row("notifications"))["body"]
    assert len(body) == 10_000
    assert body.endswith(f"[… `rota results show {str(outcome.run_id)[:8]}` has all of it]")


async def test_no_whole_text_is_kept_of_a_result_that_was_not_cut(workshop):
    await workshop.agent({"steps": [], "answer": "x" * RESULT_CONTENT_LIMIT})

    await workshop.service().execute(await workshop.schedule())

    assert await workshop.rows("result_texts") == []


async def test_whole_text_goes_with_its_result(workshop):
    await workshop.agent({"steps": [], "answer": "x" * (RESULT_CONTENT_LIMIT + 1)})
    await workshop.service().execute(await workshop.schedule())
    assert len(await workshop.rows("result_texts")) == 1

    await workshop.owner.execute("DELETE FROM agent_execution_results")

    assert await workshop.rows("result_texts") == []


async def test_execute_notifies_pending_actions_when_count_gt_0(workshop):
    await workshop.agent({"steps": [CALL_SEND, CALL_SEND], "answer": "Asked."}, tools=["send"])

    outcome = await workshop.service().execute(await workshop.schedule())

    assert outcome.pending_actions_created == 2
    stored = await workshop.row("agent_execution_results")
    assert stored["pending_actions_created"] == 2
    categories = [n["category"] for n in await workshop.rows("notifications", "created_at, title")]
    assert sorted(categories) == ["agent_result", "approval_needed"]
    asking = next(
        n for n in await workshop.rows("notifications") if n["category"] == "approval_needed"
    )
    assert asking["metadata"]["pending_actions"] == 2


async def test_execute_skips_pending_notification_when_count_0(workshop):
    await workshop.agent({"steps": [CALL_SEND], "answer": "Asked."}, name="asker", tools=["send"])
    await workshop.agent(ANSWER)
    service = workshop.service()
    await service.execute(await workshop.schedule("asker", name="asks"))

    outcome = await service.execute(await workshop.schedule())

    # The user has a pending action, of another run: this run created none.
    assert outcome.pending_actions_created == 0
    mine = [n for n in await workshop.rows("notifications") if n["run_id"] == outcome.run_id]
    assert [n["category"] for n in mine] == ["agent_result"]


# Edge cases of the spec


async def test_unknown_agent_leaves_an_error_result_and_an_error_notification(workshop):
    outcome = await workshop.service().execute(await workshop.schedule("nobody"))

    assert outcome.status is ResultStatus.ERROR
    assert "nobody" in outcome.content
    assert (await workshop.row("agent_execution_results"))["status"] == "error"
    assert (await workshop.row("notifications"))["category"] == "error"


async def test_a_switched_off_agent_counts_as_not_found(workshop):
    await workshop.agent(ANSWER)
    await workshop.owner.execute("UPDATE agent_configurations SET is_active = false")

    outcome = await workshop.service().execute(await workshop.schedule())

    assert outcome.status is ResultStatus.ERROR


def _unwrappable(workshop, monkeypatch, *names):
    """Make GatedTool refuse some tools, as one with a schema that pydantic rejects does."""
    from rota.security.gate import tool_wrapper

    original = tool_wrapper.GatedTool.__init__

    def refuse(self, inner, context):
        if inner.name in names:
            raise TypeError(f"{inner.name} has a schema that cannot be copied")
        original(self, inner, context)

    monkeypatch.setattr(tool_wrapper.GatedTool, "__init__", refuse)


async def test_failing_to_wrap_a_reader_is_a_warning_and_the_run_goes_on(workshop, monkeypatch):
    _unwrappable(workshop, monkeypatch, "look")
    script = {
        "steps": [{"calls": [{"tool": "look", "args": {"query": "x"}}]}],
        "answer": "{{ results[0].seen }}",
    }
    await workshop.agent(script, tools=["look"])

    with capture_logs() as logs:
        outcome = await workshop.service().execute(await workshop.schedule())

    assert outcome.status is ResultStatus.SUCCESS
    assert workshop.toolbox.calls == [("look", "x")]
    assert [entry["tool"] for entry in logs if entry["event"] == "tool_wrapping_failed"] == ["look"]
    assert "without the approval system" in outcome.metadata["warnings"][0]
    assert "without the approval system" in (await workshop.row("notifications"))["body"]


async def test_a_tool_with_effects_that_cannot_be_wrapped_is_withheld(workshop, monkeypatch):
    _unwrappable(workshop, monkeypatch, "send")
    script = {"steps": [CALL_SEND], "answer": "{{ results[0] }}"}
    await workshop.agent(script, tools=["send", "look"])

    outcome = await workshop.service().execute(await workshop.schedule())

    assert outcome.status is ResultStatus.SUCCESS
    assert workshop.toolbox.calls == []
    assert "did not get send" in outcome.metadata["warnings"][0]


async def test_the_operator_may_allow_unwrapped_tools(workshop, monkeypatch):
    _unwrappable(workshop, monkeypatch, "send")
    await workshop.agent({"steps": [CALL_SEND], "answer": "{{ results[0] }}"}, tools=["send"])

    outcome = await workshop.service(unwrapped_tools="allow").execute(await workshop.schedule())

    assert workshop.toolbox.calls == [("send", "bob@example.com")]
    assert "send ran without the approval system" in outcome.metadata["warnings"][0]
    assert [
        (row["tool_name"], row["tier"], row["decision"], row["outcome"])
        for row in await workshop.rows("audit_logs", "id")
    ] == [("send", "unknown", "allowed", "started"), ("send", "unknown", "allowed", "succeeded")]


async def test_unwrapped_reader_before_the_agent_leaves_entries_too(workshop, monkeypatch):
    """A pre-check is called without the graph, and without the guard in it."""
    _unwrappable(workshop, monkeypatch, "look")
    await workshop.agent(ANSWER, tools=["look"])
    options = {"precheck": {"tool": "look", "arguments": {"query": "new"}}}

    await workshop.service().execute(await workshop.schedule(options=json.dumps(options)))

    assert workshop.toolbox.calls == [("look", "new")]
    assert [
        (row["tool_name"], row["outcome"], row["arguments"])
        for row in await workshop.rows("audit_logs", "id")
    ] == [("look", "started", {"query": "new"}), ("look", "succeeded", {"query": "new"})]


class _Unreachable(NotificationService):
    """A notification service whose table is gone: fails in the database, not in a mock."""

    async def write(self, conn, new):
        await conn.execute("INSERT INTO public.no_such_table VALUES (1)")


async def test_failing_notifications_never_cost_the_result(workshop):
    await workshop.agent(ANSWER)

    with capture_logs() as logs:
        outcome = await workshop.service(notifications=_Unreachable(workshop.database)).execute(
            await workshop.schedule()
        )

    assert outcome.status is ResultStatus.SUCCESS
    stored = await workshop.row("agent_execution_results")
    assert stored["result_content"] == "All quiet."
    assert "no_such_table" in stored["metadata"]["notification_error"]
    assert [e["log_level"] for e in logs if e["event"] == "notification_failed"] == ["warning"]
    assert await workshop.rows("notifications") == []


async def test_a_notification_that_failed_is_written_later_once(workshop):
    await workshop.agent(ANSWER)
    await workshop.service(notifications=_Unreachable(workshop.database)).execute(
        await workshop.schedule()
    )
    service = workshop.service()

    written = await asyncio.gather(*(service.write_missing_notifications() for _ in range(4)))

    assert sum(written) == 1
    assert (await workshop.row("notifications"))["body"] == "All quiet."
    assert "notification_error" not in (await workshop.row("agent_execution_results"))["metadata"]


async def test_schedule_without_a_prompt_runs_on_an_empty_one(workshop):
    await workshop.agent({"steps": [], "answer": "[{{ prompt }}]"})

    outcome = await workshop.service().execute(await workshop.schedule(prompt=None))

    assert outcome.content == "[]"
    assert (await workshop.row("agent_execution_results"))["prompt"] == ""


async def test_concurrent_executions_of_one_schedule_have_sessions_of_their_own(workshop):
    await workshop.agent(ANSWER)
    schedule = await workshop.schedule()
    service = workshop.service()

    outcomes = await asyncio.gather(*(service.execute(schedule) for _ in range(25)))

    assert len({o.session_id for o in outcomes}) == 25
    assert len(await workshop.rows("agent_execution_results")) == 25


# Meanings that the design gives to the spec's words


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"])
async def test_text_that_postgres_cannot_hold_is_stored_with_marks(workshop, text):
    await workshop.agent(ANSWER)
    models = _always(text)

    outcome = await workshop.service(models=models).execute(await workshop.schedule())

    assert outcome.content == "a\ufffdb"
    assert (await workshop.row("agent_execution_results"))["result_content"] == "a\ufffdb"
    assert (await workshop.row("notifications"))["body"] == "a\ufffdb"


def _always(content, *, forever=False, **message):
    """Models that answer with this message, once or for ever."""

    class Talker(GenericFakeChatModel):
        def bind_tools(self, tools, **kwargs):
            return self

    def build(_configuration, _now):
        return Talker(messages=(_copy(content, message, n) for n in range(1_000 if forever else 1)))

    return build


def _copy(content, message, number):
    calls = [call | {"id": f"{call['id']}-{number}"} for call in message.get("tool_calls", ())]
    return AIMessage(content, **(message | {"tool_calls": calls}))


async def test_an_answer_cut_by_the_models_limit_is_partial(workshop):
    await workshop.agent(ANSWER)
    models = _always("Half an ans", response_metadata={"stop_reason": "max_tokens"})

    outcome = await workshop.service(models=models).execute(await workshop.schedule())

    assert outcome.status is ResultStatus.PARTIAL
    assert outcome.content == "Half an ans"
    assert "stopped before it was done" in (await workshop.row("notifications"))["title"]


async def test_the_step_limit_keeps_what_was_said_as_partial(workshop):
    look = {"name": "look", "args": {"query": "x"}, "id": "1"}
    await workshop.agent(ANSWER, tools=["look"], max_steps=3)
    models = _always("Looking around.", tool_calls=[look], forever=True)

    outcome = await workshop.service(models=models).execute(await workshop.schedule())

    assert outcome.status is ResultStatus.PARTIAL
    assert "Looking around." in outcome.content
    assert "limit of 3 model calls" in outcome.metadata["stopped"]
    assert len(workshop.toolbox.calls) == 3


async def test_the_step_limit_with_nothing_said_is_an_error(workshop):
    look = {"calls": [{"tool": "look", "args": {"query": "x"}}]}
    await workshop.agent({"steps": [look] * 5, "answer": "Done."}, tools=["look"], max_steps=2)

    outcome = await workshop.service().execute(await workshop.schedule())

    assert outcome.status is ResultStatus.ERROR
    assert "limit of 2 model calls" in outcome.content


async def test_a_failing_tool_is_a_message_to_the_model(workshop):
    await workshop.agent(
        {"steps": [{"calls": [{"tool": "boom"}]}], "answer": "It said: {{ results[0] }}"},
        tools=["boom"],
    )

    outcome = await workshop.service().execute(await workshop.schedule())

    assert outcome.status is ResultStatus.SUCCESS
    assert "the tool exploded" in outcome.content
    assert (await workshop.row("audit_logs"))["outcome"] == "failed"


async def test_a_missing_account_notifies_once_and_pauses_the_schedule(workshop):
    await workshop.agent({"steps": [{"calls": [{"tool": "setup"}]}], "answer": ""}, tools=["setup"])
    schedule = await workshop.schedule()

    outcome = await workshop.service().execute(schedule)

    assert outcome.status is ResultStatus.ERROR
    assert outcome.metadata["setup_required"] == "connection:gmail"
    stored = await workshop.row("agent_schedules")
    assert stored["is_active"] is False
    by_itself = (
        "It continues by itself when the connection works again; `rota connections check gmail` "
        "tries it now."
    )
    assert stored["pause_note"] == f"Gmail is not connected. {by_itself}"
    notification = await workshop.row("notifications")
    assert notification["category"] == "error"
    for said in (outcome.content, notification["body"]):
        assert said.endswith(f"Gmail is not connected. The schedule is paused. {by_itself}")
        assert "schedules resume" not in said


async def test_a_run_that_is_over_is_not_repeated(workshop):
    await workshop.agent({"steps": [{"calls": [{"tool": "look"}]}], "answer": "x"}, tools=["look"])
    schedule = await workshop.schedule()
    service = workshop.service()
    first = await service.execute(schedule)
    async with workshop.database.connection() as conn:
        run = await fetch_run(conn, first.run_id)

    again = await service.execute(schedule, run)

    assert again.result_id == first.result_id
    assert len(workshop.toolbox.calls) == 1
    assert len(await workshop.rows("agent_execution_results")) == 1


async def test_an_attempt_that_lost_its_run_stores_nothing(workshop):
    workshop.toolbox.gate = asyncio.Event()
    await workshop.agent({"steps": [{"calls": [{"tool": "wait"}]}], "answer": "x"}, tools=["wait"])
    schedule = await workshop.schedule()
    service = workshop.service()
    stalled = asyncio.create_task(service.execute(schedule))
    while not workshop.toolbox.calls:
        await asyncio.sleep(0.01)
    run_id = (await workshop.row("agent_runs"))["id"]
    async with workshop.database.connection() as conn:
        run = await fetch_run(conn, run_id)
    workshop.toolbox.gate.set()
    other = await service.execute(schedule, run)

    with pytest.raises(FencedError):
        await stalled
    stored = await workshop.row("agent_execution_results")
    assert stored["id"] == other.result_id
    assert stored["metadata"]["attempt"] == 2
    assert len(await workshop.rows("notifications")) == 1


async def test_every_model_and_tool_call_is_journalled(workshop):
    await workshop.declare("look", reaches_outside=False)
    await workshop.agent(
        {
            "steps": [
                {
                    "calls": [
                        {"tool": "look", "args": {"query": "password=1"}},
                        {"tool": "send", "args": {"to": "b"}},
                    ]
                }
            ],
            "answer": "x",
        },
        tools=["look", "send"],
    )

    await workshop.service().execute(await workshop.schedule())

    steps = await workshop.rows("agent_run_steps", "model_step, call_index")
    assert [(s["model_step"], s["call_index"], s["kind"], s["name"], s["status"]) for s in steps][
        1:3
    ] == [(1, 0, "tool", "look", "finished"), (1, 1, "tool", "send", "held")]
    assert [s["kind"] for s in steps] == ["model", "tool", "tool", "model"]
    assert all(s["finished_at"] >= s["started_at"] for s in steps)


async def test_result_survives_the_deletion_of_its_schedule(workshop):
    await workshop.agent(ANSWER)
    schedule = await workshop.schedule()
    await workshop.service().execute(schedule)

    await workshop.owner.execute("DELETE FROM agent_schedules")

    stored = await workshop.row("agent_execution_results")
    assert stored["schedule_id"] is None
    assert stored["result_content"] == "All quiet."


async def test_agent_and_tools_are_read_afresh_for_every_run(workshop):
    await workshop.agent(ANSWER)
    schedule = await workshop.schedule()
    service = workshop.service()
    await service.execute(schedule)
    await workshop.owner.execute(
        """UPDATE agent_configurations SET script = '{"steps": [], "answer": "Changed."}'"""
    )

    outcome = await service.execute(schedule)

    assert outcome.content == "Changed."


async def test_a_database_that_is_gone_is_an_error_not_a_lost_run(workshop):
    await workshop.agent(ANSWER)
    schedule = await workshop.schedule()
    await workshop.owner.execute("ALTER TABLE agent_execution_results RENAME TO gone")

    with pytest.raises(StatementError):
        await workshop.service().execute(schedule)

    # Nothing says that it finished: another attempt may take it.
    assert (await workshop.row("agent_runs"))["status"] == "running"


@pytest.mark.parametrize("ids", [[None, None], ["", ""], ["same", "same"]])
async def test_calls_whose_ids_are_missing_or_repeated_all_run(workshop, ids):
    await workshop.agent(ANSWER, tools=["look"])
    calls = [{"name": "look", "args": {"query": str(n)}, "id": id_} for n, id_ in enumerate(ids)]

    class Talker(GenericFakeChatModel):
        def bind_tools(self, tools, **kwargs):
            return self

    def models(_configuration, _now):
        return Talker(messages=iter([AIMessage("", tool_calls=calls), AIMessage("Done.")]))

    outcome = await workshop.service(models=models).execute(await workshop.schedule())

    assert (outcome.status, outcome.content) == (ResultStatus.SUCCESS, "Done.")
    assert sorted(workshop.toolbox.calls) == [("look", "0"), ("look", "1")]
    steps = [s for s in await workshop.rows("agent_run_steps") if s["kind"] == "tool"]
    assert len(steps) == 2


async def test_arguments_nested_too_deeply_are_a_message_to_the_model(workshop):
    await workshop.agent(ANSWER, tools=["look"])
    deep: dict[str, object] = {}
    for _ in range(900):
        deep = {"a": deep}
    call = {"name": "look", "args": {"query": deep}, "id": "1"}

    class Talker(GenericFakeChatModel):
        def bind_tools(self, tools, **kwargs):
            return self

    def models(_configuration, _now):
        return Talker(messages=iter([AIMessage("", tool_calls=[call]), AIMessage("Done.")]))

    outcome = await workshop.service(models=models).execute(await workshop.schedule())

    assert outcome.status is ResultStatus.SUCCESS
    assert workshop.toolbox.calls == []
