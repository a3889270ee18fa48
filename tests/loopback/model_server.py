"""What the loopback servers of model providers share: a list of replies, and what was asked."""

import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Says:
    """A reply: text, tool calls, and blocks of the provider's own before the text.

    Arguments of a call that are a string are sent as they are, whole JSON or not. `finish` is a
    finish reason other than the usual one; with `ends` False the stream stops before any.
    """

    text: str = ""
    calls: tuple[tuple[str, dict[str, Any] | str], ...] = ()
    blocks: tuple[dict[str, Any], ...] = ()
    cut: bool = False  # by the model's output limit
    refusal: str = ""  # of chat completions, beside the text
    finish: str | None = None
    ends: bool = True
    input_tokens: int = 11
    output_tokens: int = 7


@dataclass(frozen=True)
class Fails:
    """An HTTP error with the provider's error object."""

    status: int
    type: str
    message: str = "Something went wrong"
    code: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FailsMidStream:
    """Status 200, a first piece of text, and then an error event."""

    type: str
    message: str = "Something went wrong"


@dataclass(frozen=True)
class Raw:
    """A body that is sent as it is, whatever was asked for."""

    body: str
    content_type: str = "application/json"
    status: int = 200


@dataclass(frozen=True)
class Hangs:
    """No answer until the server closes."""


@dataclass(frozen=True)
class Drops:
    """Status 200, the beginning of an answer, and then the connection is closed."""


Reply = Says | Fails | FailsMidStream | Raw | Hangs | Drops


@dataclass(frozen=True)
class Request:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    number: int  # of the request, so that ids differ
    client: tuple[str, int] = ("", 0)  # where the connection comes from


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a client that went away is no error
            super().handle_error(request, client_address)


class ModelServer:
    """An HTTP server on 127.0.0.1 that gives its replies in order, to any number of clients."""

    paths: tuple[str, ...] = ()
    keeps_connections = False

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.requests: list[Request] = []
        self.closing = threading.Event()
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"model_server": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def book(
        self,
        path: str,
        headers: dict[str, str],
        body: dict[str, Any],
        client: tuple[str, int] = ("", 0),
    ) -> Request:
        with self._lock:
            request = Request(path, headers, body, len(self.requests), client)
            self.requests.append(request)
            return request

    def next_reply(self, request: Request) -> Reply:
        if request.path not in self.paths:
            return Fails(404, "not_found_error", f"no such path: {request.path}")
        with self._lock:
            if not self.replies:
                return Fails(400, "invalid_request_error", "no replies are left")
            return self.replies.pop(0)

    def error(self, reply: Fails) -> dict[str, Any]:
        raise NotImplementedError

    def answer(self, request: Request, reply: Says) -> dict[str, Any]:
        raise NotImplementedError

    def events(self, request: Request, reply: Says | FailsMidStream) -> Iterator[tuple[str, Any]]:
        """Yield the (name, data) of each server-sent event; an empty name is left out."""
        raise NotImplementedError


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    model_server: ModelServer

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length", "0"))
        body = json.loads(self.rfile.read(length) or b"{}")
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = self.model_server.book(self.path, headers, body, self.client_address)
        self.give(request, self.model_server.next_reply(request))

    def give(self, request: Request, reply: Reply) -> None:
        match reply:
            case Hangs():
                self.model_server.closing.wait(30)
                self.close_connection = True
            case Drops():
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", "1000")
                self.end_headers()
                self.wfile.write(b'{"id": ')
                self.close_connection = True
            case Fails() as failure:
                self.reply(failure.status, self.model_server.error(failure), failure.headers)
            case Raw() as raw:
                self.send(raw.status, raw.body.encode(), {"content-type": raw.content_type})
            case FailsMidStream() as failure:
                self.stream(self.model_server.events(request, failure))
            case Says() as said if request.body.get("stream"):
                self.stream(self.model_server.events(request, said))
            case Says() as said:
                self.reply(200, self.model_server.answer(request, said), {})

    def reply(self, status: int, body: object, headers: dict[str, str]) -> None:
        content = json.dumps(body).encode()
        self.send(status, content, {"content-type": "application/json", **headers})

    def send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def stream(self, events: Iterator[tuple[str, Any]]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for name, data in events:
            text = data if isinstance(data, str) else json.dumps(data)
            event = f"event: {name}\ndata: {text}\n\n" if name else f"data: {text}\n\n"
            content = event.encode()
            self.wfile.write(b"%x\r\n%b\r\n" % (len(content), content))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def end_headers(self) -> None:
        # Providers' clients are kept, and their connections with them: open ones would outlive the
        # test's event loop, and be complained of in whichever test runs when they are collected.
        if not self.model_server.keeps_connections:
            self.send_header("connection", "close")
        super().end_headers()

    def log_message(self, *args: object) -> None:
        pass


def written(arguments: dict[str, Any] | str) -> str:
    """Return the arguments of a call as they are sent."""
    return arguments if isinstance(arguments, str) else json.dumps(arguments)


def pieces(text: str, size: int = 7) -> list[str]:
    """Cut a text as a stream would, also within words and JSON."""
    return [text[i : i + size] for i in range(0, len(text), size)]
