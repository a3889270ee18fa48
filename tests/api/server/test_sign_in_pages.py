"""The page of one-time links, from a real server: strict, and silent about its secrets."""

from __future__ import annotations

import re
import shutil
import subprocess

import httpx
import pytest

from rota.domain.identity.scopes import ALL_SCOPES
from rota.services.identity.links import LinkService
from rota.services.identity.sessions import SessionService
from rota.services.identity.tokens import TokenService
from tests.services.harness import clock


@pytest.fixture
def links(database):
    return LinkService(database, clock=clock)


@pytest.fixture
def tokens(database):
    return TokenService(database, clock=clock)


async def test_page_is_strict_and_has_no_script_of_its_own(serve):
    async with httpx.AsyncClient(base_url=f"http://{serve().host}") as browser:
        page = await browser.get("/sign-in")
        script = await browser.get("/sign-in.js")

    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert re.findall(r"<script[^>]*>", page.text) == ['<script src="/sign-in.js" defer>']
    assert re.search(r"\son\w+=|style=|javascript:", page.text) is None
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["x-frame-options"] == "DENY"
    assert script.headers["content-type"].startswith("text/javascript")
    assert script.headers["x-content-type-options"] == "nosniff"
    assert "innerHTML" not in script.text
    assert "location.search" not in script.text
    assert '<meta name="color-scheme" content="light dark">' in page.text


async def test_no_log_of_the_server_has_a_secret(serve, alice, links, tokens):
    """Not even one that was sent where it does not belong: into the URL."""
    served = serve(ROTA_LOG_LEVEL="debug")
    token = (await tokens.create(alice, "ci", ALL_SCOPES, lasts=None)).secret
    link = await links.make(alice)
    async with httpx.AsyncClient(base_url=f"http://{served.host}/api/v1") as browser:
        by = {"Authorization": f"Bearer {token}"}
        assert (await browser.get("/session", headers=by)).status_code == 200
        assert (await browser.get("/session", params={"token": token})).status_code in {401, 422}
        assert (await browser.get(f"/runs/{token}", headers=by)).status_code == 404
        assert (await browser.get("/none", params={"token": token})).status_code == 404
        assert (await browser.post("/session", content=b"{", headers=by)).status_code >= 400
        assert (await browser.post("/session", json={"code": link.code})).status_code == 201
        assert (await browser.post("/session", json={"code": link.code})).status_code == 401
        (cookie,) = browser.cookies.values()
        assert (await browser.get("/session")).status_code == 200
    served.process.terminate()
    said = served.process.stderr.read()
    served.process.wait()

    for secret in (token, link.code, cookie):
        assert secret not in said
        assert secret.removeprefix("rota_")[:20] not in said


async def test_link_works_with_curl_as_the_page_on_signing_in_says(serve, alice, links, tmp_path):
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    served = serve()
    link = await links.make(alice)
    jar = tmp_path / "cookies"

    def curl(*arguments):
        return subprocess.run(
            ["curl", "-sS", "-b", jar, "-c", jar, *arguments],
            capture_output=True,
            text=True,
            check=False,
        ).stdout

    where = f"http://{served.host}/api/v1/session"
    told = curl("-H", "Content-Type: application/json", "-d", f'{{"code": "{link.code}"}}', where)
    assert '"email":"alice@example.com"' in told
    assert '"signed_in_by":"session"' in curl(where)


@pytest.mark.browser
async def test_link_signs_in_at_a_browser(serve, database, alice, links, tmp_path):
    chromium = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("needs Chromium")
    served = serve()
    link = await links.make(alice)

    def shown(url):
        return subprocess.run(
            [
                chromium,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                f"--user-data-dir={tmp_path / 'profile'}",
                "--virtual-time-budget=20000",
                "--dump-dom",
                url,
            ],
            check=False,
            capture_output=True,
            text=True,
            timeout=100,
        ).stdout

    assert "Type <code>rota sign-in</code> on rota's machine" in shown(
        f"http://{served.host}/sign-in"
    )
    assert "You are signed in as alice@example.com. You can close this page." in shown(
        link.url(f"http://{served.host}")
    )
    assert "You are signed in as alice@example.com." in shown(f"http://{served.host}/sign-in")
    assert "does not sign in any more" in shown(link.url(f"http://{served.host}"))
    sessions = await SessionService(database, clock=clock).all(alice)
    assert len(sessions) == 1
    assert "Chrome" in sessions[0].user_agent
