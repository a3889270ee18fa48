"""A loopback server that speaks Anthropic's messages API."""

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


class AnthropicServer(ModelServer):
    """`blocks` of a reply are content blocks: thinking, text with citations, server tools."""

    paths = ("/v1/messages",)

    @property
    def url(self) -> str:
        return self.origin

    def error(self, reply: Fails) -> dict[str, Any]:
        fields = {"type": reply.type, "message": reply.message}
        return {"type": "error", "error": fields, "request_id": "req_0"}

    def answer(self, request: Request, reply: Says) -> dict[str, Any]:
        return _message(request, _content(request, reply), _stop(reply), _usage(reply))

    def events(self, request: Request, reply: Says | FailsMidStream) -> Iterator[tuple[str, Any]]:
        said = reply if isinstance(reply, Says) else Says("Half an ans")
        begun = {"input_tokens": said.input_tokens, "output_tokens": 1}
        started = _message(request, [], None, begun)
        yield "message_start", {"type": "message_start", "message": started}
        yield "ping", {"type": "ping"}
        for index, block in enumerate(_content(request, said)):
            start, deltas = _parts(block)
            at = {"index": index}
            yield (
                "content_block_start",
                {"type": "content_block_start", **at, "content_block": start},
            )
            for delta in deltas:
                yield "content_block_delta", {"type": "content_block_delta", **at, "delta": delta}
            yield "content_block_stop", {"type": "content_block_stop", **at}
        if isinstance(reply, FailsMidStream):
            failure = {"type": reply.type, "message": reply.message}
            yield "error", {"type": "error", "error": failure}
            return
        if not said.ends:
            return
        ended = {"stop_reason": _stop(said), "stop_sequence": None}
        yield "message_delta", {"type": "message_delta", "delta": ended, "usage": _usage(said)}
        yield "message_stop", {"type": "message_stop"}


def _message(
    request: Request, content: list[dict[str, Any]], stop: str | None, usage: dict[str, int]
) -> dict[str, Any]:
    return {
        "id": f"msg_{request.number}",
        "type": "message",
        "role": "assistant",
        "model": request.body["model"],
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": usage,
    }


def _content(request: Request, reply: Says) -> list[dict[str, Any]]:
    content = [dict(block) for block in reply.blocks]
    if reply.text:
        content.append({"type": "text", "text": reply.text})
    content += [
        {"type": "tool_use", "id": f"toolu_{request.number}_{index}", "name": name, "input": args}
        for index, (name, args) in enumerate(reply.calls)
    ]
    return content


def _usage(reply: Says) -> dict[str, int]:
    return {"input_tokens": reply.input_tokens, "output_tokens": reply.output_tokens}


def _stop(reply: Says) -> str:
    if reply.finish is not None:
        return reply.finish
    return "max_tokens" if reply.cut else "tool_use" if reply.calls else "end_turn"


def _parts(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return how a stream begins a block, and what follows."""
    match block["type"]:
        case "text":
            cited = [
                {"type": "citations_delta", "citation": c} for c in block.get("citations") or ()
            ]
            said = [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
            empty = {"citations": []} if "citations" in block else {}
            return {"type": "text", "text": "", **empty}, [*said, *cited]
        case "thinking":
            thought = [
                {"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])
            ]
            signed = {"type": "signature_delta", "signature": block["signature"]}
            return {"type": "thinking", "thinking": "", "signature": ""}, [*thought, signed]
        case "tool_use" | "server_tool_use":
            parts = pieces(written(block["input"]))
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in parts]
            return {**block, "input": {}}, deltas
        case _:
            return block, []
