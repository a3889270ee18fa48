"""Files as text: what a person would read in them, and one sentence where that cannot be had."""

from __future__ import annotations

import asyncio
import io
import os
import sys
import zipfile
from pathlib import Path

import pytest

from rota.agents.tools.mail.documents import reading
from rota.agents.tools.mail.documents.reading import read_text
from tests.unit.agents import documents_made as made

DAMAGED = "It is damaged"
BOMB = b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">%s]>' % b"".join(
    b'<!ENTITY %c "%s">' % (98 + level, b"&%c;" % (97 + level) * 10) for level in range(9)
)
INVITATION = """BEGIN:VCALENDAR
METHOD:REQUEST
BEGIN:VEVENT
UID:1
SUMMARY:Lunch with Bob
DTSTART;TZID=Europe/Berlin:20261201T120000
RRULE:FREQ=DAILY;COUNT=2
ATTENDEE;CN=Bob;PARTSTAT=ACCEPTED:mailto:bob@example.com
ORGANIZER:mailto:ann@example.com
LOCATION:Café
END:VEVENT
END:VCALENDAR
""".replace("\n", "\r\n").encode()


async def read(data, name="", content_type="", charset=None, limit=20_000):
    return await read_text(data, limit=limit, name=name, content_type=content_type, charset=charset)


# -- What is read


async def test_word_gives_paragraphs_and_tables_in_their_order():
    found = await read(made.word("Dear Ann,", "here is the offer."), "offer.docx")
    assert found.text.split("\n")[:2] == ["Dear Ann,", "here is the offer."]
    assert "Item \tPrice" in found.text
    assert "Tea \t3 €" in found.text
    assert (found.truncated, found.notes) == (False, ())


async def test_what_a_person_does_not_see_in_word_is_left_out():
    data = made.word_of(
        made.paragraph(b"<w:r><w:t>Seen</w:t></w:r>"),
        made.paragraph(b"<w:r><w:rPr><w:vanish/></w:rPr><w:t>HIDDEN</w:t></w:r>"),
        made.paragraph(b"<w:del><w:r><w:delText>DELETED</w:delText></w:r></w:del>"),
        made.paragraph(b"<w:ins><w:r><w:t>Inserted</w:t></w:r></w:ins>"),
        made.paragraph(
            b'<w:r><w:rPr><w:vanish w:val="false"/></w:rPr><w:t>Shown again</w:t></w:r>'
        ),
    )
    assert (await read(data, "a.docx")).text.split() == ["Seen", "Inserted", "Shown", "again"]


async def test_excel_gives_the_cells_of_each_sheet():
    found = await read(made.excel(), "costs.xlsx")
    assert found.text == "Sheet Costs\nTea\t3.5\t2026-12-01 00:00:00"
    # Nothing has calculated the formula.
    assert found.notes == ()


async def test_powerpoint_gives_slides_and_what_the_speaker_noted():
    found = await read(made.powerpoint(), "plans.pptx")
    assert found.text.split("\n") == ["Slide 1", "Plans", "", "Notes: Speak slowly."]


async def test_pdf_gives_its_pages_and_says_how_far_it_was_read():
    assert (await read(made.pdf("One", "Two"), "a.pdf")).text == "One\n\nTwo"

    found = await read(made.pdf(*["word"] * 30), "a.pdf", limit=60)
    assert found.truncated is True
    assert len(found.text) <= 60
    assert found.notes == ("Only its beginning was read up to page 11 of 30.",)


async def test_pdf_of_pictures_says_so():
    found = await read(made.pdf(content=b"q Q"), "scan.pdf")
    assert (found.text, found.truncated) == ("", False)
    assert "its pages may be pictures" in found.notes[0]


@pytest.mark.parametrize(("name", "content_type"), [("invite.ics", ""), ("", "text/calendar")])
async def test_an_invitation_is_told_in_words(name, content_type):
    found = await read(INVITATION, name, content_type)
    assert found.text.split("\n") == [
        *("Method: REQUEST", "", "Summary: Lunch with Bob"),
        "Start: 2026-12-01 12:00:00+01:00 (Europe/Berlin)",
        *("Repeats: FREQ=DAILY;COUNT=2", "Where: Café", "Organizer: mailto:ann@example.com"),
        "Attendee: mailto:bob@example.com (Bob, ACCEPTED)",
    ]


@pytest.mark.parametrize(
    ("data", "charset"),
    [
        ("Grüße".encode(), None),
        ("Grüße".encode("latin-1"), "iso-8859-1"),
        ("Grüße".encode("latin-1"), None),
        ("Grüße".encode("utf-16"), None),
        ("Grüße".encode("utf-8-sig"), "us-ascii"),
    ],
)
async def test_plain_text_is_read_in_its_charset(data, charset):
    assert (await read(data, "a.txt", "text/plain", charset)).text == "Grüße"


async def test_html_gives_what_a_reader_sees():
    data = b"<p>Seen</p><p hidden>HIDDEN</p><script>x()</script>"
    assert (await read(data, "a.html", "text/html")).text == "Seen"


