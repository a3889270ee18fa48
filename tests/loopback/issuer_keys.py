"""An issuer's keys on loopback: a real HTTP server, whose answers a test chooses."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class IssuerKeys(ThreadingHTTPServer):
    """Serves `answer` with `status` at any path, and counts what is fetched."""

    def __init__(self) -> None:
        self.fetched: list[str] = []
        self.status = 200
        self.answer: Any = {"keys": []}
        self.headers: dict[str, str] = {}
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.fetched.append(self.path)
                given = server.answer
                body = given if isinstance(given, bytes) else json.dumps(given).encode()
                self.send_response(server.status)
                for name, value in server.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def issuer_keys() -> Iterator[IssuerKeys]:
    """Serve for the life of the block."""
    server = IssuerKeys()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
