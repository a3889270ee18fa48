"""A Dovecot on 127.0.0.1 with a configuration and certificates of its own: a real IMAP server.

It runs as whoever runs the tests; as root, mail is read as nobody, as Dovecot refuses to do it as
root. Mail goes in as files of a Maildir.
"""

import grp
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from tests.loopback.certificates import write_certificates

BINARY = Path("/usr/sbin/dovecot")
PASSWORD = "wonder-land"
"""Everybody's, whatever they are called; a mailbox is made when it is first opened."""


def why_missing() -> str | None:
    """Say what is missing for these tests, None where nothing is."""
    if not BINARY.exists() or not Path("/usr/lib/dovecot/imap").exists():
        return "Dovecot is absent: install the package dovecot-imapd"
    return None


def need() -> None:
    """Skip where there is no Dovecot; fail where there has to be."""
    if (reason := why_missing()) is not None:
        if os.environ.get("ROTA_REQUIRE_DOVECOT"):
            pytest.fail(reason)
        pytest.skip(reason)


class Dovecot:
    """Use as a context manager. `authority` is the PEM to trust, `tls` and `starttls` its ports.

    With `introspection`, the URL of an `OAuthProvider`'s /introspect, it takes that one's tokens by
    XOAUTH2, and no passwords.
    """

    def __init__(
        self,
        *,
        names: tuple[str, ...] = ("127.0.0.1",),
        settings: str = "",
        introspection: str = "",
    ) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="rota-dovecot-"))
        self.tls, self.starttls = _free_port(), _free_port()
        self._names = names
        self._settings = settings
        self._introspection = introspection
        self._process: subprocess.Popen[bytes] | None = None
        self._number = 0

    def __enter__(self):
        self.root.chmod(0o755)
        self.authority = write_certificates(self.root, self._names)
        (self.root / "mail").mkdir()
        self.passwords(zoë="grüße")
        (self.root / "dovecot.conf").write_text(self._configuration(), encoding="utf-8")
        if self._introspection:
            (self.root / "oauth2.conf").write_text(
                f"introspection_url = {self._introspection}\nintrospection_mode = post\n"
                "username_attribute = username\nactive_attribute = active\nactive_value = true\n"
            )
        self._own()
        self.start()
        return self

    def start(self):
        self._process = subprocess.Popen(
            [BINARY, "-F", "-c", self.root / "dovecot.conf"], stderr=subprocess.DEVNULL
        )
        for _ in range(400):
            try:
                socket.create_connection(("127.0.0.1", self.starttls), 1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        self.stop()
        raise RuntimeError(self.log())

    def stop(self):
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def __exit__(self, *_exception):
        self.stop()
        shutil.rmtree(self.root, ignore_errors=True)

    def passwords(self, **people: str):
        """Say what passwords are right beside `PASSWORD`.

        Dovecot looks once a second whether the file has changed.
        """
        lines = [f"{name}:{{PLAIN}}{password}::::::" for name, password in people.items()]
        (self.root / "users").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (self.root / "users").chmod(0o644)
        if self._process is not None:
            time.sleep(1.1)

    def log(self) -> str:
        found = self.root / "log"
        return found.read_text("utf-8", "replace") if found.exists() else ""

    def logins(self, name: str) -> int:
        """Count how often somebody signed in, or tried."""
        return self.log().count(f"user=<{name}>")

    def deliver(self, person: str, *messages: bytes, folder="", flags="", at: float | None = None):
        """Put messages into a folder (its name as on disk), the newest last."""
        box = self.root / "mail" / person / (f".{folder}" if folder else "")
        for name in ("new", "cur", "tmp"):
            (box / name).mkdir(parents=True, exist_ok=True)
        for message in messages:
            self._number += 1
            came = at or 1_772_424_000 + self._number
            path = box / "cur" / f"{int(came)}.M{self._number:06}P1.test:2,{flags}"
            path.write_bytes(message)
            os.utime(path, (came, came))
        self._own()

    def flags(self, person: str, folder="") -> list[str]:
        """Return the flags of each message, as they are on disk."""
        box = self.root / "mail" / person / (f".{folder}" if folder else "")
        return sorted(
            path.name.partition(":2,")[2]
            for name in ("new", "cur")
            for path in (box / name).iterdir()
        )

    def _own(self):
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            subprocess.run(
                ["chown", "-R", f"{nobody.pw_uid}:{nobody.pw_gid}", self.root / "mail"], check=True
            )

    def _configuration(self) -> str:
        me = pwd.getpwuid(os.geteuid())
        mail = pwd.getpwnam("nobody") if me.pw_uid == 0 else me
        users = ""
        if me.pw_uid != 0:
            group = grp.getgrgid(me.pw_gid).gr_name
            users = (
                f"default_internal_user = {me.pw_name}\ndefault_login_user = {me.pw_name}\n"
                f"default_internal_group = {group}\n"
                "service anvil {\n  chroot =\n}\nservice imap-login {\n  chroot =\n}\n"
            )
        passwords = f"""\
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {self.root}/users
}}
passdb {{
  driver = static
  args = password={PASSWORD}
}}
"""
        mechanisms = "plain login"
        if self._introspection:
            mechanisms = "xoauth2 oauthbearer"
            passwords = f"""\
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {self.root}/oauth2.conf
}}
"""
        return f"""
{users}
protocols = imap
base_dir = {self.root}/run
state_dir = {self.root}/state
log_path = {self.root}/log
listen = 127.0.0.1
ssl = required
ssl_cert = <{self.root}/server.pem
ssl_key = <{self.root}/server.key
auth_mechanisms = {mechanisms}
auth_failure_delay = 0
auth_username_chars =
first_valid_uid = 1
mail_max_userip_connections = 100
mail_location = maildir:{self.root}/mail/%u
{passwords}userdb {{
  driver = static
  args = uid={mail.pw_uid} gid={mail.pw_gid} home={self.root}/mail/%u
}}
service imap-login {{
  inet_listener imap {{
    port = {self.starttls}
  }}
  inet_listener imaps {{
    port = {self.tls}
    ssl = yes
  }}
}}
{self._settings}
"""


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
