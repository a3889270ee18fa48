"""npm's oidc-provider on loopback: an OpenID Connect server that others wrote."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
SOURCES = Path(__file__).parent / "oidc"
FOLDER = ROOT / ".rota" / "oidc-provider"


def why_missing() -> str | None:
    """Install the provider, once; return in one line why it cannot be had."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "needs node and npm"
    wanted = (SOURCES / "package-lock.json").read_text("utf-8")
    mark = FOLDER / "installed"
    if mark.exists() and mark.read_text("utf-8") == wanted:
        return None
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(SOURCES / name, FOLDER / name)
    done = subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    if done.returncode:
        return f"npm cannot install oidc-provider: {done.stderr.strip().splitlines()[-1:]}"
    mark.write_text(wanted, "utf-8")
    return None


@contextmanager
def oidc_provider(*redirects: str) -> Iterator[str]:
    """Serve for the life of the block; returns the issuer."""
    process = subprocess.Popen(
        [
            "node",
            SOURCES / "provider.mjs",
            FOLDER / "node_modules/oidc-provider/lib/index.js",
            json.dumps(redirects),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={"PATH": os.environ["PATH"]},
    )
    try:
        assert process.stdout is not None
        issuer = process.stdout.readline().strip()
        assert issuer, "oidc-provider did not start"
        yield issuer
    finally:
        process.terminate()
        process.communicate()


async def sign_in_at(url: str, subject: str, *, refuses: bool = False) -> str:
    """Go to the provider as a browser, sign in and consent; return where it sends one back."""
    async with httpx.AsyncClient() as browser:
        answered = await browser.get(url)
        for _ in range(12):
            while answered.is_redirect:
                target = str(answered.next_request.url)
                if not target.startswith(_origin(url)):
                    return target
                answered = await browser.get(target)
            assert answered.status_code == 200, answered.text
            place = str(answered.url)
            if refuses:
                answered = await browser.get(f"{place}/abort")
            elif 'name="login"' in answered.text:
                form = {"prompt": "login", "login": subject, "password": "any"}
                answered = await browser.post(place, data=form)
            else:
                answered = await browser.post(place, data={"prompt": "consent"})
        raise AssertionError("the provider asks on and on")


def _origin(url: str) -> str:
    found = re.match(r"https?://[^/]+", url)
    assert found is not None
    return found[0]
