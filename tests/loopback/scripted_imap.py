"""An IMAP server on 127.0.0.1 that says what no healthy one does: refuses, breaks off, is silent.

It speaks TLS, answers each command by its first word with what `answers` has, and else with OK.
"""

import re
import shutil
import socket
import ssl
import tempfile
import threading
from pathlib import Path

from tests.loopback.certificates import write_certificates

SILENCE = None
"""In place of an answer: none ever comes, until the server is stopped."""


class ScriptedImap:
    """Use as a context manager; `answers` maps commands to lines with {tag}, or to SILENCE."""

    def __init__(self, answers: dict[str, str | None], *, greeting="* OK ready"):
        self.answers = {"CAPABILITY": "* CAPABILITY IMAP4rev1\n{tag} OK done", **answers}
        self.greeting = greeting
        self.commands: list[str] = []
        self._root = Path(tempfile.mkdtemp(prefix="rota-imap-"))
        self.authority = write_certificates(self._root, ("127.0.0.1",))
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self._root / "server.pem", self._root / "server.key")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._listen)]

    def __enter__(self):
        self._threads[0].start()
        return self

    def __exit__(self, *_exception):
        self._over.set()
        with socket.create_connection(("127.0.0.1", self.port)):
            pass
        for thread in self._threads:
            thread.join()
        self._listener.close()
        shutil.rmtree(self._root)

    def _listen(self):
        while True:
            sock, _ = self._listener.accept()
            if self._over.is_set():
                sock.close()
                return
            self._threads.append(threading.Thread(target=self._serve, args=(sock,)))
            self._threads[-1].start()

    def _serve(self, plain):
        try:
            with self._context.wrap_socket(plain, server_side=True) as sock:
                self._talk(sock)
        except OSError:
            plain.close()  # the client went away

    def _talk(self, sock):
        sock.sendall(f"{self.greeting}\r\n".encode())
        with sock.makefile("rb") as lines:
            for line in lines:
                tag, _, command = line.decode().strip().partition(" ")
                while found := re.search(r"\{(\d+)\}$", command):
                    sock.sendall(b"+ go on\r\n")
                    command += (
                        lines.read(int(found[1])).decode() + lines.readline().decode().strip()
                    )
                self.commands.append(command)
                name = command.removeprefix("UID ").split(" ")[0].upper()
                answer = self.answers.get(name, "{tag} OK done")
                if answer is SILENCE:
                    self._over.wait()
                    return
                sock.sendall(_as_lines(answer.replace("{tag}", tag)))
                if answer.startswith("* BYE"):
                    return


def _as_lines(text: str) -> bytes:
    return text.replace("\r\n", "\n").replace("\n", "\r\n").encode() + b"\r\n"
