"""An OAuth provider on 127.0.0.1, with the endpoints of Google and of Microsoft.

It checks what they check: PKCE, redirect addresses, secrets of clients, signatures of service
accounts. It lives by `clock`, which a test may set. A "browser" is whoever fetches the page of
authorization: it consents at once (`declines` and `withheld` say to what it does not).

`ROTA_ENDPOINTS="google-oauth=URL microsoft-oauth=URL"` leads rota to it; a `GmailServer` with
`accepts=provider.accepts` takes the tokens that it gives.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import parse_qs, urlencode, urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from tests.loopback.gmail import Failure

CLIENT_ID = "1234.apps.googleusercontent.com"
CLIENT_SECRET = "GOCSPX-of-a-desktop-app"
PUBLIC_CLIENT_ID = "00001111-aaaa-2222-bbbb-3333cccc4444"

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"

Reuse = Literal["tolerated", "refused", "revokes"]


@dataclass
class Grant:
    """What a person allowed a client. `ends_at` is when it dies by itself."""

    account: str
    client_id: str
    scopes: tuple[str, ...]
    ends_at: datetime | None = None
    is_revoked: bool = False
    refresh_token: str = ""
    old_tokens: set[str] = field(default_factory=set)


@dataclass
class _Code:
    grant: Grant
    challenge: str
    redirect: str
    is_offline: bool


@dataclass
class _Device:
    user_code: str
    client_id: str
    scopes: tuple[str, ...]
    grant: Grant | None = None
    is_declined: bool = False
    last_asked: datetime | None = None


@dataclass(frozen=True)
class Asked:
    """A request that came in."""

    path: str
    form: dict[str, str]


class RefusedError(Exception):
    """An answer of the token endpoint that is an error."""

    def __init__(self, error: str, description: str = "", status: int = 400, **more):
        super().__init__(error)
        self.status = status
        self.body = {"error": error} | ({"error_description": description} if description else {})
        self.body |= more


class OAuthProvider:
    """Use as a context manager; `url` is its base URL."""

    def __init__(
        self,
        *,
        clock: Callable[[], datetime] | None = None,
        account: str = "alice@gmail.example",
        token_seconds: int = 3599,
        grant_seconds: int | None = None,
        says_end: bool = True,
        rotates: bool = False,
        reuse: Reuse = "tolerated",
    ) -> None:
        self.clock = clock or (lambda: datetime.now(UTC))
        self.account = account
        self.token_seconds = token_seconds
        self.grant_seconds = grant_seconds
        self.says_end = says_end
        self.rotates = rotates
        self.reuse = reuse
        self.clients = {CLIENT_ID: CLIENT_SECRET, PUBLIC_CLIENT_ID: ""}
        self.web_redirects: set[str] = set()
        self.withheld: set[str] = set()
        self.declines: str | None = None
        self.failures: deque[Failure | RefusedError] = deque()
        self.keys: dict[str, RSAKey] = {}
        self.delegated: dict[str, set[str]] = {}
        self.team = "team.example"
        self.interval = 5
        self.asked: list[Asked] = []
        self.grants: list[Grant] = []
        self.refreshes = 0
        self._codes: dict[str, _Code] = {}
        self._devices: dict[str, _Device] = {}
        self._tokens: dict[str, tuple[Grant, datetime]] = {}
        self._lock = threading.RLock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_exception):
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    # What a test may do

    def client_file(self, kind: str = "installed") -> str:
        """Return the JSON that Google's console downloads for a client."""
        known = {
            "client_id": CLIENT_ID,
            "project_id": "my-rota",
            "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": "https://oauth2.googleapis.com/token",
            "client_secret": CLIENT_SECRET,
            "redirect_uris": ["http://localhost"],
        }
        return json.dumps({kind: known})

    def service_account_file(self, *scopes: str) -> str:
        """Make a service account to which the team delegated these scopes; return its key file."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        email = f"rota-{len(self.keys)}@my-rota.iam.gserviceaccount.com"
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.keys[email] = RSAKey.import_key(public)
        self.delegated[email] = set(scopes)
        return json.dumps(
            {
                "type": "service_account",
                "project_id": "my-rota",
                "private_key_id": "0123",
                "private_key": pem,
                "client_email": email,
                "client_id": "1098765",
                "token_uri": "https://oauth2.googleapis.com/token",
            }
        )

    def grant(self, *scopes: str, account: str = "", client_id: str = CLIENT_ID) -> Grant:
        """Grant scopes as if a person had consented."""
        with self._lock:
            ends = self._in(self.grant_seconds) if self.grant_seconds else None
            made = Grant(account or self.account, client_id, scopes, ends)
            made.refresh_token = f"1//{secrets.token_urlsafe(24)}"
            self.grants.append(made)
            return made

    def access_token(self, grant: Grant) -> str:
        """Return a new access token of a grant."""
        with self._lock:
            token = f"ya29.{secrets.token_urlsafe(24)}"
            self._tokens[token] = grant, self._in(self.token_seconds)
            return token

    def revoke_all(self) -> None:
        """Revoke every grant, as a person does on the provider's page."""
        with self._lock:
            for grant in self.grants:
                grant.is_revoked = True

    def enter(self, user_code: str, *, declines: bool = False) -> None:
        """Sign in on the provider's page with the code of a device."""
        with self._lock:
            device = next(d for d in self._devices.values() if d.user_code == user_code)
            device.is_declined = declines
            scopes = tuple(s for s in device.scopes if s not in self.withheld)
            device.grant = self.grant(*scopes, client_id=device.client_id)

    def accepts(self, authorization: str, *scopes: str) -> Failure | None:
        """Judge a request to an API by its Authorization header: None where it may pass.

        One of `scopes` is enough; without any, each token is.
        """
        with self._lock:
            grant = self._grant_of(authorization.removeprefix("Bearer "))
        if grant is None or not authorization.startswith("Bearer "):
            return Failure(401, "authError", "Invalid Credentials")
        if scopes and not set(scopes) & set(grant.scopes):
            return Failure(
                403,
                "insufficientPermissions",
                "Request had insufficient authentication scopes.",
            )
        return None

    def account_of(self, authorization: str) -> str:
        """Return whose token it is; empty for one that is not good."""
        with self._lock:
            grant = self._grant_of(authorization.removeprefix("Bearer "))
            return "" if grant is None else grant.account

    # The endpoints

    def _answer(self, target: str, form: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        parts = urlsplit(target)
        query = {key: found[-1] for key, found in parse_qs(parts.query).items()}
        with self._lock:
            self.asked.append(Asked(parts.path, form or query))
            if parts.path == "/o/oauth2/v2/auth":
                return self._authorize(query)
            try:
                return self._judge(parts.path, form or query)
            except RefusedError as refused:
                return refused.status, {}, _json(refused.body)

    def _judge(self, path: str, form: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        failure = self.failures.popleft() if self.failures else None
        if isinstance(failure, RefusedError):
            raise failure
        if failure is not None:
            body = failure.message.encode() if failure.body is None else failure.body
            return failure.status, failure.headers, body
        for pattern, answer in (
            (r"(/[^/]+/oauth2/v2\.0)?/token", self._token),
            (r"/device/code|/[^/]+/oauth2/v2\.0/devicecode", self._device),
            (r"/revoke", self._revoke),
            (r"/introspect", self._introspect),
        ):
            if re.fullmatch(pattern, path):
                return 200, {}, _json(answer(form))
        return 404, {}, b"Not found"

    def _authorize(self, query: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        redirect = query.get("redirect_uri", "")
        if query.get("client_id") not in self.clients:  # shown in the browser, and nowhere else
            return 401, {}, b"Error 401: invalid_client"
        is_local = re.fullmatch(r"http://(127\.0\.0\.1|localhost)(:[0-9]+)?(/\S*)?", redirect)
        if not is_local and redirect not in self.web_redirects:
            return 400, {}, b"Error 400: redirect_uri_mismatch"
        if query.get("response_type") != "code" or query.get("code_challenge_method") != "S256":
            return 400, {}, b"Error 400: invalid_request"
        if not query.get("scope"):
            return 400, {}, b"Error 400: invalid_scope"
        back = {"state": query.get("state", "")}
        if self.declines:
            back["error"] = self.declines
        else:
            wanted = query["scope"].split()
            grant = self.grant(
                *(scope for scope in wanted if scope not in self.withheld),
                client_id=query["client_id"],
            )
            code = f"4/{secrets.token_urlsafe(24)}"
            known = sum(one.client_id == grant.client_id for one in self.grants) > 1
            is_offline = query.get("access_type") == "offline" and (
                query.get("prompt") == "consent" or not known
            )
            self._codes[code] = _Code(grant, query.get("code_challenge", ""), redirect, is_offline)
            back |= {"code": code, "scope": " ".join(grant.scopes)}
        return 302, {"Location": f"{redirect}?{urlencode(back)}"}, b""

    def _token(self, form: dict[str, str]) -> dict[str, object]:
        kind = form.get("grant_type", "")
        if kind == JWT_BEARER:
            return self._assertion(form)
        client = form.get("client_id", "")
        if client not in self.clients:
            raise RefusedError("invalid_client", "The OAuth client was not found.", 401)
        if kind != DEVICE_CODE and form.get("client_secret", "") != self.clients[client]:
            raise RefusedError("invalid_client", "Unauthorized", 401)
        if kind == "authorization_code":
            return self._exchange(form)
        if kind == "refresh_token":
            return self._refresh(form)
        if kind == DEVICE_CODE:
            return self._poll(form)
        raise RefusedError("unsupported_grant_type", f"Invalid grant_type: {kind}")

    def _exchange(self, form: dict[str, str]) -> dict[str, object]:
        code = self._codes.pop(form.get("code", ""), None)  # good once
        if code is None:
            raise RefusedError("invalid_grant", "Malformed auth code.")
        if form.get("redirect_uri") != code.redirect:
            raise RefusedError("redirect_uri_mismatch", "Bad Request")
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != code.challenge:
            raise RefusedError("invalid_grant", "Invalid code verifier.")
        return self._given(code.grant, with_refresh=code.is_offline)

    def _refresh(self, form: dict[str, str]) -> dict[str, object]:
        self.refreshes += 1
        given = form.get("refresh_token", "")
        for grant in self.grants:
            if given == grant.refresh_token:
                break
            if given in grant.old_tokens:
                if self.reuse == "tolerated":
                    break
                if self.reuse == "revokes":
                    grant.is_revoked = True
                raise RefusedError("invalid_grant", "The refresh token was used before.")
        else:
            raise RefusedError("invalid_grant", "Bad Request")
        if not self._is_alive(grant):
            raise RefusedError("invalid_grant", "Token has been expired or revoked.")
        if self.rotates and given == grant.refresh_token:
            grant.old_tokens.add(grant.refresh_token)
            grant.refresh_token = f"1//{secrets.token_urlsafe(24)}"
        return self._given(grant, with_refresh=self.rotates)

    def _assertion(self, form: dict[str, str]) -> dict[str, object]:
        assertion = form.get("assertion", "")
        try:
            body = assertion.split(".")[1]
            issuer = json.loads(base64.urlsafe_b64decode(body + "=="))["iss"]
            claims = jwt.decode(assertion, self.keys[issuer], algorithms=["RS256"]).claims
        except (JoseError, KeyError, ValueError, IndexError):
            raise RefusedError("invalid_grant", "Invalid JWT Signature.") from None
        now = self.clock().timestamp()
        if not now - 600 < claims["iat"] < now + 600 or claims["exp"] - claims["iat"] > 3600:
            raise RefusedError(
                "invalid_grant",
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable "
                "timeframe. Check your iat and exp values in the JWT claim.",
            )
        if claims["aud"] not in (f"{self.url}/token", "https://oauth2.googleapis.com/token"):
            raise RefusedError("invalid_grant", "Invalid JWT: Failed audience check.")
        scopes = str(claims["scope"]).split()
        if not set(scopes) <= self.delegated[issuer]:
            raise RefusedError(
                "unauthorized_client",
                "Client is unauthorized to retrieve access tokens using this method, or client not "
                "authorized for any of the scopes requested.",
                401,
            )
        if not str(claims.get("sub", "")).endswith(f"@{self.team}"):
            raise RefusedError("invalid_grant", "Invalid email or User ID")
        grant = Grant(claims["sub"], issuer, tuple(scopes))
        self.grants.append(grant)
        return self._given(grant, with_refresh=False)

    def _device(self, form: dict[str, str]) -> dict[str, object]:
        if form.get("client_id") not in self.clients:
            raise RefusedError(
                "unauthorized_client",
                f"AADSTS700016: Application with identifier '{form.get('client_id')}' was not "
                "found in the directory 'Contoso'.",
                error_codes=[700016],
            )
        code, user_code = secrets.token_urlsafe(24), secrets.token_hex(4).upper()
        self._devices[code] = _Device(
            user_code, form["client_id"], tuple(form.get("scope", "").split())
        )
        return {
            "device_code": code,
            "user_code": user_code,
            "verification_uri": f"{self.url}/devicelogin",
            "expires_in": 900,
            "interval": self.interval,
            "message": "To sign in, use a web browser.",
        }

    def _poll(self, form: dict[str, str]) -> dict[str, object]:
        device = self._devices.get(form.get("device_code", ""))
        if device is None:
            raise RefusedError("bad_verification_code", "AADSTS70020: not recognised.")
        if device.is_declined:
            raise RefusedError("authorization_declined", "AADSTS70018: declined.")
        if device.grant is None:
            raise RefusedError(
                "authorization_pending",
                "AADSTS70016: The provided request has not yet been authorized by the user.",
                error_codes=[70016],
            )
        del self._devices[form["device_code"]]  # good once
        offline = "offline_access" in device.scopes
        return self._given(device.grant, with_refresh=offline)

    def _revoke(self, form: dict[str, str]) -> dict[str, object]:
        given = form.get("token", "")
        grant = next((g for g in self.grants if given in {g.refresh_token, *g.old_tokens}), None)
        grant = grant or self._grant_of(given)
        if grant is None or grant.is_revoked:
            raise RefusedError("invalid_token", "Token expired or revoked")
        for one in self.grants:  # as at Google: all that this person allowed this client
            if (one.account, one.client_id) == (grant.account, grant.client_id):
                one.is_revoked = True
        return {}

    def _introspect(self, form: dict[str, str]) -> dict[str, object]:
        """Tell a mail server whose token it is, as RFC 7662 has it."""
        grant = self._grant_of(form.get("token", ""))
        if grant is None:
            return {"active": False}
        return {"active": True, "username": grant.account, "scope": " ".join(grant.scopes)}

    def _given(self, grant: Grant, *, with_refresh: bool) -> dict[str, object]:
        answer: dict[str, object] = {
            "access_token": self.access_token(grant),
            "expires_in": self.token_seconds,
            "scope": " ".join(s for s in grant.scopes if s != "offline_access"),
            "token_type": "Bearer",
        }
        if with_refresh:
            answer["refresh_token"] = grant.refresh_token
            if grant.ends_at is not None and self.says_end:
                left = grant.ends_at - self.clock()
                answer["refresh_token_expires_in"] = int(left.total_seconds())
        return answer

    def _grant_of(self, token: str) -> Grant | None:
        grant, ends = self._tokens.get(token, (None, None))
        if grant is None or ends is None or ends <= self.clock() or not self._is_alive(grant):
            return None
        return grant

    def _is_alive(self, grant: Grant) -> bool:
        is_over = grant.ends_at is not None and grant.ends_at <= self.clock()
        return not (grant.is_revoked or is_over)

    def _in(self, seconds: float) -> datetime:
        return self.clock() + timedelta(seconds=seconds)

    def _handler(self):
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self._send({})

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                self._send({key: found[-1] for key, found in parse_qs(body).items()})

            def _send(self, form):
                status, headers, body = provider._answer(self.path, form)
                try:
                    self.send_response_only(status)
                    self.send_header("Date", format_datetime(provider.clock(), usegmt=True))
                    self.send_header("Content-Type", "application/json; charset=utf-8")
                    self.send_header("Content-Length", str(len(body)))
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(body)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True  # the client stopped waiting

            def log_message(self, *_arguments):
                """Say nothing: `asked` has them."""

        return Handler


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2).encode()
