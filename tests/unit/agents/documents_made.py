"""Files as people send them, and as nobody should: PDF, Word, Excel, PowerPoint."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterable
from datetime import date

import docx
import openpyxl
import pptx
from pypdf import PdfReader, PdfWriter

WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def saved(document) -> bytes:
    """Return the bytes of a document of any of the libraries."""
    file = io.BytesIO()
    document.write(file) if isinstance(document, PdfWriter) else document.save(file)
    return file.getvalue()


def word(*paragraphs: str) -> bytes:
    document = docx.Document()
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    table = document.add_table(2, 2)
    for number, text in enumerate(("Item", "Price", "Tea", "3 €")):
        table.cell(number // 2, number % 2).text = text
    return saved(document)


def excel(*rows: list[object]) -> bytes:
    book = openpyxl.Workbook()
    book.active.title = "Costs"
    for row in rows or (["Tea", 3.5, date(2026, 12, 1)], [None, "=B1*2"]):
        book.active.append(row)
    return saved(book)


def powerpoint() -> bytes:
    show = pptx.Presentation()
    slide = show.slides.add_slide(show.slide_layouts[0])
    slide.shapes.title.text = "Plans"
    slide.notes_slide.notes_text_frame.text = "Speak slowly."
    return saved(show)


def pdf(*texts: str, content: bytes | None = None) -> bytes:
    """Return a PDF with a text on each page, or with one page of the content given."""
    streams = [f"BT /F 12 Tf 10 100 Td ({text}) Tj ET".encode("latin-1") for text in texts]
    if content is not None:
        streams = [content]
    pages = [3 + 2 * number for number in range(len(streams))]
    kids = " ".join(f"{page} 0 R" for page in pages)
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Count {len(pages)}/Kids[{kids}]>>".encode(),
    ]
    font = b"<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>"
    for page, stream in zip(pages, streams, strict=True):
        objects.append(
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 300]/Contents %d 0 R/Resources%s>>"
            % (page + 1, font)
        )
        packed = zlib.compress(stream)
        objects.append(
            b"<</Length %d/Filter/FlateDecode>>stream\n%s\nendstream" % (len(packed), packed)
        )
    return pdf_of(objects)


def pdf_of(objects: Iterable[bytes]) -> bytes:
    """Return a PDF of these objects, the first of them its catalogue."""
    parts = [b"%PDF-1.4\n"]
    places, length = [], len(parts[0])
    for number, text in enumerate(objects, 1):
        places.append(length)
        parts.append(b"%d 0 obj%sendobj\n" % (number, text))
        length += len(parts[-1])
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"trailer<</Root 1 0 R/Size %d>>\nstartxref\n%d\n%%%%EOF" % (len(places) + 1, length)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(places) + 1)
    return b"".join([*parts, head, table, end])


def locked_pdf(text: str, *, password: str) -> bytes:
    """Return a PDF that opens with the password; with "" its owner alone may change it."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf(text))))
    writer.encrypt(password, "owner's", algorithm="AES-256")
    return saved(writer)


def with_member(data: bytes, name: str, content: Iterable[bytes]) -> bytes:
    """Return an Office file, one member of which has another content."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as old,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for member in old.namelist():
            with new.open(member, "w") as file:
                for piece in content if member == name else [old.read(member)]:
                    file.write(piece)
    return out.getvalue()


def word_of(*body: bytes, before: bytes = b"") -> bytes:
    """Return a Word document with this body, in XML."""
    opening = b'<w:document xmlns:w="%s"><w:body>' % WORD.encode()
    content = [before, opening, *body, b"</w:body></w:document>"]
    return with_member(word(), "word/document.xml", content)


def excel_of(rows: bytes, before: bytes = b"") -> bytes:
    """Return an Excel workbook with these rows, in XML."""
    opening = b'<worksheet xmlns="%s">' % SHEET.encode()
    content = [before, opening, rows, b"</worksheet>"]
    return with_member(excel(), "xl/worksheets/sheet1.xml", content)


def paragraph(xml: bytes) -> bytes:
    return b"<w:p>%s</w:p>" % xml
