"""What went wrong with a model, said once for all providers.

Their packages are optional, so nothing here imports them: an exception is known by its HTTP
status, by the error type in the provider's own body (streams fail with status 200), and by the
names of its classes. The names are those of openai, anthropic, ollama, httpx and langchain-core.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Literal

from rota.domain.errors import RotaError, UnavailableError
from rota.security.redaction import redact_text

FailureKind = Literal[
    "authentication",
    "rate_limit",
    "timeout",
    "unavailable",
    "bad_request",
    "context_length",
    "other",
]

_SENTENCES: Final[Mapping[FailureKind, str]] = {
    "authentication": "The model provider refused the API key",
    "rate_limit": "The model provider's rate limit is reached",
    "timeout": "The model provider did not answer in time",
    "unavailable": "The model provider is not available",
    "bad_request": "The model provider refused the request",
    "context_length": "The conversation is longer than the model can read",
    "other": "The model failed",
}
_BY_ERROR_TYPE: Final[Mapping[str, FailureKind]] = {
    "context_length_exceeded": "context_length",
    "request_too_large": "context_length",
    "authentication_error": "authentication",
    "permission_error": "authentication",
    "invalid_api_key": "authentication",
    "billing_error": "authentication",
    "rate_limit_error": "rate_limit",
    "rate_limit_exceeded": "rate_limit",
    "insufficient_quota": "rate_limit",
    "overloaded_error": "unavailable",
    "api_error": "unavailable",
    "server_error": "unavailable",
    "timeout_error": "timeout",
    "invalid_request_error": "bad_request",
    "not_found_error": "bad_request",
}
_BY_STATUS: Final[Mapping[int, FailureKind]] = {
    401: "authentication",
    402: "authentication",
    403: "authentication",
    408: "timeout",
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
    "TransportError": "unavailable",
    "ConnectionError": "unavailable",
    "ModelInvalidRequestError": "bad_request",
    "ModelNotFoundError": "bad_request",
}
_TOO_LONG: Final = ("prompt is too long", "maximum context length", "context window")
_LONGEST_DETAIL: Final = 500


@dataclass(frozen=True, slots=True)
class ModelFailure:
    """A failed model call: its kind, a sentence safe to show, and seconds to wait if told."""

    kind: FailureKind
    message: str
    retry_after: float | None = None


def classify_model_error(error: BaseException) -> ModelFailure:
    """Say what kind of failure an exception of a model call is; secrets are taken out.

    Where the exception itself says nothing, its causes are asked.
    """
    if isinstance(error, RotaError):
        kind: FailureKind = "unavailable" if isinstance(error, UnavailableError) else "other"
        return ModelFailure(kind, redact_text(error.message))
    for cause in _causes(error):
        if (known := _kind(cause)) is not None:
            return ModelFailure(known, _message(known, cause), _retry_after(cause))
    return ModelFailure("other", _message("other", error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen and len(seen) < 8:
        seen.append(cause)
        yield cause
        cause = cause.__cause__ or cause.__context__


def _kind(error: BaseException) -> FailureKind | None:
    status, details = _status(error), _details(error)
    names = {kind.__name__ for kind in type(error).__mro__}
    if "ContextOverflowError" in names or _is_too_long(status, details, error):
        return "context_length"
    if status is not None and status in _BY_STATUS:
        return _BY_STATUS[status]
    if status is not None and status >= 500:
        return "unavailable"
    for word in (details.get("code"), details.get("type")):
        if isinstance(word, str) and word in _BY_ERROR_TYPE:
            return _BY_ERROR_TYPE[word]
    if status is not None and status >= 400:
        return "bad_request"
    return next((kind for name, kind in _BY_CLASS.items() if name in names), None)


def _is_too_long(status: int | None, details: Mapping[str, Any], error: BaseException) -> bool:
    if details.get("code") == "context_length_exceeded":
        return True
    said = str(details.get("message") or error).lower()
    return status == 400 and any(phrase in said for phrase in _TOO_LONG)


def _status(error: BaseException) -> int | None:
    for holder in (error, getattr(error, "response", None)):
        status = getattr(holder, "status_code", None)
        if isinstance(status, int) and not isinstance(status, bool) and status >= 400:
            return status
    return None


def _details(error: BaseException) -> Mapping[str, Any]:
    """Return the `error` object of the provider's answer, or what stands in its place."""
    body = getattr(error, "body", None)
    if isinstance(body, Mapping):
        inner = body.get("error")
        return inner if isinstance(inner, Mapping) else body
    if type(error) is ValueError and error.args:
        # Errors of OpenAI's responses API come from langchain-openai as these: "code: message"
        # from a stream, the error object otherwise.
        told = error.args[0]
        if isinstance(told, Mapping):
            return told
        code, _, message = str(told).partition(": ")
        if code in _BY_ERROR_TYPE:
            return {"code": code, "message": message}
    return {}


def _message(kind: FailureKind, error: BaseException) -> str:
    status, details = _status(error), _details(error)
    said = details.get("message") or getattr(error, "message", None) or str(error)
    detail = " ".join(redact_text(str(said)).split())[:_LONGEST_DETAIL].rstrip(".")
    sentence = _SENTENCES[kind]
    if details.get("code") == "insufficient_quota":
        sentence = "The model provider's quota is used up"
    if status is not None:
        sentence += f" (HTTP {status})"
    return f"{sentence}: {detail or type(error).__name__}."


def _retry_after(error: BaseException) -> float | None:
    headers = getattr(getattr(error, "response", None), "headers", None)
    if not isinstance(headers, Mapping):
        return None
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        told = headers.get(name)
        if told is None:
            continue
        try:
            return max(0.0, float(told) / unit)
        except ValueError:
            return _seconds_until(told, headers.get("date"))
    return None


def _seconds_until(told: str, answered: str | None) -> float | None:
    """Count from the answer's own Date header, so that no clock of ours is asked."""
    try:
        until = parsedate_to_datetime(told)
        since = parsedate_to_datetime(answered or "")
    except ValueError:  # not a date either: as if nothing had been told
        return None
    return max(0.0, (_aware(until) - _aware(since)).total_seconds())


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
