"""The Caddyfile of the how-to, with a real Caddy before a real server."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.api.server.test_reaching import free_port

CADDY = shutil.which("caddy")
PAGE = Path(__file__).parents[3] / "docs" / "howto" / "reverse-proxy.md"
ITSELF = "{\n\tadmin off\n\tlocal_certs\n\tskip_install_trust\n\tauto_https disable_redirects\n}\n"
"""What a machine without a name on the internet needs besides: Caddy certifies itself."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(CADDY is None, reason="there is no Caddy here (Debian's package caddy)"),
]


def get(port: int, path: str, **headers: str) -> httpx.Response:
    """Ask Caddy for a path of rota.test, once it has loaded its certificate."""
    with httpx.Client(verify=False, trust_env=False) as client:
        while True:
            try:
                return client.get(
                    f"https://127.0.0.1:{port}{path}",
                    headers={"Host": f"rota.test:{port}", **headers},
                    extensions={"sni_hostname": "rota.test"},
                )
            except httpx.ConnectError:
                continue


@pytest.fixture
def caddy(tmp_path):
    """`caddy(port, backend)` runs the page's Caddyfile for rota.test on these ports."""
    started = []

    def start(port: int, backend: int) -> None:
        assert CADDY is not None
        [page] = re.findall(r"```caddyfile\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
        assert "rota.example.com {" in page
        assert "127.0.0.1:7682" in page
        own = page.replace("rota.example.com", f"rota.test:{port}")
        (tmp_path / "Caddyfile").write_text(
            ITSELF + own.replace("127.0.0.1:7682", f"127.0.0.1:{backend}")
        )
        process = subprocess.Popen(
            [CADDY, "run", "--config", str(tmp_path / "Caddyfile"), "--adapter", "caddyfile"],
            env=os.environ
            | {"XDG_DATA_HOME": str(tmp_path / "data"), "XDG_CONFIG_HOME": str(tmp_path)},
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stderr is not None
        for line in process.stderr:
            if "certificate obtained successfully" in line:
                return
        raise AssertionError(process.wait())

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stderr.close()


def test_the_page_s_caddyfile_serves_rota_under_its_name(serve, caddy):
    port, backend = free_port(), free_port()
    url = f"https://rota.test:{port}"
    serve(ROTA_LISTEN=f"127.0.0.1:{backend}", ROTA_PUBLIC_URL=url, ROTA_TRUSTED_PROXIES="127.0.0.1")
    caddy(port, backend)

    answered = get(port, "/")
    assert answered.json()["api"] == "/api/v1"
    assert answered.headers["strict-transport-security"].startswith("max-age=")
    told = {"X-Forwarded-For": "6.6.6.6"}  # by the client itself
    assert get(port, "/api/v1/session", **told).status_code == 401
    wrong = {"Authorization": "Bearer rota_x"}
    for _ in range(30):
        assert get(port, "/api/v1/session", **wrong).status_code == 401
    assert get(port, "/api/v1/session", **wrong).status_code == 429


def test_without_the_settings_of_the_page_the_proxy_is_refused(serve, caddy):
    port = free_port()
    served = serve()
    caddy(port, served.port)
    refused = get(port, "/")
    assert refused.status_code == 400
    assert "ROTA_TRUSTED_PROXIES" in refused.json()["detail"]
