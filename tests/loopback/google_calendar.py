"""A Google Calendar on 127.0.0.1: lists, events in pages, inserts by id, and Google's errors."""

import json
import threading
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from tests.loopback.gmail import Failure

_SCOPE = "https://www.googleapis.com/auth/calendar"
READERS = (f"{_SCOPE}.readonly", _SCOPE)
WRITERS = (f"{_SCOPE}.events", _SCOPE)
"""Scopes of which one is enough."""


@dataclass
class Asked:
    """A request that came in."""

    method: str
    path: str
    query: dict[str, list[str]]
    authorization: str
    body: dict[str, object] = field(default_factory=dict)


class GoogleCalendarServer:
    """Use as a context manager. `calendars` and `events` are what Google gives out.

    `accepts` judges an Authorization header and the scopes of which one is needed, and gives None
    or a Failure, as `OAuthProvider.accepts` does. `failures` come first.
    """

    def __init__(self, *, accepts=None) -> None:
        self.calendars: list[dict[str, object]] = [
            {
                "id": "me@example.com",
                "summary": "me@example.com",
                "primary": True,
                "selected": True,
                "accessRole": "owner",
            }
        ]
        self.events: dict[str, list[dict[str, object]]] = {}
        self.failures: deque[Failure] = deque()
        self.requests: list[Asked] = []
        self.page_size = 250
        self.lost_answers = 0
        """Inserts that are made, and answered as if they failed."""
        self._accepts = accepts or (lambda _header, *_scopes: None)

    def __enter__(self):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, asked: Asked):
        scopes = READERS if asked.method == "GET" else WRITERS
        refused = self._accepts(asked.authorization, *scopes)
        if self.failures or refused is not None:
            return _failed(self.failures.popleft() if self.failures else refused)
        parts = asked.path.split("/")[3:]  # after /calendar/v3
        if parts == ["users", "me", "calendarList"]:
            return 200, self._page(self.calendars, asked), {}
        calendar = unquote(parts[1])
        if calendar not in {one["id"] for one in self.calendars}:
            return _failed(Failure(404, "notFound", "Not Found"))
        events = self.events.setdefault(calendar, [])
        if asked.method == "POST":
            return self._insert(events, asked.body)
        if len(parts) == 3:
            return 200, self._page(events, asked), {}
        return self._get(events, parts[3])

    @staticmethod
    def _get(events, event_id):
        found = [one for one in events if one.get("id") == event_id]
        if not found:
            return _failed(Failure(404, "notFound", "Not Found"))
        return 200, json.dumps(found[0]).encode(), {}

    def _insert(self, events, body):
        if any(one["id"] == body["id"] for one in events):
            return _failed(Failure(409, "duplicate", "The requested identifier already exists."))
        made = body | {
            "status": "confirmed",
            "iCalUID": f"{body['id']}@google.com",
            "htmlLink": f"https://calendar/{body['id']}",
        }
        events.append(made)
        if self.lost_answers:
            self.lost_answers -= 1
            self.failures.extend([Failure(503)] * 3)
            return _failed(Failure(503))
        return 200, json.dumps(made).encode(), {}

    def _page(self, items, asked):
        start = int(asked.query.get("pageToken", ["0"])[0])
        size = min(self.page_size, int(asked.query["maxResults"][0]))
        page: dict[str, object] = {"items": items[start : start + size]}
        if start + size < len(items):
            page["nextPageToken"] = str(start + size)
        return json.dumps(page).encode()

    def _handler(self):
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                length = int(self.headers.get("content-length", 0))
                parts = urlsplit(self.path)
                asked = Asked(
                    self.command,
                    parts.path,
                    parse_qs(parts.query),
                    self.headers.get("authorization", ""),
                    json.loads(self.rfile.read(length) or b"{}"),
                )
                outer.requests.append(asked)
                status, body, headers = outer._answer(asked)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET  # noqa: N815  http.server calls them so

            def log_message(self, *_):
                pass

        return Handler


def _failed(failure: Failure):
    body = failure.body
    if body is None:
        body = _error(failure.status, failure.reason, failure.message)
    return failure.status, body, failure.headers


def _error(status: int, reason: str, message: str) -> bytes:
    return json.dumps(
        {"error": {"code": status, "message": message, "errors": [{"reason": reason}]}}
    ).encode()
