"""docs/howto/sign-in.md, By OpenID Connect: typed at a real server and npm's oidc-provider."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.loopback.oidc_provider import oidc_provider, sign_in_at, why_missing

pytestmark = pytest.mark.oidc

PAGE = (Path(__file__).parents[3] / "docs/howto/sign-in.md").read_text("utf-8")
SECTION = PAGE.partition("## By OpenID Connect")[2].partition("\n## ")[0]
PRINTED_ISSUER, PRINTED_SUBJECT = "https://login.example.com", "3f6c"


def free_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


async def test_person_signs_in_as_the_page_says(serve, owner_url, database_url, tmp_path):
    if (reason := why_missing()) is not None:
        pytest.skip(reason)
    port = free_port()
    here = f"http://127.0.0.1:{port}"
    with oidc_provider(f"{here}/sign-in/oidc/callback") as issuer:
        settings = dict(re.findall(r"^(ROTA_OIDC_\w+)=(\S+)", SECTION, re.MULTILINE))
        assert list(settings) == [
            "ROTA_OIDC_ISSUER",
            "ROTA_OIDC_CLIENT_ID",
            "ROTA_OIDC_CLIENT_SECRET",
        ]
        assert settings["ROTA_OIDC_ISSUER"] == PRINTED_ISSUER
        settings["ROTA_OIDC_ISSUER"] = issuer
        settings["ROTA_OIDC_CLIENT_SECRET"] = "s3cret: with/odd+signs%"

        def type_line(line):
            done = subprocess.run(
                [sys.executable, "-m", *shlex.split(line)],
                env=os.environ | {"ROTA_DATABASE_URL": database_url, "ROTA_SECRET_KEY": "00" * 32},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        add, link = re.findall(r"^rota people .*", SECTION, re.MULTILINE)
        type_line(add)
        served = serve(ROTA_LISTEN=f"127.0.0.1:{port}", **settings)
        assert served.port == port
        async with httpx.AsyncClient(base_url=here) as browser:
            assert (await browser.get("/sign-in/ways")).json() == {"oidc": True}

            async def sign_in():
                begun = await browser.get("/sign-in/oidc")
                return await browser.get(
                    await sign_in_at(begun.headers["location"], PRINTED_SUBJECT)
                )

            refused = await sign_in()
            assert refused.status_code == 401
            assert f"--issuer {issuer} --subject {PRINTED_SUBJECT}" in refused.text
            assert PRINTED_SUBJECT in link
            type_line(link.replace(PRINTED_ISSUER, issuer))

            answered = await sign_in()
            assert answered.headers["location"] == "/sign-in"
            told = (await browser.get("/api/v1/session")).json()
            assert told["email"] == "alice@example.com"
            (session,) = (await browser.get("/api/v1/sessions")).json()["items"]
            assert session["signed_in_by"] == "oidc"
