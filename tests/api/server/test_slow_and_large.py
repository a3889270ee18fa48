"""A client that is slow, greedy or odd is bounded, and others go on."""

from __future__ import annotations

import asyncio

import pytest

from tests.api.server.conftest import Connection, ask, status_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240), pytest.mark.long]


def posting(served, more: str) -> str:
    return (
        f"POST /api/v1/session HTTP/1.1\r\nHost: {served.host}\r\n"
        f"Content-Type: application/json\r\n{more}\r\n"
    )


async def test_who_sends_nothing_or_too_slowly_is_ended_while_others_go_on(serve):
    served = serve()
    nothing, head, body, chunks = [await Connection.to(served) for _ in range(4)]
    await head.send(f"GET /healthz HTTP/1.1\r\nHost: {served.host}\r\n")
    await body.send(posting(served, "Content-Length: 1000\r\n"))
    await chunks.send(posting(served, "Transfer-Encoding: chunked\r\n"))
    ending = asyncio.gather(
        nothing.rest(),
        head.trickle(b"X-Slow: 1\r\n", 0.5),
        body.trickle(b" ", 0.5),
        chunks.trickle(b"1\r\n \r\n", 0.5),
    )
    while not ending.done():
        assert status_of(await ask(served)) == 200
        await asyncio.wait({ending}, timeout=1)

    for answered in await ending:
        assert status_of(answered) == 408
        assert b"urn:rota:problem:too-slow" in answered
        assert b"connection: close" in answered.lower()
        assert b"x-content-type-options: nosniff" in answered.lower()


async def test_a_body_after_an_early_answer_is_not_taken_for_ever(serve):
    served = serve()
    one = await Connection.to(served)
    # Nothing reads this body: the answer is there at once.
    await one.send(
        f"GET /healthz HTTP/1.1\r\nHost: {served.host}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    answered = await one.trickle(b"1\r\n \r\n", 0.5)
    assert answered.count(b"HTTP/1.1") == 1
    assert status_of(answered) == 200


async def test_who_does_not_read_a_long_answer_is_ended(serve):
    served = serve()
    # Many requests at once, whose answers are not read: more than the system's buffers take.
    one = await Connection.to(served)
    asked = f"GET /api/v1/openapi.json HTTP/1.1\r\nHost: {served.host}\r\n\r\n".encode()

    async def ask_for_more() -> None:
        while True:
            await one.send(asked * 20)

    asking = asyncio.create_task(ask_for_more())
    while not asking.done():
        assert status_of(await ask(served)) == 200
        await asyncio.wait({asking}, timeout=2)
    assert isinstance(asking.exception(), ConnectionError)


async def test_a_thousand_connections_that_wait_give_way_to_whoever_asks(serve):
    served = serve()
    waiting = [await Connection.to(served) for _ in range(1_050)]
    for _ in range(20):
        assert status_of(await ask(served)) == 200
    for one in waiting:
        one.writer.close()


async def test_a_large_body_is_refused_before_it_is_read(serve):
    served = serve()
    one = await Connection.to(served)
    await one.send(posting(served, "Content-Length: 100000000\r\nExpect: 100-continue\r\n"))
    answered = await one.reader.readuntil(b"\r\n\r\n")
    assert status_of(answered) == 413  # and no 100 Continue before it
    one.writer.close()


async def test_a_chunked_body_without_end_is_refused_at_its_limit(serve):
    served = serve()
    one = await Connection.to(served)
    await one.send(posting(served, "Transfer-Encoding: chunked\r\n"))
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    sent = 0
    answering = asyncio.ensure_future(one.reader.readuntil(b"\r\n\r\n"))
    while not answering.done():
        await one.send(chunk)
        sent += 65_536
        await asyncio.sleep(0)
        assert sent < 50_000_000
    assert status_of(await answering) == 413
    one.writer.close()


@pytest.mark.parametrize("count", [1, 1_000])
async def test_large_heads_are_refused(serve, count):
    served = serve()
    head = "".join(f"X-{n}: {'a' * (64_000 // count)}\r\n" for n in range(count))
    answered = await ask(served, head=head)
    assert status_of(answered) == 431
    assert b"urn:rota:problem:headers-too-large" in answered
    assert status_of(await ask(served, path="/" + "a" * 20_000)) == 431
    assert status_of(await ask(served)) == 200


async def test_old_and_pipelined_requests_are_answered(serve):
    served = serve()
    old = await Connection.to(served)
    await old.send(f"GET /healthz HTTP/1.0\r\nHost: {served.host}\r\n\r\n")
    assert status_of(await old.rest()) == 200

    many = await Connection.to(served)
    one = f"GET /healthz HTTP/1.1\r\nHost: {served.host}\r\n"
    await many.send(f"{one}\r\n" * 49 + f"{one}Connection: close\r\n\r\n")
    assert (await many.rest()).count(b"HTTP/1.1 200") == 50


@pytest.mark.parametrize(
    "odd",
    [
        "NONSENSE\r\n\r\n",
        "GET /healthz HTTP/1.1\r\n\r\n",  # no Host
        "GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "GET /healthz HTTP/9.9\r\nHost: a\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: a\r\nX\0: 1\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",  # a client that speaks TLS
    ],
)
async def test_what_is_no_http_is_refused_as_a_problem(serve, odd):
    served = serve()
    one = await Connection.to(served)
    await one.send(odd)
    answered = await one.rest()
    assert status_of(answered) in {400, 505}
    assert b"application/problem+json" in answered
    assert b"content-security-policy: default-src 'none'" in answered.lower()
    assert b"server:" not in answered.lower()
    assert status_of(await ask(served)) == 200


async def test_it_ends_in_good_order_though_clients_wait(serve):
    served = serve()
    waiting = [await Connection.to(served) for _ in range(10)]
    await waiting[0].send(f"GET /healthz HTTP/1.1\r\nHost: {served.host}\r\n")
    await waiting[1].send(posting(served, "Content-Length: 1000\r\n"))
    served.process.terminate()
    for one in waiting:
        await one.rest()
    _, said = await asyncio.to_thread(served.process.communicate)
    assert served.process.returncode == 0
    assert "Traceback" not in said
    assert "[error]" not in said
