"""What the providers' real clients make of bodies and streams that are no answer."""

import pytest
from langchain_core.tools import tool

from rota.agents.models.answers import ANSWER_WATCH, trusted
from rota.agents.models.failures import classify_model_error
from rota.domain.agents.message_content import is_blank
from tests.loopback.model_server import Fails, Raw
from tests.unit.agents.test_models_over_http import every_provider, model_of, server_of

SSE = "text/event-stream"


@tool
def look(query: str) -> str:
    """Look something up."""
    return query


async def failure_of(api, reply, *, stream=False):
    """Return how an answer failed, or the answer."""
    with server_of(api, reply) as server:
        model = model_of(api, server, stream=stream).bind_tools([look])
        try:
            return await trusted(
                model.ainvoke("Hello", {"callbacks": [ANSWER_WATCH]}), lambda answer: [answer]
            )
        except Exception as error:  # noqa: BLE001 -- the providers' own classes
            return classify_model_error(error)


BODIES = {
    "nothing": Raw(""),
    "null": Raw("null"),
    "a list": Raw("[]"),
    "a text": Raw('"x"'),
    "an object of nothing": Raw("{}"),
    "HTML": Raw("<html>502 Bad Gateway</html>", "text/html"),
    "half a body": Raw('{"choices": [{"mess'),
    "an error without a code": Raw('{"error": "upstream"}'),
    "choices of null": Raw('{"choices": [null]}'),
    "no message": Raw('{"choices": [{"index": 0, "finish_reason": "stop"}]}'),
    "empty choices": Raw('{"choices": []}'),
    "a stream that was not asked for": Raw('data: {"choices": []}\n\n', SSE),
    "content of a number": Raw('{"choices": [{"message": {"role": "assistant", "content": 5}}]}'),
}
STREAMS = {
    "nothing": Raw("", SSE),
    "only the end": Raw("data: [DONE]\n\n", SSE),
    "null": Raw("data: null\n\n", SSE),
    "half a chunk": Raw('data: {"choices": [{"mess\n\n', SSE),
    "a chunk without choices": Raw('data: {"id": "x", "choices": null}\n\ndata: [DONE]\n\n', SSE),
    "a body that is no stream": Raw('{"choices": []}'),
    "an error without a code": Raw('data: {"error": {"message": "upstream"}}\n\n', SSE),
    "HTML": Raw("<html>502 Bad Gateway</html>", "text/html"),
}


@every_provider
@pytest.mark.parametrize("name", BODIES)
async def test_body_that_is_no_answer_is_unavailable(api, name):
    failure = await failure_of(api, BODIES[name])

    assert failure.kind == "unavailable"
    assert (failure.worth_retrying, failure.worth_another_model) == (True, True)


@every_provider
@pytest.mark.parametrize("name", STREAMS)
async def test_stream_that_is_no_answer_is_unavailable(api, name):
    failure = await failure_of(api, STREAMS[name], stream=True)

    assert failure.kind == "unavailable"
    assert failure.worth_retrying


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("429", "rate_limit"),
        ('"429"', "rate_limit"),
        ("502", "unavailable"),
        ("402", "quota"),
        ("401", "authentication"),
        ("408", "timeout"),
        ('"insufficient_quota"', "quota"),
        ('"server_error"', "unavailable"),
        ('"what_nobody_knows"', "unavailable"),
        ("null", "unavailable"),
        ("0", "unavailable"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_error_within_status_200_is_what_its_code_says(api, code, kind, stream):
    error = f'{{"message": "Provider returned error", "code": {code}}}'
    body = Raw(f'{{"id": null, "choices": null, "error": {error}}}')
    chunk = Raw(f'data: {{"error": {error}}}\n\n', SSE)

    failure = await failure_of(api, chunk if stream else body, stream=stream)

    assert failure.kind == kind
    assert "Provider returned error" in failure.message


async def test_an_error_of_a_choice_is_unavailable():
    """So OpenRouter ends an answer whose provider failed on the way."""
    failure = await failure_of(
        "chat",
        Raw(
            '{"choices": [{"message": {"role": "assistant", "content": "Half"}, "finish_reason":'
            ' "error", "error": {"code": 502, "message": "upstream"}}]}'
        ),
    )
    assert failure.kind == "unavailable"


@every_provider
async def test_address_that_was_asked_is_named_without_its_secrets(api, monkeypatch):
    with server_of(api, Fails(404, "not_found_error", "Not Found")) as server:
        url = server.url.replace("http://", "http://alice:s3cret@")
        monkeypatch.setattr(type(server), "url", url)
        with pytest.raises(Exception) as caught:  # noqa: PT011 -- the providers' own classes
            await model_of(api, server).ainvoke("Hello")
    message = classify_model_error(caught.value).message

    assert f"It was asked for at {server.origin}/" in message
    assert "s3cret" not in message


async def test_what_fails_before_the_model_is_asked_is_no_answer():
    async def fail():
        raise KeyError("a fault of one's own")

    with pytest.raises(KeyError):
        await trusted(fail(), lambda answer: [answer])


@pytest.mark.parametrize(("text", "blank"), [("", True), (" \n\u200b\u00a0", True), ("0", False)])
def test_blank_texts(text, blank):
    assert is_blank(text) is blank
