"""A Gmail on 127.0.0.1: the part of its REST API (v1) that rota uses, serving real MIME.

Messages go in as RFC 822 bytes and come out as Gmail gives them: a payload tree of decoded,
base64url-encoded bodies. With `transcodes`, text is UTF-8 whatever its Content-Type says, as the
real service mostly has it. `failures` answer requests before anything else does. `accepts` judges
the Authorization header and the scopes that are needed, and gives None or a Failure, as
`OAuthProvider.accepts` does; by default there is one good `token`.
"""

import base64
import email.policy
import email.utils
import html
import json
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PREFIX = "/gmail/v1/users/me/messages"
DRAFTS = "/gmail/v1/users/me/drafts"
STORED = "ANGjdJ8"
"""How the id of a file begins that is had by a request of its own; its part's number follows."""
PROFILE = "/gmail/v1/users/me/profile"
READERS = ("https://www.googleapis.com/auth/gmail.readonly", "https://mail.google.com/")
"""Scopes of which one is enough to read."""
WRITER = "https://www.googleapis.com/auth/gmail.compose"


@dataclass(frozen=True)
class Failure:
    """An answer instead of what was asked for."""

    status: int
    reason: str = ""
    message: str = "Failed"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    delay: float = 0
    is_done: bool = False  # what was asked for happened all the same


@dataclass(frozen=True)
class Request:
    path: str
    query: dict[str, list[str]]
    authorization: str


class GmailServer:
    """Use as a context manager; `url` is its base URL."""

    def __init__(self, *, token="good-token", accepts=None, page_size=100, transcodes=True):
        self.token = token
        self.accepts = accepts or self._accepts
        self.account = "alice@gmail.example"
        self.page_size = page_size
        self.transcodes = transcodes
        self.messages: dict[str, bytes] = {}
        self.failures: deque[Failure] = deque()
        self.always: Failure | None = None
        self.requests: list[Request] = []
        self.threads: dict[str, str] = {}
        self.drafts: list[str] = []
        self.sent: list[str] = []
        self.busiest = 0
        self.slowness = 0.0
        self._busy = 0
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))

    @property
    def url(self):
        return f"http://127.0.0.1:{self._http.server_port}"

    def add(self, *raw: bytes):
        """Deliver messages, the newest last; returns the id of the last."""
        for data in raw:
            key = f"{0x19A0000000000000 + len(self.messages):x}"
            self.messages[key] = data
        return key

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_exception):
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def _handler(self):
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self._give(server._post(self.path, self.headers.get("Authorization", ""), body))

            def do_GET(self):
                with server._lock:
                    server._busy += 1
                    server.busiest = max(server.busiest, server._busy)
                try:
                    time.sleep(server.slowness)
                    answer = server._answer(self.path, self.headers.get("Authorization", ""))
                finally:
                    with server._lock:
                        server._busy -= 1
                self._give(answer)

            def _give(self, answer):
                status, headers, body = answer
                try:
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Type", "application/json; charset=UTF-8")
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True  # the client stopped waiting

            def log_message(self, *_arguments):
                """Say nothing: `requests` has them."""

        return Handler

    def _answer(self, target, authorization):
        parts = urlsplit(target)
        query = parse_qs(parts.query)
        with self._lock:
            self.requests.append(Request(parts.path, query, authorization))
            failure = self.failures.popleft() if self.failures else self.always
        failure = failure or self.accepts(authorization, *READERS)
        if failure is not None:
            time.sleep(failure.delay)
            body = _error(failure) if failure.body is None else failure.body
            return failure.status, failure.headers, body
        if parts.path == PROFILE:
            found = {"emailAddress": self.account, "messagesTotal": len(self.messages)}
            return 200, {}, _json(found)
        if parts.path == PREFIX:
            return 200, {}, _json(self._list(query))
        key, _, stored = parts.path.removeprefix(PREFIX + "/").partition("/attachments/")
        if key not in self.messages:
            return 404, {}, _error(Failure(404, "notFound", "Requested entity was not found."))
        if stored:
            return 200, {}, _json(_stored(self.messages[key], stored))
        return 200, {}, _json(self._message(key, query))

    def _accepts(self, authorization, *_scopes):
        if authorization == f"Bearer {self.token}":
            return None
        return Failure(401, "authError", "Invalid Credentials")

    def _post(self, path, authorization, body):
        """Send a message, or keep a draft; the owner's copy keeps its Bcc."""
        parts = urlsplit(path)
        with self._lock:
            self.requests.append(Request(parts.path, {}, authorization))
            failure = self.failures.popleft() if self.failures else self.always
        failure = failure or self.accepts(authorization, WRITER)
        if failure is None or failure.is_done:
            made = self._write(parts.path, json.loads(body))
            if failure is None:
                return 200, {}, _json(made)
        return failure.status, failure.headers, _error(failure)

    def _write(self, path, content):
        is_draft = path == DRAFTS
        message = content["message"] if is_draft else content
        data = base64.urlsafe_b64decode(message["raw"])
        key = self.add(data)
        self.threads[key] = message.get("threadId", key)
        (self.drafts if is_draft else self.sent).append(key)
        return {"id": key, "message": {"id": key}} if is_draft else {"id": key}

    def _found(self, query):
        if not query.startswith("rfc822msgid:"):
            wanted = query.lower().encode()
            return [key for key in reversed(self.messages) if wanted in self.messages[key].lower()]
        message_id, *options = query.removeprefix("rfc822msgid:").split()
        return [
            key
            for key, data in self.messages.items()
            if email.message_from_bytes(data)["Message-ID"] == f"<{message_id}>"
            and not (key in self.drafts and "-in:drafts" in options)
        ]

    def _list(self, query):
        keys = self._found(query.get("q", [""])[0])
        start = int(query.get("pageToken", ["0"])[0])
        size = min(int(query.get("maxResults", ["100"])[0]), self.page_size)
        page = keys[start : start + size]
        answer = {"resultSizeEstimate": len(keys)}
        if page:  # an empty mailbox has no such key
            answer["messages"] = [{"id": key, "threadId": key} for key in page]
        if start + size < len(keys):
            answer["nextPageToken"] = str(start + size)
        return answer

    def _message(self, key, query):
        message = email.message_from_bytes(self.messages[key])
        payload = _payload(message, "", transcodes=self.transcodes)
        if query.get("format", ["full"])[0] == "metadata":
            names = {name.lower() for name in query.get("metadataHeaders", [])}
            payload = {
                "mimeType": payload["mimeType"],
                "headers": [one for one in payload["headers"] if one["name"].lower() in names],
            }
        return {
            "id": key,
            "threadId": self.threads.get(key, f"t{key}"),
            "labelIds": ["UNREAD", "INBOX"],
            "snippet": html.escape("It's a <snippet> of " + key),
            "historyId": "4711",
            "internalDate": "1772440000000",
            "sizeEstimate": len(self.messages[key]),
            "payload": payload,
        }


