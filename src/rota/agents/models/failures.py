"""Classifies the exceptions of model calls, in the same kinds for all providers.

Used for retries, fallbacks and the messages that people read. Packages of providers are optional,
so none is imported. Three things tell the kind of an exception: its HTTP status, the error type in
the provider's body (streams fail with status 200), and the names of its classes. The classes of
openai, anthropic, ollama, httpx and langchain-core are known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from rota.domain.errors import RotaError, UnavailableError
from rota.domain.text.shortening import shorten
from rota.security.secrets.redaction import redact_beginning, redact_text

FailureKind = Literal[
    "authentication",
    "quota",
    "rate_limit",
    "timeout",
    "unavailable",
    "not_found",
    "bad_request",
    "policy",
    "context_length",
    "other",
]

TRANSIENT: Final[frozenset[FailureKind]] = frozenset({"rate_limit", "timeout", "unavailable"})
"""The same request to the same model may succeed in a while."""

WORTH_ANOTHER_MODEL: Final = TRANSIENT | {"authentication", "quota", "not_found", "context_length"}
"""Another model may do what this one did not: it has another key, another account, a longer window.

Not so a malformed request, which would be hidden for good by a model that overlooks it, and not a
refusal by a content policy, which is not to be got round. What is not known is left alone.
"""

_SENTENCES: Final[Mapping[FailureKind, str]] = {
    "authentication": "The model provider refused the API key",
    "quota": "The model provider's quota or credit is used up",
    "rate_limit": "The model provider's rate limit is reached",
    "timeout": "The model provider did not answer in time",
    "unavailable": "The model provider is not available",
    "not_found": "The model provider does not have this model",
    "bad_request": "The model provider refused the request",
    "policy": "The model provider's content policy refused the request",
    "context_length": "The conversation is longer than the model can read",
    "other": "The model failed",
}
_BY_ERROR_TYPE: Final[Mapping[str, FailureKind]] = {
    "context_length_exceeded": "context_length",
    "request_too_large": "context_length",
    "authentication_error": "authentication",
    "permission_error": "authentication",
    "invalid_api_key": "authentication",
    "billing_error": "quota",
    "billing_hard_limit_reached": "quota",
    "billing_not_active": "quota",
    "insufficient_quota": "quota",
    "rate_limit_error": "rate_limit",
    "rate_limit_exceeded": "rate_limit",
    "overloaded_error": "unavailable",
    "api_error": "unavailable",
    "server_error": "unavailable",
    "timeout_error": "timeout",
    "invalid_request_error": "bad_request",
    "not_found_error": "not_found",
    "model_not_found": "not_found",
    "content_filter": "policy",
    "content_policy_violation": "policy",
    "invalid_prompt": "policy",
}
_BEFORE_STATUS: Final = frozenset({"quota", "not_found", "policy", "context_length"})
"""Kinds that providers report under the status of another kind, so that the error type decides.
Examples: a used up quota as 429, a model without access as 403, a refusal as 400.
"""

_BY_STATUS: Final[Mapping[int, FailureKind]] = {
    401: "authentication",
    402: "quota",
    403: "authentication",
    404: "not_found",
    408: "timeout",
    409: "unavailable",  # a lock that another request holds; the clients' own retries say so too
    413: "context_length",
    429: "rate_limit",
}
_BY_CLASS: Final[Mapping[str, FailureKind]] = {
    "ContextOverflowError": "context_length",
    "ModelAuthenticationError": "authentication",
    "ModelPermissionDeniedError": "authentication",
    "ModelRateLimitError": "rate_limit",
    "ModelTimeoutError": "timeout",
    "APITimeoutError": "timeout",
    "TimeoutException": "timeout",
    "TimeoutError": "timeout",
    "ModelConnectionError": "unavailable",
    "ModelAPIError": "unavailable",
    "APIConnectionError": "unavailable",
    "APIError": "unavailable",  # within a stream, without a code that is known
    "TransportError": "unavailable",
    "ConnectionError": "unavailable",
    "gaierror": "unavailable",  # no name server, or no such host
    "ModelInvalidRequestError": "bad_request",
    "ModelNotFoundError": "not_found",
    "ContentFilterFinishReasonError": "policy",
    "OpenAIModerationError": "policy",
    "OpenAIRefusalError": "policy",
}
_BY_PHRASE: Final[Mapping[str, FailureKind]] = {
    "prompt is too long": "context_length",
    "maximum context length": "context_length",
    "context window": "context_length",
    "credit balance is too low": "quota",
    "reached your specified api usage limits": "quota",
    "blocked by content filtering policy": "policy",
}
"""What Anthropic and servers that imitate OpenAI say in words alone, as an invalid request."""

_OF_ANOTHER_LOOP: Final = ("Event loop is closed", "different event loop", "different loop")

LONGEST_QUOTED: Final = 500
"""Characters of what a provider or a model said, in the message of a failure."""


@dataclass(frozen=True, slots=True)
class ModelFailure:
    """A failed model call: its kind, a sentence safe to show, and the seconds to wait, if known.

    `of_answer`: there was an answer, and it cannot be used. `said` is its text, if it was withheld.
    `usage` is the tokens that the provider counts for it, in LangChain's form.
    """

    kind: FailureKind
    message: str
    retry_after: float | None = None
    worth_retrying: bool = False
    of_answer: bool = False
    said: str = ""
    usage: Mapping[str, Any] | None = None

    @property
    def worth_another_model(self) -> bool:
        """Whether a fallback is to be asked, once this model is given up."""
        return self.of_answer or self.kind in WORTH_ANOTHER_MODEL


class ModelFailureError(Exception):
    """A model call failed for a known reason; the message is for a person.

    Not a RotaError, because it is a provider's failure: `classify_model_error` handles it as it
    handles the exceptions of providers.
    """

    def __init__(self, failure: ModelFailure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class ModelCallError(ModelFailureError):
    """No model answered. The cause is the last model's own exception."""


