"""Reads multistatus answers of WebDAV (RFC 4918) for what CalDAV needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException  # type: ignore[import-untyped]  # it has no types
from defusedxml.ElementTree import fromstring  # type: ignore[import-untyped]

_D: Final = "{DAV:}"
_C: Final = "{urn:ietf:params:xml:ns:caldav}"
_WRITING: Final = frozenset({f"{_D}{name}" for name in ("all", "write", "write-content", "bind")})


@dataclass(frozen=True, slots=True)
class DavItem:
    """What one response says of its resource. `text` is a calendar object."""

    href: str
    name: str = ""
    is_calendar: bool = False
    takes_events: bool = True
    is_writable: bool = True
    principals: tuple[str, ...] = ()
    homes: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    text: str = ""


def dav_items(body: bytes) -> list[DavItem] | None:
    """Return the resources of an answer, None for one that is no multistatus."""
    try:
        root = fromstring(body)
    except (ParseError, DefusedXmlException, ValueError):
        return None
    if root.tag != f"{_D}multistatus":
        return None
    return [_item(response) for response in root.iterfind(f"{_D}response")]


def _item(response: Element) -> DavItem:
    found = [
        prop
        for status in response.iterfind(f"{_D}propstat")
        if " 200" in (status.findtext(f"{_D}status") or " 200")
        for prop in status.iterfind(f"{_D}prop")
    ]

    def first(name: str) -> Element | None:
        return next((one for prop in found if (one := prop.find(name)) is not None), None)

    def hrefs(name: str) -> tuple[str, ...]:
        element = first(name)
        if element is None:
            return ()
        return tuple(text for one in element.iterfind(f"{_D}href") if (text := _text(one)))

    kinds = first(f"{_D}resourcetype")
    parts = first(f"{_C}supported-calendar-component-set")
    rights = first(f"{_D}current-user-privilege-set")
    return DavItem(
        href=_text(response.find(f"{_D}href")),
        name=_text(first(f"{_D}displayname")),
        is_calendar=kinds is not None and kinds.find(f"{_C}calendar") is not None,
        takes_events=parts is None
        or not len(parts)
        or any(one.get("name", "").upper() == "VEVENT" for one in parts),
        is_writable=rights is None or any(one.tag in _WRITING for right in rights for one in right),
        principals=hrefs(f"{_D}current-user-principal"),
        homes=hrefs(f"{_C}calendar-home-set"),
        addresses=tuple(
            href.lower().removeprefix("mailto:")
            for href in hrefs(f"{_C}calendar-user-address-set")
            if href.lower().startswith("mailto:")
        ),
        text=_text(first(f"{_C}calendar-data")),
    )


def _text(element: Element | None) -> str:
    return (element.text or "").strip() if element is not None else ""