def _stored(raw: bytes, attachment_id: str):
    """Return the content of a part that `_payload` gave an id."""
    part = email.message_from_bytes(raw)
    for number in attachment_id.removeprefix(STORED).split("."):
        part = part.get_payload()[int(number)] if number else part
    data = part.get_payload(decode=True)
    return {"size": len(data), "data": base64.urlsafe_b64encode(data).decode()}


def _payload(message: Message, part_id: str, *, transcodes: bool):
    payload = {
        "partId": part_id,
        "mimeType": message.get_content_type(),
        "filename": message.get_filename() or "",
        "headers": [
            {"name": name, "value": _as_sent(value)} for name, value in message.raw_items()
        ],
        "body": {"size": 0},
    }
    if message.is_multipart():
        payload["parts"] = [
            _payload(child, f"{part_id}.{number}".lstrip("."), transcodes=transcodes)
            for number, child in enumerate(message.get_payload())
        ]
        return payload
    data = message.get_payload(decode=True)
    if payload["filename"]:
        payload["body"] = {"attachmentId": STORED + part_id, "size": len(data)}
        return payload
    charset = message.get_content_charset()
    if transcodes and message.get_content_maintype() == "text" and charset:
        data = data.decode(charset).encode()
    encoded = base64.urlsafe_b64encode(data).decode()
    payload["body"] = {"size": len(data), "data": encoded}
    return payload


def _as_sent(value):
    return str(value).encode("ascii", "surrogateescape").decode("utf-8", "replace")


def _error(failure: Failure):
    error = {"code": failure.status, "message": failure.message, "status": "FAILED"}
    if failure.reason:
        error["errors"] = [
            {"message": failure.message, "domain": "usageLimits", "reason": failure.reason}
        ]
    return _json({"error": error})


def _json(value):
    return json.dumps(value, indent=2).encode()
