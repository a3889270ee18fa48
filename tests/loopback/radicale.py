"""A Radicale on 127.0.0.1 with TLS and passwords: a real CalDAV server, of PyPI."""

import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from base64 import b64encode
from pathlib import Path

from tests.loopback.certificates import write_certificates

USER, PASSWORD = "alice", "wonder-land"


class Radicale:
    """Use as a context manager. `url` is its address, `authority` the PEM to trust."""

    def __init__(self, *, names: tuple[str, ...] = ("127.0.0.1", "localhost")) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="rota-radicale-"))
        self._names = names
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"https://127.0.0.1:{self.port}"
        self.authority = write_certificates(self.root, self._names)
        self.password(PASSWORD)
        (self.root / "config").write_text(f"""[server]
hosts = 127.0.0.1:{self.port}
ssl = True
certificate = {self.root}/server.pem
key = {self.root}/server.key
[auth]
type = htpasswd
htpasswd_filename = {self.root}/users
htpasswd_encryption = plain
delay = 0
[storage]
filesystem_folder = {self.root}/data
[rights]
type = owner_only
[logging]
level = warning
""")
        self.start()
        return self

    def start(self):
        with (self.root / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "radicale", "--config", str(self.root / "config")],
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=os.environ | {"PYTHONWARNINGS": "ignore"},
            )
        until = time.monotonic() + 60
        while not self._answers():
            if time.monotonic() > until or self._process.poll() is not None:
                raise RuntimeError((self.root / "log").read_text())
            time.sleep(0.05)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def stop(self):
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(30)

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.root, ignore_errors=True)

    def password(self, password: str) -> None:
        (self.root / "users").write_text(f"{USER}:{password}\nbob:{password}\n")

    def ask(self, method: str, path: str, body: str = "", **headers: str):
        """Send a request of Alice's, past rota; return status and text."""
        token = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        request = urllib.request.Request(
            f"{self.url}{path}",
            method=method,
            data=body.encode() or None,
            headers={"Authorization": f"Basic {token}"} | headers,
        )
        context = ssl.create_default_context(cadata=self.authority)
        with urllib.request.urlopen(request, context=context, timeout=30) as answer:
            return answer.status, answer.read().decode()

    def calendar(self, name: str, *, title: str = "", component: str = "VEVENT") -> str:
        """Make a calendar of Alice's; return its path."""
        self.ask(
            "MKCALENDAR",
            f"/{USER}/{name}/",
            '<?xml version="1.0"?><c:mkcalendar xmlns:d="DAV:" '
            'xmlns:c="urn:ietf:params:xml:ns:caldav"><d:set><d:prop>'
            f"<d:displayname>{title or name}</d:displayname>"
            "<c:supported-calendar-component-set>"
            f'<c:comp name="{component}"/></c:supported-calendar-component-set>'
            "</d:prop></d:set></c:mkcalendar>",
        )
        return f"/{USER}/{name}/"

    def put(self, path: str, *events: str) -> None:
        """Put events of one UID into a calendar."""
        uid = events[0].partition("UID:")[2].splitlines()[0]
        text = "\r\n".join(
            ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:test"]
            + [f"BEGIN:VEVENT\r\nDTSTAMP:20260101T000000Z\r\n{one}\r\nEND:VEVENT" for one in events]
            + ["END:VCALENDAR", ""]
        )
        headers = {"Content-Type": "text/calendar"}
        self.ask(
            "PUT", f"{path}{uid}.ics", text.replace("\r\n", "\n").replace("\n", "\r\n"), **headers
        )

    def files(self) -> list[str]:
        """Return the texts of all events that are stored."""
        return [path.read_text(encoding="utf-8") for path in self._stored()]

    def clear(self) -> None:
        """Remove all events, past Radicale."""
        for path in self._stored():
            path.unlink()

    def _stored(self) -> list[Path]:
        found = (self.root / "data").rglob("*.ics")
        return [path for path in found if ".Radicale.cache" not in path.parts]
