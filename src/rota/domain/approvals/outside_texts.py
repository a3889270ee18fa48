"""Text from outside: texts that strangers may have written, and calls that wait for that reason.

A mail can tell an agent to send data away. So once a run has read such a text, a call waits for an
approval if its tool lets the model choose where data goes. The call runs by itself only if somebody
other than the model chose the place: a rule names it, or the schedule's own prompt has it.
The gate asks this module (`security/gate/policy.py`). Declarations say which tools are meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from rota.domain.approvals.call_texts import EVENT_TOOL
from rota.domain.approvals.conditions import Condition
from rota.domain.approvals.host_names import url_host
from rota.domain.approvals.mail_addresses import (
    Recipients,
    is_recipient_name,
    read_addresses,
    recipients_in,
)
from rota.domain.approvals.rules import Rule

MOST_KEPT: Final = 20
"""Sources of which a run keeps the names, those read last."""

_MOST_TOLD: Final = 5
_LONGEST_SOURCE: Final = 100
_LONGEST_PLACE: Final = 2_000
MAIL_FROM: Final = "mail from "
"""How a source begins that is a mail; an address follows."""

_PLACES: Final = frozenset(
    {"url", "uri", "href", "link", "endpoint", "webhook", "webhookurl", "host", "hostname"}
    | {"server", "domain", "destination", "address", "channel", "channelid", "chat", "chatid"}
    | {"room", "phone", "phonenumber", "number", "account", "iban"}
)
"""Names of arguments, by their letters, that say where something goes; beside those of mails."""

_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://\S*|//\S+|mailto:\S+", re.IGNORECASE)
_NO_PATH: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#]*", re.IGNORECASE)
_BETWEEN_WORDS: Final = re.compile(r"[\s<>\"'`|]+|\]\(")


@dataclass(slots=True)
class OutsideTexts:
    """The texts from outside that one run has read, the latest at the end. It only grows."""

    sources: dict[str, None] = field(default_factory=dict)
    has_more: bool = False

    def add(self, sources: Iterable[str]) -> None:
        """Take note of texts that came in, by whose they are."""
        for source in sources:
            short = source[:_LONGEST_SOURCE]
            self.sources.pop(short, None)
            self.sources[short] = None
            if len(self.sources) > MOST_KEPT:
                self.sources.pop(next(iter(self.sources)))
                self.has_more = True

    def told(self) -> str:
        """Say what was read, that read last first; "" where nothing was."""
        if not self.sources:
            return ""
        latest = list(self.sources)[::-1]
        named = latest[:_MOST_TOLD]
        mails = [source for source in named if source.startswith(MAIL_FROM)]
        said = [source for source in named if source not in mails]
        if mails:
            said.insert(0, MAIL_FROM + ", ".join(one.removeprefix(MAIL_FROM) for one in mails))
        if len(latest) > len(named) or self.has_more:
            said.append("more before that")
        return f"before this the run read: {'; '.join(said)}"

    def why_not(self, beside: Sequence[str]) -> str:
        """Say why a call that reaches outside is not to run unasked, "" where nothing says so.

        `beside` are tools that bring text from outside and were asked for together with it.
        """
        if not self.sources and beside:
            return f"was asked for together with {beside[0]}, which brings text from outside"
        return self.told()


def mail_source(sender: str) -> str:
    """Return the source that a mail is, by its From header as it is shown: no more than addresses.

    The header is the sender's to write: what is no plain address is not repeated.
    """
    found = Recipients()
    read_addresses(sender, found)
    if found.unreadable or not found.addresses:
        return "a mail whose sender cannot be read"
    return MAIL_FROM + ", ".join(found.addresses[:3])


def stays_with_owner(tool_name: str, arguments: Mapping[str, Any]) -> bool:
    """Return whether a call goes to nobody but its owner, though its tool can reach others.

    An event without attendees does: it goes into a calendar that the owner has connected.
    """
    return tool_name == EVENT_TOOL and arguments.get("attendees") in (None, [], ())


def names_destination(rule: Rule) -> bool:
    """Return whether a rule says where calls that it allows may send something.

    By a test of domains or hosts, or of one place exactly: an argument called so (to, url, channel)
    or values that are addresses or URLs.
    """
    return any(map(_is_of_place, rule.draft.conditions))


def _is_of_place(condition: Condition) -> bool:
    if condition.is_negated or condition.missing == "matches":
        return False
    if condition.test in {"email_domain", "url_host"}:
        return True
    if condition.test not in {"equals", "in"}:
        return False
    names = [part for path in condition.paths for part in path.parts if isinstance(part, str)]
    if any(is_recipient_name(name) or _letters(name) in _PLACES for name in names):
        return True
    texts = [text for value in condition.values for text in _texts(value)]
    return bool(texts) and all(_places_of(text) for text in texts)


def are_own_places(arguments: Mapping[str, Any], own_words: str) -> bool:
    """Return whether every place in a call's arguments stands, whole, in a person's own words.

    Places are the recipients, and each text that is a URL or an address and nothing else. Where
    there is none, or one cannot be read, nobody knows where the call leads.
    """
    recipients = Recipients()
    for value in recipients_in(arguments):
        read_addresses(value, recipients)
    if recipients.unreadable:
        return False
    places = set(recipients.addresses)
    for text in _texts(arguments):
        found = _places_of(text)
        if found is None:
            return False
        places |= set(found)
    return bool(places) and places <= _words(own_words)


def _places_of(text: str) -> Sequence[str] | None:
    """Return the places that a text is, none for other text, None for one that is not plain."""
    text = text.strip()
    if len(text) > _LONGEST_PLACE or "\n" in text:
        return ()
    if _URL.fullmatch(text):
        return (_whole(text),) if url_host(text) is not None else None
    if "@" not in text:
        return ()
    found = Recipients()
    read_addresses(text, found)
    if not found.unreadable:
        return found.addresses
    return () if " " in text else None


def _whole(url: str) -> str:
    """Return a URL with its first slash, which some leave out."""
    return f"{url}/" if _NO_PATH.fullmatch(url) else url


def _words(text: str) -> set[str]:
    """Return the URLs and addresses of a text, whole, without the punctuation around them."""
    words: set[str] = set()
    for raw in _BETWEEN_WORDS.split(text):
        bare = raw.strip("([{").rstrip(".,;:!?)]}")
        for word in (raw, bare):
            if "://" in word:
                words.add(_whole(word))
            elif "@" in word:
                found = Recipients()
                read_addresses(re.split(r"[:=]", word)[-1], found)
                words |= set(found.addresses)
    return words


def _texts(value: Any) -> Iterator[str]:
    waiting: list[Any] = [value]
    while waiting:
        match waiting.pop():
            case str() as text:
                yield text
            case Mapping() as item:
                waiting += item.values()
            case list() | tuple() as items:
                waiting += items


def _letters(name: str) -> str:
    return re.sub("[^a-z]", "", name.lower())
