"""A web server on 127.0.0.1 that answers as a test says, with TLS if it has certificates."""

import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Page:
    """An answer. Where there is a `wait`, it comes after that."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    wait: threading.Event | None = None


class WebPages:
    """Use as a context manager. `requests` are what was asked.

    `pages` are answers by path, or functions of method and headers that return one.
    """

    def __init__(self, certificates: Path | None = None) -> None:
        self.pages: dict[str, Page | Callable[[str, dict[str, str]], Page]] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self._certificates = certificates

    def __enter__(self):
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                length = int(self.headers.get("content-length", 0))
                self.rfile.read(length)
                headers = {name.lower(): value for name, value in self.headers.items()}
                outer.requests.append((self.command, self.path, headers))
                page = outer.pages.get(self.path, Page(b"not there", 404))
                if not isinstance(page, Page):
                    page = page(self.command, headers)
                if page.wait is not None:
                    page.wait.wait()
                try:
                    self.send_response(page.status)
                    for name, value in page.headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(page.body)))
                    self.end_headers()
                    self.wfile.write(page.body)
                except OSError:
                    pass  # it had enough

            do_PROPFIND = do_REPORT = do_PUT = do_GET  # noqa: N815  http.server calls them so

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        scheme = "http"
        if self._certificates is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(
                self._certificates / "server.pem", self._certificates / "server.key"
            )
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            scheme = "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