async def test_text_that_is_too_long_is_cut_and_says_so():
    found = await read(b"a" * 100, "a.txt", limit=10)
    assert (found.text, found.truncated) == ("a" * 10, True)


async def test_macros_are_no_hindrance_and_are_not_run(tmp_path):
    data = made.word("Text")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        types = archive.read("[Content_Types].xml")
    plain = b"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    macro = b"application/vnd.ms-word.document.macroEnabled.main+xml"
    data = made.with_member(data, "[Content_Types].xml", [types.replace(plain, macro)])
    assert (await read(data, "a.docm")).text.startswith("Text")


# -- What is not what it says


async def test_a_wrong_ending_is_named_and_the_file_read():
    found = await read(made.word("Text"), "a.pdf", "application/pdf")
    assert found.text.startswith("Text")
    assert found.notes == ("It is named as a PDF file, and is a Word document.",)
    found = await read(b"only text", "a.pdf", "application/pdf")
    assert (found.text, found.notes) == (
        "only text",
        ("It is named as a PDF file, and is plain text.",),
    )


@pytest.mark.parametrize(
    ("data", "name", "said"),
    [
        (b"", "a.pdf", "It is empty."),
        (b"\x89PNG\r\n\x1a\n\0\0", "a.png", "Its text cannot be read: rota reads text, HTML, PDF"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "a.doc", "an old Office format"),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"),
            "a.docx",
            "encrypted with a password",
        ),
        (made.locked_pdf("Text", password="secret"), "a.pdf", "encrypted with a password"),
        (made.pdf("Text")[:200], "a.pdf", DAMAGED),
        (b"%PDF-1.7" + bytes(range(256)) * 10, "a.pdf", DAMAGED),
        (made.word("Text")[:5_000], "a.docx", DAMAGED),
        (made.excel()[:3_000], "a.xlsx", DAMAGED),
        (made.word_of(b"<w:p>"), "a.docx", DAMAGED),
        (b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n", "a.ics", "There is no event in it."),
        (b"BEGIN:VCALENDAR\r\nnonsense\r\nEND:VEVENT", "a.ics", DAMAGED),
        (b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n", "a.ics", "There is no event in it."),
    ],
)
async def test_one_sentence_says_why_there_is_no_text(data, name, said):
    found = await read(data, name)
    assert (found.text, found.truncated) == ("", False)
    (note,) = found.notes
    assert said in note


async def test_what_a_large_worker_reads_is_not_said_to_need_memory():
    ballast = bytearray(b"x") * 500_000_000
    found = await read(made.pdf("Text")[:200], "a.pdf")
    assert len(ballast) == 500_000_000
    (note,) = found.notes
    assert DAMAGED in note


@pytest.mark.parametrize(
    ("members", "said"),
    [
        (["readme.txt"], "a zip archive, which rota does not unpack"),
        (["mimetype", "content.xml"], "an OpenDocument file"),
        (["[Content_Types].xml", "xl/workbook.bin"], "a binary Excel file"),
        (["[Content_Types].xml", "word/document.xml"], DAMAGED),
    ],
)
async def test_a_zip_archive_is_not_unpacked(members, said):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in members:
            archive.writestr(name, "x")
    (note,) = (await read(file.getvalue(), "a.docx")).notes
    assert said in note


async def test_a_pdf_that_only_its_owner_may_change_is_read():
    assert (await read(made.locked_pdf("Text", password=""), "a.pdf")).text == "Text"


# -- What is made to harm


@pytest.mark.parametrize(
    ("data", "name", "said"),
    [
        pytest.param(
            lambda: made.word_of(*[b"<w:p/>" * 1_000_000] * 40),
            "a.docx",
            "It is not unpacked: that would give 240,",
            id="zip bomb",
        ),
        pytest.param(
            lambda: made.word_of(*[b"<w:p/>" * 1_000_000] * 25),
            "a.docx",
            "more memory than rota gives it (768 MB)",
            id="many elements",
        ),
        pytest.param(
            lambda: made.word_of(b"<w:p>" * 100_000, b"</w:p>" * 100_000),
            "a.docx",
            DAMAGED,
            id="nested elements",
        ),
        pytest.param(
            lambda: made.word_of(made.paragraph(b"<w:r><w:t>&j;</w:t></w:r>"), before=BOMB),
            "a.docx",
            DAMAGED,
            id="entities in Word",
        ),
        pytest.param(
            lambda: made.excel_of(
                b'<sheetData><row r="1"><c t="inlineStr"><is><t>&j;</t></is></c></row></sheetData>',
                before=BOMB,
            ),
            "a.xlsx",
            DAMAGED,
            id="entities in Excel",
        ),
        pytest.param(
            lambda: made.pdf_of(
                [
                    b"<</Type/Catalog/Pages 2 0 R>>",
                    b"<</Type/Pages/Count 1000000/Kids[%s]>>" % (b"3 0 R " * 1_000_000),
                    b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>",
                ]
            ),
            "a.pdf",
            "It has more pages or parts",
            id="a million pages",
        ),
        pytest.param(
            lambda: made.pdf_of(
                [
                    b"<</Type/Catalog/Pages 2 0 R>>",
                    b"<</Type/Pages/Count 1/Kids[3 0 R]>>",
                    b"<</Type/Pages/Count 1/Kids[2 0 R]>>",
                ]
            ),
            "a.pdf",
            DAMAGED,
            id="pages that contain themselves",
        ),
        pytest.param(
            lambda: made.pdf_of(
                [
                    b"<</Type/Catalog/Pages 2 0 R>>",
                    *(b"<</Type/Pages/Count 1/Kids[%d 0 R]>>" % n for n in range(3, 20_003)),
                ]
            ),
            "a.pdf",
            "It has more pages or parts",
            id="pages in pages in pages",
        ),
        pytest.param(
            lambda: made.pdf(content=b" " * 500_000_000),
            "a.pdf",
            "1 of 1 pages could not be read.",
            id="a page of 500 MB",
        ),
    ],
)
async def test_a_hostile_file_costs_one_sentence(data, name, said):
    found = await read(data(), name)
    assert found.text == ""
    (note,) = found.notes
    assert said in note


async def test_a_workbook_that_claims_to_be_huge_is_read_as_it_is():
    data = made.excel_of(
        b'<dimension ref="A1:XFD1048576"/><sheetData><row r="1"><c r="A1"><v>1</v></c></row>'
        b'<row r="1048576"><c r="B1048576"><v>2</v></c></row></sheetData>'
    )
    assert (await read(data, "a.xlsx")).text == "Sheet Costs\n1\n\t2"


async def test_what_takes_too_long_gives_its_beginning(monkeypatch):
    monkeypatch.setattr(reading, "PROCESSOR_SECONDS", 2)
    data = made.excel_of(
        b'<sheetData><row r="1"><c r="A1"><v>1</v></c></row>'
        b'<row r="99999999999"><c r="A99999999999"><v>2</v></c></row></sheetData>'
    )
    found = await read(data, "a.xlsx")
    assert (found.text, found.truncated) == ("Sheet Costs\n1", True)
    (note,) = found.notes
    assert note.startswith("Reading it took longer than 2 s. Only its beginning was read up to row")


async def test_a_document_cannot_name_a_file_of_this_machine(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("PRIVATE")
    before = b'<!DOCTYPE a [<!ENTITY a SYSTEM "file://%s">]>' % bytes(secret)
    data = made.word_of(made.paragraph(b"<w:r><w:t>x&a;</w:t></w:r>"), before=before)
    assert "PRIVATE" not in (await read(data, "a.docx")).text


async def test_the_process_gets_none_of_the_workers_keys(monkeypatch, tmp_path):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-secret")
    _stand_in(monkeypatch, tmp_path, "import os; print(json_of(repr(dict(os.environ))))")
    found = await read(made.pdf("x"), "a.pdf")
    assert "PYTHONPATH" in found.text
    assert "sk-secret" not in found.text


async def test_a_process_that_dies_or_talks_too_much_is_one_sentence(monkeypatch, tmp_path):
    _stand_in(monkeypatch, tmp_path, "import os; os.abort()")
    assert "reading it ended abruptly" in (await read(made.pdf("x"), "a.pdf")).notes[0]
    _stand_in(monkeypatch, tmp_path, "print('a' * 10_000_000)", name="second")
    assert "reading it ended abruptly" in (await read(made.pdf("x"), "a.pdf")).notes[0]


async def test_the_process_ends_when_the_run_is_cancelled(monkeypatch, tmp_path):
    told = tmp_path / "pid"
    code = f"import os, time; open({str(told)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    _stand_in(monkeypatch, tmp_path, code)
    task = asyncio.create_task(read(made.pdf("x"), "a.pdf"))
    while not (told.exists() and told.read_text()):
        await asyncio.sleep(0.01)
    pid = int(told.read_text())
    os.kill(pid, 0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_no_more_than_two_files_are_read_at_a_time(monkeypatch, tmp_path):
    log = tmp_path / "log"
    code = (
        "import time\n"
        f"log = open({str(log)!r}, 'a')\n"
        "print('+', file=log, flush=True)\n"
        "time.sleep(0.2)\n"
        "print('-', file=log, flush=True)\n"
        "print(json_of('read'))"
    )
    _stand_in(monkeypatch, tmp_path, code)
    found = await asyncio.gather(*(read(made.pdf("x"), "a.pdf") for _ in range(5)))
    assert [one.text for one in found] == ["read"] * 5
    running = [1 if line == "+" else -1 for line in log.read_text().split()]
    assert max(sum(running[: n + 1]) for n in range(len(running))) == 2


def _stand_in(monkeypatch, tmp_path: Path, code: str, name="stand_in"):
    """Have another program read the files, in the place of rota's."""
    head = (
        "import json, sys\n"
        "sys.stdin.buffer.read()\n"
        "def json_of(text):\n"
        "    return json.dumps({'kind': 'pdf', 'text': text, 'truncated': False, 'notes': []})\n"
    )
    (tmp_path / f"{name}.py").write_text(head + code)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(reading, "_MODULE", name)