@dataclass(frozen=True, slots=True)
class ModelAttempt:
    """One failed attempt, for the trace. `waited`: seconds until the same model's next attempt.

    If `waited` is None, the same model is not tried again. The message holds no secrets. `usage` is
    that of an answer that was paid for and could not be used.
    """

    model: str
    kind: FailureKind
    message: str
    waited: float | None
    usage: Mapping[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as the trace keeps it."""
        fields: dict[str, Any] = {
            "model": self.model,
            "kind": self.kind,
            "message": self.message,
            "waited": self.waited,
        }
        return fields if self.usage is None else fields | {"usage": dict(self.usage)}


def classify_model_error(error: BaseException) -> ModelFailure:
    """Say what kind of failure an exception of a model call is; secrets are taken out.

    Where the exception itself says nothing, its causes are asked.
    """
    if isinstance(error, ModelFailureError):
        return error.failure
    if isinstance(error, RotaError):
        kind: FailureKind = "unavailable" if isinstance(error, UnavailableError) else "other"
        return ModelFailure(kind, redact_text(error.message))
    for cause in _causes(error):
        if (known := _kind(cause)) is not None:
            return ModelFailure(
                known, _message(known, cause), _retry_after(cause), _worth_retrying(known, cause)
            )
    return ModelFailure("other", _message("other", error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen and len(seen) < 8:
        seen.append(cause)
        yield cause
        cause = cause.__cause__ or cause.__context__


def _kind(error: BaseException) -> FailureKind | None:
    """Ask what says most first: words meant for programs, words for people, status, class."""
    status, details = _status(error) or _status_within(error), _details(error)
    names = {kind.__name__ for kind in type(error).__mro__}
    words = (details.get("code"), details.get("type"))
    known = [_BY_ERROR_TYPE[w] for w in words if isinstance(w, str) and w in _BY_ERROR_TYPE]
    found: Iterable[FailureKind | None] = (
        "context_length" if "ContextOverflowError" in names else None,
        next((kind for kind in known if kind in _BEFORE_STATUS), None),
        _kind_by_phrase(status, details, error),
        _kind_by_status(status),
        "unavailable" if _is_of_another_loop(error) else None,
        *known,
        "bad_request" if status is not None else None,
        next((kind for name, kind in _BY_CLASS.items() if name in names), None),
    )
    return next((kind for kind in found if kind is not None), None)


def _is_of_another_loop(error: BaseException) -> bool:
    """Return whether a client was used whose connections are those of an event loop that ended."""
    text = str(error) if isinstance(error, RuntimeError) else ""
    return any(said in text for said in _OF_ANOTHER_LOOP)


def _kind_by_status(status: int | None) -> FailureKind | None:
    if status is None:
        return None
    return "unavailable" if status >= 500 else _BY_STATUS.get(status)


def _kind_by_phrase(
    status: int | None, details: Mapping[str, Any], error: BaseException
) -> FailureKind | None:
    """Return the kind of an invalid request that is known by its words alone."""
    if status != 400 and not (status is None and details.get("type") == "invalid_request_error"):
        return None
    text = str(details.get("message") or error).lower()
    return next((kind for phrase, kind in _BY_PHRASE.items() if phrase in text), None)


def _worth_retrying(kind: FailureKind, error: BaseException) -> bool:
    """Return whether the same request may succeed in a while; the server's own word comes first."""
    forbidden = _headers(error).get("x-should-retry") == "false"  # OpenAI and Anthropic send it
    return kind in TRANSIENT and not forbidden


def _status(error: BaseException) -> int | None:
    for holder in (error, getattr(error, "response", None)):
        status = getattr(holder, "status_code", None)
        if isinstance(status, int) and not isinstance(status, bool) and status >= 400:
            return status
    metadata = _botocore(error)
    status = metadata.get("HTTPStatusCode")
    return status if isinstance(status, int) and status >= 400 else None


def _status_within(error: BaseException) -> int | None:
    """Return the status that a gateway names in an answer that has HTTP status 200."""
    code = str(_details(error).get("code") or "")
    return int(code) if code.isdecimal() and len(code) == 3 and code[0] in "45" else None


def _botocore(error: BaseException) -> Mapping[str, Any]:
    """Return the metadata of an answer of AWS; nothing for other errors."""
    response = getattr(error, "response", None)
    metadata = response.get("ResponseMetadata") if isinstance(response, Mapping) else None
    return metadata if isinstance(metadata, Mapping) else {}


def _headers(error: BaseException) -> Mapping[str, str]:
    headers = getattr(getattr(error, "response", None), "headers", None)
    if headers is None:
        headers = _botocore(error).get("HTTPHeaders")
    return headers if isinstance(headers, Mapping) else {}


def _details(error: BaseException) -> Mapping[str, Any]:
    """Return the `error` object of the provider's answer, or what comes in its place."""
    body = getattr(error, "body", None)
    if isinstance(body, Mapping):
        inner = body.get("error")
        return inner if isinstance(inner, Mapping) else body
    if type(error) is ValueError and error.args:
        # Errors within an answer come from langchain-openai as these: "code: message" from a stream
        # of the responses API, the error object otherwise.
        detail = error.args[0]
        if isinstance(detail, Mapping):
            return detail
        if hasattr(detail, "code") and hasattr(detail, "message"):
            return {"code": detail.code, "message": detail.message}
        code, _, message = str(detail).partition(": ")
        if code in _BY_ERROR_TYPE:
            return {"code": code, "message": message}
    return {}


def _message(kind: FailureKind, error: BaseException) -> str:
    status, details = _status(error), _details(error)
    text = details.get("message") or getattr(error, "message", None) or str(error)
    said = redact_beginning(str(text), 4 * LONGEST_QUOTED)
    detail = shorten(" ".join(said.split()), LONGEST_QUOTED).rstrip(".")
    sentence = _SENTENCES[kind]
    if status is not None:
        sentence += f" (HTTP {status})"
    elif (code := _status_within(error)) is not None:
        sentence += f" (code {code})"
    asked = _address(error) if kind == "not_found" else ""
    return f"{sentence}: {detail or type(error).__name__}.{asked}"


def _address(error: BaseException) -> str:
    """Say where a model was asked for that is not there: often the address is what is wrong."""
    request = getattr(error, "request", None) or getattr(
        getattr(error, "response", None), "request", None
    )
    try:
        url = urlsplit(str(request.url)) if request is not None else None
    except (AttributeError, RuntimeError, ValueError):
        return ""
    if url is None or url.hostname is None:
        return ""
    port = f":{url.port}" if url.port is not None else ""  # never its user, password or query
    return f" It was asked for at {url.scheme}://{url.hostname}{port}{url.path}."


def _retry_after(error: BaseException) -> float | None:
    headers = _headers(error)
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = float(value) / unit
        except ValueError:
            return _seconds_until(value, headers.get("date"))
        return max(0.0, seconds) if isfinite(seconds) else None
    return None


def _seconds_until(date: str, answered: str | None) -> float | None:
    """Count from the answer's own Date header, so that no clock of ours is asked."""
    try:
        until, since = (_parse_date(text) for text in (date, answered or ""))
    except ValueError:  # not a date either: the header is ignored
        return None
    return max(0.0, (until - since).total_seconds())


def _parse_date(text: str) -> datetime:
    moment = parsedate_to_datetime(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
