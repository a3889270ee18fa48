"""Reads the text of PDF, Office and calendar files. Runs in `child.py` only.

Each function adds to a `Gathered`, which ends the reading when it is full. Libraries raise what
they like over a damaged file; the caller translates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any, Final
from zipfile import BadZipFile, ZipFile

MOST_UNPACKED: Final = 200_000_000
"""Bytes that an Office file may have when it is unpacked."""

_MOST_MEMBERS: Final = 10_000


class FullError(Exception):
    """There is as much text as is wanted."""


class UnreadableError(Exception):
    """The file has no text that can be read. The message is a sentence for the agent."""


@dataclass(slots=True)
class Gathered:
    """The text read so far; `place` says how far into the file it goes."""

    limit: int
    kind: str = ""
    place: str = ""
    parts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    length: int = 0
    is_cut: bool = False

    def add(self, text: str) -> None:
        """Add text; raises FullError where it is more than is wanted."""
        self.parts.append(text)
        self.length += len(text)
        if self.length > self.limit:
            raise FullError

    def cut(self, why: str) -> None:
        """Note that there is only the beginning of the text, or none of it, and why."""
        self.is_cut = self.length > 0
        how_far = f" up to {self.place}" if self.place else ""
        said = f"Only its beginning was read{how_far}." if self.length else ""
        if why or self.place:
            self.notes.append(" ".join(part for part in (why, said) if part))

    @property
    def has_text(self) -> bool:
        """Whether there is something to read in it."""
        return any(part.strip() for part in self.parts)


def read_document(file: IO[bytes], kind: str, text: Gathered) -> None:
    """Add the text of a file; `kind` is "pdf", "zip" (an Office file, maybe) or "calendar"."""
    if kind == "zip":
        kind = _office_kind(file)
        file.seek(0)
    text.kind = kind
    _READERS[kind](file, text)


def _office_kind(file: IO[bytes]) -> str:
    """Return what a zip archive is, without unpacking it."""
    try:
        members = ZipFile(file).infolist()
    except (BadZipFile, NotImplementedError) as error:
        raise UnreadableError("It is damaged: it begins as a zip archive and is none.") from error
    size = sum(member.file_size for member in members)
    if size > MOST_UNPACKED or len(members) > _MOST_MEMBERS:
        raise UnreadableError(
            f"It is not unpacked: that would give {size:,} bytes in {len(members):,} files, more "
            "than rota reads."
        )
    if any(member.flag_bits & 1 for member in members):
        raise UnreadableError("It is encrypted with a password.")
    names = {member.filename for member in members}
    if "[Content_Types].xml" in names:
        if "xl/workbook.bin" in names:
            raise UnreadableError("It is a binary Excel file (xlsb), which rota does not read.")
        for folder, kind in (("word/", "docx"), ("xl/", "xlsx"), ("ppt/", "pptx")):
            if any(name.startswith(folder) for name in names):
                return kind
    if "mimetype" in names and "content.xml" in names:
        raise UnreadableError("It is an OpenDocument file, which rota does not read.")
    raise UnreadableError("It is a zip archive, which rota does not unpack.")


def _read_pdf(file: IO[bytes], text: Gathered) -> None:
    from pypdf import PdfReader  # noqa: PLC0415  only what is needed: each takes long to import

    reader = PdfReader(file)
    if reader.is_encrypted and not reader.decrypt(""):
        raise UnreadableError("It is encrypted with a password.")
    pages = len(reader.pages)
    unread = 0
    for number in range(1, pages + 1):
        text.place = f"page {number} of {pages}"
        try:
            page = reader.pages[number - 1].extract_text()
        except (MemoryError, RecursionError):
            raise
        except Exception:  # noqa: BLE001  one damaged page does not hide the others
            unread += 1
        else:
            text.add(f"{page.strip()}\n\n")
    if unread:
        text.notes.append(f"{unread} of {pages} pages could not be read.")
    if not text.has_text and unread < pages:
        text.notes.append("There is no text in it: its pages may be pictures, as of a scanner.")


def _read_docx(file: IO[bytes], text: Gathered) -> None:
    from docx.opc.constants import CONTENT_TYPE  # noqa: PLC0415
    from docx.opc.part import PartFactory  # noqa: PLC0415
    from docx.package import Package  # noqa: PLC0415
    from docx.parts.document import DocumentPart  # noqa: PLC0415

    # Documents with macros and templates are documents too. Nothing here runs a macro.
    for kind in ("document.macroEnabled", "template.macroEnabledTemplate"):
        name = f"application/vnd.ms-word.{kind}.main+xml"
        PartFactory.part_type_for[name] = DocumentPart
    template = CONTENT_TYPE.WML_DOCUMENT_MAIN.replace("document.main", "template.main")
    PartFactory.part_type_for[template] = DocumentPart
    part: Any = Package.open(file).main_document_part
    for piece in _written(part.element):
        text.add(piece)


def _read_pptx(file: IO[bytes], text: Gathered) -> None:
    from pptx.package import Package  # noqa: PLC0415

    part: Any = Package.open(file).main_document_part
    slides = part.presentation.slides
    for number, slide in enumerate(slides, 1):
        text.place = f"slide {number} of {len(slides)}"
        text.add(f"Slide {number}\n")
        for piece in _written(slide.element):
            text.add(piece)
        if slide.has_notes_slide and (notes := slide.notes_slide.notes_text_frame) is not None:
            text.add(f"Notes: {notes.text}\n")
        text.add("\n")


_UNSEEN: Final = frozenset(
    # Said a second time for older programs; deleted, moved away; instructions of fields.
    {"Fallback", "del", "moveFrom", "instrText", "delText"}
    # Settings, of which some are named as what they set.
    | {"pPr", "tblPr", "sectPr", "trPr", "tcPr"}
)
_SHAPES: Final = frozenset({"sp", "pic", "graphicFrame", "grpSp", "cxnSp"})


def _written(root: Any) -> Iterator[str]:
    """Yield the text of a document or slide in its order, tables as lines of cells.

    Hidden text is left out, as it is of HTML: a person does not see it.
    """
    from lxml import etree  # type: ignore[import-untyped]  # noqa: PLC0415  it has no types

    walk = etree.iterwalk(root, events=("start", "end"))
    cells = 0
    for event, node in walk:
        name = etree.QName(node).localname if isinstance(node.tag, str) else ""
        if event == "start":
            if name in _UNSEEN or _is_hidden(node, name):
                walk.skip_subtree()
            elif name == "t":
                yield node.text or ""
            elif name == "tab":
                yield "\t"
            elif name in {"br", "cr"}:
                yield "\n"
            cells += name == "tc"
        elif name == "p":
            yield " " if cells else "\n"
        elif name == "tc":
            cells -= 1
            yield "\t"
        elif name == "tr":
            yield "\n"


def _is_hidden(node: Any, name: str) -> bool:
    if name == "r":
        vanish = node.find("{*}rPr/{*}vanish")
        values = () if vanish is None else vanish.values()
        return vanish is not None and not {"0", "false", "off"} & set(values)
    if name in _SHAPES:
        about = node.find("{*}*/{*}cNvPr")
        return about is not None and about.get("hidden") in {"1", "true"}
    return False


def _read_xlsx(file: IO[bytes], text: Gathered) -> None:
    from openpyxl import (  # type: ignore[import-untyped]  # noqa: PLC0415  it has no types
        load_workbook,
    )

    sheets = load_workbook(file, read_only=True, data_only=True, keep_links=False).worksheets
    for number, sheet in enumerate(sheets, 1):
        sheet.reset_dimensions()  # the file declares what it likes
        hidden = "" if sheet.sheet_state == "visible" else " (hidden)"
        text.place = f"sheet {number} of {len(sheets)}"
        text.add(f"Sheet {sheet.title}{hidden}\n")
        for count, row in enumerate(sheet.iter_rows(values_only=True), 1):
            line = "\t".join("" if value is None else str(value) for value in row).rstrip()
            if line:
                text.place = f"row {count} of sheet {number} of {len(sheets)}"
                text.add(f"{line}\n")
        text.add("\n")


def _read_calendar(file: IO[bytes], text: Gathered) -> None:
    from icalendar import Calendar  # noqa: PLC0415

    for calendar in Calendar.from_ical(file.read(), multiple=True):
        if method := calendar.get("METHOD"):
            text.add(f"Method: {method}\n\n")
        for entry in calendar.walk():
            if entry.name in {"VEVENT", "VTODO"}:
                for line in _entry(entry):
                    text.add(f"{line}\n")
                text.add("\n")
    if not text.has_text:
        raise UnreadableError("There is no event in it.")


def _entry(entry: Any) -> Iterator[str]:
    for label, name in (
        *(("Summary", "SUMMARY"), ("Start", "DTSTART"), ("End", "DTEND"), ("Due", "DUE")),
        *(("Duration", "DURATION"), ("Repeats", "RRULE"), ("Instead of", "RECURRENCE-ID")),
        *(("Status", "STATUS"), ("Where", "LOCATION"), ("Organizer", "ORGANIZER")),
        *(("Attendee", "ATTENDEE"), ("URL", "URL"), ("Description", "DESCRIPTION")),
    ):
        found = entry.get(name)
        for value in found if isinstance(found, list) else [found]:
            if value is not None:
                yield f"{label}: {_value(value)}"


def _value(value: Any) -> str:
    from icalendar import vRecur  # noqa: PLC0415

    if hasattr(value, "dt"):
        zone = value.params.get("TZID", "")
        return f"{value.dt}{f' ({zone})' if zone else ''}"
    if isinstance(value, vRecur):
        written: bytes = value.to_ical()  # type: ignore[no-untyped-call]  # it has no types
        return written.decode("utf-8", "replace")
    parameters = getattr(value, "params", {})
    about = [str(parameters[name]) for name in ("CN", "PARTSTAT") if name in parameters]
    text = str(value)
    return f"{text} ({', '.join(about)})" if about else text


_READERS: Final[dict[str, Callable[[IO[bytes], Gathered], None]]] = {
    "pdf": _read_pdf,
    "docx": _read_docx,
    "pptx": _read_pptx,
    "xlsx": _read_xlsx,
    "calendar": _read_calendar,
}
