"""Risk signals: unusual things in a call's arguments, and the risk that each means.

A signal raises a risk and never lowers it. It helps the person who decides, and protects against
nothing by itself: a call without a signal is not safe for that reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rota.domain.agents.configuration import RISKS, Risk
from rota.domain.approvals.host_names import is_ipv4
from rota.domain.approvals.lookalikes import LOOKED_AT, lookalikes
from rota.domain.approvals.mail_addresses import Recipients, read_addresses, recipients_in
from rota.domain.text.shortening import quoted, shorten
from rota.domain.text.storable import REDACTED
from rota.domain.text.unseen import hidden_in

MANY_RECIPIENTS: Final = 10
MANY_ITEMS: Final = 50
LONG_TEXT: Final = 4_000
"""Characters of one argument beyond which its end is easily overlooked."""

_LINK: Final = re.compile(r"[a-z][a-z0-9+.-]{1,15}://[^\s\"'<>]{1,2000}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RiskSignal:
    """A sentence for the person who decides, and the lowest risk of a call with this signal."""

    risk: Risk
    text: str


def risk_signals(arguments: Mapping[str, Any]) -> tuple[RiskSignal, ...]:
    """Return the signals of a call's arguments as they are shown: secrets already replaced."""
    return (
        *(RiskSignal("high", text) for text in lookalikes(text for _, text in _texts(arguments))),
        *_hidden(arguments),
        *_secrets(arguments),
        *_links(arguments),
        *_recipients(arguments),
        *_large(arguments),
    )


def raised_risk(risk: Risk, found: Iterable[RiskSignal]) -> Risk:
    """Return the highest of a risk and those of signals."""
    return max((risk, *(signal.risk for signal in found)), key=RISKS.index)


def _hidden(arguments: Mapping[str, Any]) -> Iterator[RiskSignal]:
    found = {c for _, text in _texts(arguments) for c in hidden_in(text[:LOOKED_AT])}
    if found:
        named = ", ".join(f"U+{ord(c):04X}" for c in sorted(found)[:5])
        yield RiskSignal(
            "high",
            f"There are characters that cannot be seen, or that turn the direction: {named}.",
        )


def _secrets(arguments: Mapping[str, Any]) -> Iterator[RiskSignal]:
    names = sorted({name for name, text in _texts(arguments) if REDACTED in text})
    if names:
        yield RiskSignal("high", f"There is what looks like a secret in {_listed(names)}.")


def _links(arguments: Mapping[str, Any]) -> Iterator[RiskSignal]:
    for link in dict.fromkeys(
        match[0] for _, text in _texts(arguments) for match in _LINK.finditer(text[:LOOKED_AT])
    ):
        authority = re.split(r"[/?#\\]", link.partition("://")[2], maxsplit=1)[0]
        user, at, host = authority.rpartition("@")
        if at and user != REDACTED:
            yield RiskSignal(
                "high", f"A link shows {quoted(user)} and leads to {quoted(host, 100)}."
            )
            return
        if is_ipv4(host.partition(":")[0]) or host.startswith("["):
            yield RiskSignal(
                "medium", f"A link leads to an address without a name: {shorten(host, 100)}."
            )
            return


def _recipients(arguments: Mapping[str, Any]) -> Iterator[RiskSignal]:
    into = Recipients()
    for value in recipients_in(arguments):
        read_addresses(value, into)
    if into.count > MANY_RECIPIENTS:
        yield RiskSignal("medium", f"It goes to {into.count} recipients.")


def _large(arguments: Mapping[str, Any]) -> Iterator[RiskSignal]:
    for name, value in arguments.items():
        if isinstance(value, str) and len(value) > LONG_TEXT:
            yield RiskSignal(
                "medium", f"{shorten(name, 60)} has {len(value):,} characters: read it to its end."
            )
        elif isinstance(value, list | tuple) and len(value) > MANY_ITEMS:
            yield RiskSignal("medium", f"{shorten(name, 60)} has {len(value):,} items.")


def _listed(names: list[str]) -> str:
    shown = [shorten(name, 60) for name in names[:5]]
    return ", ".join(shown) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _texts(arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each text in the arguments, keys of nested objects among them, with its argument."""
    waiting: list[tuple[str, Any]] = [(str(name), value) for name, value in arguments.items()]
    waiting += [(str(name), str(name)) for name in arguments]
    while waiting:
        name, value = waiting.pop()
        match value:
            case str():
                yield name, value
            case Mapping():
                waiting += [(name, item) for item in (*value.values(), *map(str, value.keys()))]
            case list() | tuple():
                waiting += [(name, item) for item in value]
