"""A loopback server that speaks OpenAI's chat completions and responses APIs."""

from collections.abc import Iterator
from typing import Any

from tests.loopback.model_server import (
    Fails,
    FailsMidStream,
    ModelServer,
    Request,
    Says,
    pieces,
    written,
)


class OpenAIServer(ModelServer):
    """`blocks` of a reply are output items of the responses API; a reply's calls get ids."""

    paths = ("/v1/chat/completions", "/v1/responses")

    @property
    def url(self) -> str:
        return f"{self.origin}/v1"

    def error(self, reply: Fails) -> dict[str, Any]:
        fields = {"message": reply.message, "type": reply.type, "param": None, "code": reply.code}
        return {"error": fields}

    def answer(self, request: Request, reply: Says) -> dict[str, Any]:
        if request.path.endswith("/responses"):
            return _response(request, reply, _output(request, reply))
        message: dict[str, Any] = {"role": "assistant", "content": reply.text or None}
        if reply.refusal:
            message["refusal"] = reply.refusal
        if reply.calls:
            message["tool_calls"] = _calls(request, reply)
        choice = {"index": 0, "message": message, "finish_reason": _finish(reply), "logprobs": None}
        return {
            "id": f"chatcmpl-{request.number}",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": request.body["model"],
            "choices": [choice],
            "usage": _usage(reply),
        }

    def events(self, request: Request, reply: Says | FailsMidStream) -> Iterator[tuple[str, Any]]:
        if request.path.endswith("/responses"):
            yield from _response_events(request, reply)
        else:
            yield from _completion_events(request, reply)


def _calls(request: Request, reply: Says) -> list[dict[str, Any]]:
    return [
        {
            "id": f"call_{request.number}_{index}",
            "type": "function",
            "function": {"name": name, "arguments": written(args)},
        }
        for index, (name, args) in enumerate(reply.calls)
    ]


def _usage(reply: Says) -> dict[str, int]:
    given, said = reply.input_tokens, reply.output_tokens
    return {"prompt_tokens": given, "completion_tokens": said, "total_tokens": given + said}


def _finish(reply: Says) -> str:
    if reply.finish is not None:
        return reply.finish
    return "length" if reply.cut else "tool_calls" if reply.calls else "stop"


def _completion_events(request: Request, reply: Says | FailsMidStream) -> Iterator[tuple[str, Any]]:
    base = {
        "id": f"chatcmpl-{request.number}",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": request.body["model"],
    }

    def chunk(delta: dict[str, Any], finish: str | None = None) -> tuple[str, Any]:
        return "", {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    yield chunk({"role": "assistant", "content": ""})
    if isinstance(reply, FailsMidStream):
        yield chunk({"content": "Half an ans"})
        yield "", {"error": {"message": reply.message, "type": reply.type, "code": reply.type}}
        return
    for piece in pieces(reply.text):
        yield chunk({"content": piece})
    for piece in pieces(reply.refusal):
        yield chunk({"refusal": piece})
    for index, call in enumerate(_calls(request, reply)):
        arguments = call["function"].pop("arguments")
        call["function"]["arguments"] = ""
        yield chunk({"tool_calls": [{"index": index, **call}]})
        for piece in pieces(arguments):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    if reply.ends:
        yield chunk({}, _finish(reply))
        if (request.body.get("stream_options") or {}).get("include_usage"):
            yield "", {**base, "choices": [], "usage": _usage(reply)}
    yield "", "[DONE]"


def _output(request: Request, reply: Says) -> list[dict[str, Any]]:
    items = [dict(block) for block in reply.blocks]
    if reply.text:
        text = {"type": "output_text", "text": reply.text, "annotations": []}
        items.append(_message(f"msg_{request.number}", [text]))
    items += [
        {
            "type": "function_call",
            "id": f"fc_{request.number}_{index}",
            "call_id": f"call_{request.number}_{index}",
            "name": name,
            "arguments": written(args),
            "status": "completed",
        }
        for index, (name, args) in enumerate(reply.calls)
    ]
    return items


def _message(name: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "type": "message",
        "id": name,
        "role": "assistant",
        "status": "completed",
        "content": content,
    }


def _response(request: Request, reply: Says, output: list[dict[str, Any]]) -> dict[str, Any]:
    reason = "max_output_tokens" if reply.cut else reply.finish
    given, said = reply.input_tokens, reply.output_tokens
    return {
        "id": f"resp_{request.number}",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": "incomplete" if reason else "completed",
        "incomplete_details": {"reason": reason} if reason else None,
        "error": None,
        "instructions": None,
        "metadata": {},
        "model": request.body["model"],
        "output": output,
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": {
            "input_tokens": given,
            "output_tokens": said,
            "total_tokens": given + said,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        },
    }


def _response_events(request: Request, reply: Says | FailsMidStream) -> Iterator[tuple[str, Any]]:
    number = iter(range(10_000))

    def event(kind: str, **fields: Any) -> tuple[str, Any]:
        return kind, {"type": kind, "sequence_number": next(number), **fields}

    said = reply if isinstance(reply, Says) else Says("Half an ans")
    started = {**_response(request, said, []), "status": "in_progress", "usage": None}
    yield event("response.created", response=started)
    output = _output(request, said)
    for index, item in enumerate(output):
        place = {"output_index": index, "item_id": item["id"]}
        if item["type"] == "message":
            yield event(
                "response.output_item.added", output_index=index, item=_message(item["id"], [])
            )
            for part_index, part in enumerate(item["content"]):
                at = {**place, "content_index": part_index}
                for kind, fields in _part_events(part):
                    yield event(f"response.{kind}", **at, **fields)
        elif item["type"] == "function_call":
            added = {**item, "arguments": "", "status": "in_progress"}
            yield event("response.output_item.added", output_index=index, item=added)
            for piece in pieces(item["arguments"]):
                yield event("response.function_call_arguments.delta", **place, delta=piece)
            yield event(
                "response.function_call_arguments.done", **place, arguments=item["arguments"]
            )
        else:
            yield event("response.output_item.added", output_index=index, item=item)
        yield event("response.output_item.done", output_index=index, item=item)
    for kind, fields in _ending(request, reply, said, output):
        yield event(kind, **fields)


def _part_events(part: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what a stream has of one part of a message."""
    if part["type"] == "refusal":
        yield "content_part.added", {"part": {**part, "refusal": ""}}
        yield "refusal.delta", {"delta": part["refusal"]}
        yield "refusal.done", {"refusal": part["refusal"]}
    else:
        yield "content_part.added", {"part": {**part, "text": "", "annotations": []}}
        for piece in pieces(part["text"]):
            yield "output_text.delta", {"delta": piece, "logprobs": []}
        for index, note in enumerate(part["annotations"]):
            added = {"annotation_index": index, "annotation": note}
            yield "output_text.annotation.added", added
        yield "output_text.done", {"text": part["text"], "logprobs": []}
    yield "content_part.done", {"part": part}


def _ending(
    request: Request, reply: Says | FailsMidStream, said: Says, output: list[dict[str, Any]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the last event of a response, if it has one."""
    if isinstance(reply, FailsMidStream):
        yield "error", {"code": reply.type, "message": reply.message, "param": None}
    elif said.ends:
        ended = _response(request, said, output)
        yield f"response.{ended['status']}", {"response": ended}
