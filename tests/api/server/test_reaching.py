"""Under which names, and through which proxies, a server is reached."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys

import pytest

from tests.api.server.conftest import Connection, ask, status_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240), pytest.mark.long]

STRICT = (
    b"content-security-policy: default-src 'none'",
    b"frame-ancestors 'none'",
    b"x-content-type-options: nosniff",
    b"referrer-policy: no-referrer",
    b"cross-origin-opener-policy: same-origin",
    b"cross-origin-resource-policy: same-origin",
    b"cache-control: no-store",
)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


async def get(served, path, *headers):
    one = await Connection.to(served)
    lines = "".join(f"{header}\r\n" for header in headers)
    await one.send(f"GET {path} HTTP/1.1\r\n{lines}Connection: close\r\n\r\n")
    return await one.rest()


async def test_pages_of_other_names_get_nothing(serve):
    served = serve()
    for name in (f"127.0.0.1:{served.port}", f"localhost:{served.port}", f"[::1]:{served.port}"):
        assert status_of(await get(served, "/api/v1/session", f"Host: {name}")) == 401
    for name in ("evil.example", f"evil.example:{served.port}", "127.0.0.1", "localhost:1", ""):
        refused = await get(served, "/api/v1/session", f"Host: {name}")
        assert status_of(refused) == 421
        assert b"urn:rota:problem:unknown-host" in refused
    for path in ("/healthz", "/readyz"):
        assert status_of(await get(served, path, "Host: 10.0.0.7")) in {200, 503}


async def test_forwarded_requests_are_refused_unless_the_proxy_is_trusted(serve):
    served = serve()
    for header in (
        "X-Forwarded-For: 10.0.0.1",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: rota.example.com",
        "Forwarded: for=10.0.0.1",
    ):
        refused = await ask(served, "/", f"{header}\r\n")
        assert status_of(refused) == 400
        assert b"ROTA_TRUSTED_PROXIES" in refused


async def test_behind_a_trusted_proxy_only_the_public_name_counts(serve):
    served = serve(
        ROTA_LISTEN=f"127.0.0.1:{free_port()}",
        ROTA_PUBLIC_URL="https://rota.example.com",
        ROTA_TRUSTED_PROXIES="127.0.0.1",
    )
    through = ("X-Forwarded-For: 10.0.0.1", "X-Forwarded-Proto: https")
    answered = await get(served, "/", "Host: rota.example.com", *through)
    assert status_of(answered) == 200
    assert b"strict-transport-security: max-age=" in answered.lower()
    # Whoever is behind the proxy is not at this machine.
    assert status_of(await get(served, "/", f"Host: {served.host}", *through)) == 421
    local = await get(served, "/", f"Host: {served.host}")
    assert status_of(local) == 200
    assert b"strict-transport-security" not in local.lower()


async def test_wrong_tokens_count_for_the_client_and_not_for_its_proxy(serve):
    served = serve(
        ROTA_LISTEN=f"127.0.0.1:{free_port()}",
        ROTA_PUBLIC_URL="https://rota.example.com",
        ROTA_TRUSTED_PROXIES="127.0.0.1",
    )

    async def guess(client: str) -> int:
        return status_of(
            await get(
                served,
                "/api/v1/session",
                "Host: rota.example.com",
                f"X-Forwarded-For: 6.6.6.6, {client}",  # what the client itself wrote comes first
                "Authorization: Bearer rota_guess",
            )
        )

    assert {await guess("10.0.0.1") for _ in range(30)} == {401}
    assert await guess("10.0.0.1") == 429
    assert await guess("10.0.0.2") == 401


async def test_every_answer_has_strict_headers_and_none_names_the_server(serve):
    served = serve()
    for path, head in (
        ("/", ""),
        ("/healthz", ""),
        ("/readyz", ""),
        ("/nowhere", ""),
        ("/api/v1/session", ""),
        ("/api/v1/openapi.json", ""),
        ("/", "X-Forwarded-For: 1.2.3.4\r\n"),
        ("/", f"X-Large: {'a' * 64_000}\r\n"),
    ):
        answered = (await ask(served, path, head)).lower()
        for header in STRICT:
            assert header in answered, (path, header)
        assert b"\r\nserver:" not in answered
        assert b"access-control-allow" not in answered


async def test_a_browser_is_led_to_where_a_person_signs_in(serve):
    served = serve()
    led = await ask(served, "/", "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n")
    assert status_of(led) == 303
    assert b"\r\nlocation: /sign-in\r\n" in led.lower()
    for accepted in ("", "Accept: */*\r\n", "Accept: application/json\r\n"):
        told = await ask(served, "/", accepted)
        assert status_of(told) == 200
        assert b'"api":"/api/v1"' in told


async def test_no_other_site_is_let_in_by_cors(serve):
    served = serve()
    asked = "Origin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\n"
    answered = await ask(served, "/api/v1/session", asked, method="OPTIONS")
    assert status_of(answered) == 405
    assert b"access-control" not in answered.lower()


async def test_readiness_says_that_no_scheduler_looks(serve, database):
    served = serve()
    silent = await ask(served, "/readyz")
    assert status_of(silent) == 503
    assert b"No scheduler is running." in silent
    async with database.connection() as conn:
        await conn.execute(
            "INSERT INTO rota.processes (id, kind, host, pid, version, ticked_at)"
            " VALUES (gen_random_uuid(), 'scheduler', 'den', 7, '0',"
            " now() - interval '2 minutes')"
        )
    while b"No scheduler has looked at the clock in time." not in (await ask(served, "/readyz")):
        await asyncio.sleep(0.3)
    async with database.connection() as conn:
        await conn.execute("UPDATE rota.processes SET ticked_at = now() WHERE kind = 'scheduler'")
    while status_of(ready := await ask(served, "/readyz")) != 200:
        await asyncio.sleep(0.3)
    assert b"den" not in ready


async def test_log_has_neither_requests_nor_tokens(serve):
    served = serve(ROTA_LOG_LEVEL="debug")
    await ask(
        served, "/api/v1/session?token=rota_secret1", "Authorization: Bearer rota_secret2\r\n"
    )
    served.process.terminate()
    _, said = await asyncio.to_thread(served.process.communicate)
    assert "secret1" not in said
    assert "secret2" not in said
    assert served.process.returncode == 0


@pytest.mark.parametrize(
    ("settings", "code", "said"),
    [
        ({"ROTA_LISTEN": "0.0.0.0:0"}, 6, "nobody could sign in there"),
        ({"ROTA_LISTEN": "0.0.0.0:0"}, 6, "by a provider first"),
        ({"ROTA_PUBLIC_URL": "https://rota.example.com"}, 6, "ROTA_TRUSTED_PROXIES"),
        ({"ROTA_PUBLIC_URL": "http://rota.lan"}, 6, "ROTA_PLAIN_HTTP"),
        ({"ROTA_LISTEN": "192.0.2.1:0"}, 6, "nobody could sign in there"),
        ({"ROTA_LISTEN": "127.0.0.1"}, 2, "an address of this machine and a port"),
        ({"ROTA_TRUSTED_PROXIES": "everybody"}, 2, "an address or a network"),
    ],
)
def test_what_is_not_safe_does_not_start(settings, code, said):
    done = subprocess.run(
        [sys.executable, "-m", "rota", "serve", "--database-url", "postgresql://localhost:1/x"],
        env={"PATH": "", **settings, "PYTHONPATH": ":".join(sys.path), "ROTA_CONFIG": "/dev/null"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert said in done.stderr
    assert len(done.stderr.splitlines()) <= 3


def test_a_port_that_is_taken_is_a_sentence():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-m", "rota", "serve", "--listen", address],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 4
    assert done.stderr.startswith(f"Another program listens on {address}.")
    said = " ".join(done.stderr.split())
    assert "`rota down` stops your own rota" in said
    assert "`rota serve --listen`" in said
