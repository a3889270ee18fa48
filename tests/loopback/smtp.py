"""An SMTP server on 127.0.0.1 with TLS, sign-in, refusals, and several ways to die: aiosmtpd.

What it takes is in `delivered`, and goes to `deliver` where that is given.
"""

import base64
import shutil
import ssl
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword, auth_mechanism

from tests.loopback.certificates import write_certificates

PASSWORD = "wonder-land"
TOKEN = "an-access-token"


@dataclass(frozen=True)
class Delivery:
    """One message that the server took."""

    sender: str
    recipients: tuple[str, ...]
    data: bytes


class SmtpServer:
    """Use as a context manager. `authority` is the PEM to trust, `port` its port.

    `refused` has the answers to recipients, `answers` those to `MAIL` and `DATA`, where they are
    not "yes". `dies`: after a message was handed over, with it (`taken`) or without it (`lost`).
    `takes` judges a name and its access token; without it, `TOKEN` is the good one.
    """

    def __init__(
        self,
        *,
        encryption: Literal["tls", "starttls", "none"] = "tls",
        names: tuple[str, ...] = ("127.0.0.1",),
        size: int = 33_554_432,
        utf8: bool = True,
        methods: tuple[str, ...] = ("LOGIN", "PLAIN"),
        deliver: Callable[[str, bytes], None] | None = None,
        certificates: Path | None = None,
    ):
        self._own = tempfile.mkdtemp(prefix="rota-smtp-")
        root = certificates or Path(self._own)
        self.authority = "" if certificates else write_certificates(root, names)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(root / "server.pem", root / "server.key")
        self.delivered: list[Delivery] = []
        self.refused: dict[str, str] = {}
        self.answers: dict[str, str] = {}
        self.dies: Literal["", "taken", "lost"] = ""
        self.password = PASSWORD
        self.takes: Callable[[str, str], bool] | None = None
        self.logins: list[str] = []
        self.commands: list[str] = []
        self.deliver = deliver
        others = {"LOGIN", "PLAIN", "XOAUTH2"} - set(methods)
        self._controller = _Controller(
            _Handler(self),
            hostname="127.0.0.1",
            port=0,
            ssl_context=tls if encryption == "tls" else None,
            tls_context=tls if encryption == "starttls" else None,
            require_starttls=encryption == "starttls",
            authenticator=self._authenticate,
            auth_require_tls=encryption == "starttls",
            auth_exclude_mechanism=others,
            data_size_limit=size,
            enable_SMTPUTF8=utf8,
        )

    @property
    def port(self) -> int:
        return self._controller.server.sockets[0].getsockname()[1]

    def __enter__(self):
        self._controller.start()
        return self

    def __exit__(self, *_exception):
        self._controller.stop()
        shutil.rmtree(self._own, ignore_errors=True)

    def _authenticate(self, _server, _session, _envelope, mechanism, data):
        if mechanism == "XOAUTH2":
            name, given, right = *data, TOKEN
            if self.takes is not None:
                right = given if self.takes(name, given) else ""
        else:
            assert isinstance(data, LoginPassword)
            name, given, right = data.login.decode(), data.password.decode(), self.password
        self.logins.append(f"{mechanism} {name}")
        return AuthResult(success=given == right, handled=False)


class _Controller(Controller):
    def factory(self):
        return _Smtp(self.handler, **self.SMTP_kwargs)

    def _trigger_server(self):
        """Connect to the port that it got, which `port=0` does not say."""
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


class _Smtp(SMTP):
    @auth_mechanism("XOAUTH2")
    async def auth_XOAUTH2(self, _server, args):  # noqa: N802  aiosmtpd asks for it by this name
        given = base64.b64decode(args[1]).decode()
        name, token = given.removeprefix("user=").split("\x01auth=Bearer ")
        outcome = self._authenticate("XOAUTH2", (name, token.rstrip("\x01")))
        if not outcome.success:  # Google and Microsoft say why, and wait for an empty line
            await self.push("334 eyJzdGF0dXMiOiI0MDAifQ==")
            await self._reader.readline()
        return outcome


class _Handler:
    def __init__(self, server: SmtpServer):
        self._server = server

    async def handle_MAIL(self, _server, session, envelope, address, options):  # noqa: N802  aiosmtpd asks for it by this name
        if not session.authenticated:
            return "530 5.7.0 Sign in first"
        if said := self._server.answers.get("MAIL"):
            return said
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(self, _server, _session, envelope, address, options):  # noqa: N802  aiosmtpd asks for it by this name
        if said := self._server.refused.get(address):
            return said
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, server, _session, envelope):  # noqa: N802  aiosmtpd asks for it by this name
        ours = self._server
        if said := ours.answers.get("DATA"):
            return said
        if ours.dies != "lost":
            taken = Delivery(envelope.mail_from, tuple(envelope.rcpt_tos), envelope.content)
            ours.delivered.append(taken)
            if ours.deliver is not None:
                for recipient in taken.recipients:
                    ours.deliver(recipient, taken.data)
        if ours.dies:
            server.transport.abort()
        return "250 OK: queued"
