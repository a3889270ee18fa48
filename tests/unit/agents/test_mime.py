"""Messages as senders write them, the broken ones too."""

import base64
import email
import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rota.agents.tools.mail import headers as mail_headers
from rota.agents.tools.mail import html_text, mime
from rota.agents.tools.mail.dates import parse_date
from rota.agents.tools.mail.headers import decode_header_value
from rota.agents.tools.mail.html_text import HTML_LIMIT, html_to_text
from rota.agents.tools.mail.message_text import decode_text
from rota.agents.tools.mail.mime import TEXT_LIMIT, Attachment, read_message
from rota.domain.text.cleaning import clean_line


def read(*lines, body=b""):
    head = b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines)
    return read_message(head + b"\n\n" + body, message_id="m")


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("=?utf-8?q?Gr=C3=BC=C3=9Fe?= Bob", "Grüße Bob"),
        ("=?utf-8?B?w5Zk?=", "Öd"),
        ("=?utf-8?q?=C3?= =?utf-8?q?=A4?=", "ä"),  # a character split between words
        ("=?koi8-r?B?8NLJ18XU?=", "Привет"),
        ("=?no-such-charset?q?caf=C3=A9?=", "café"),
        ("=?utf-8*en?q?l=C3=A4ng?=", "läng"),
        ("=?utf-8?b?!!!?= x", "x"),
        ('"=?utf-8?q?Lee=2C_Ann?=" <ann@example.com>', '"Lee, Ann" <ann@example.com>'),
        ("ann@example.com (Ann Lee)", "ann@example.com (Ann Lee)"),
        ("folded\n\tsubject\r\n here", "folded subject here"),
        ("=?utf-8?q?two=0D=0Alines=1B[31m=00?=", "two lines[31m\ufffd"),
        ("invoice\u202egpj.exe", "invoicegpj.exe"),
        ("already ünicode =?utf-8?q?=C3=A4?=", "already ünicode ä"),
        ("", ""),
    ],
)
def test_header_values_are_decoded_to_one_line(raw, text):
    assert decode_header_value(raw) == text


@pytest.mark.parametrize("encoding", ["utf-8", "windows-1252"])
def test_raw_8_bit_headers_are_read(encoding):
    assert read(b"Subject: " + "Müßig".encode(encoding)).subject == "Müßig"


@pytest.mark.parametrize(
    ("charset", "data", "text"),
    [
        ("iso-2022-jp", "田中".encode("iso-2022-jp"), "田中"),
        ("windows-1251", "Привет".encode("cp1251"), "Привет"),
        ("us-ascii", "café".encode(), "café"),
        ("us-ascii", "café".encode("cp1252"), "café"),
        ("iso-8859-1", b"\x93quoted\x94", "“quoted”"),
        ("gb2312", "镕".encode("gbk"), "镕"),
        ("x-unknown", "naïve".encode(), "naïve"),
        ("idna", b"xn--a", "xn--a"),
        ("base64", b"aGk=", "aGk="),
        ("a\x00b", b"x", "x"),
        ("utf-8", b"cut \xe2\x82", "cut \ufffd"),
        ("utf-8", b"bad \x81", "bad \ufffd"),
        (None, b"\xff\xfe", "ÿþ"),
    ],
)
def test_text_is_decoded_as_declared_or_as_it_looks(charset, data, text):
    assert decode_text(data, charset) == text


def test_plain_text_is_preferred_to_html():
    message = read(
        'Content-Type: multipart/alternative; boundary="b"',
        body=b"--b\nContent-Type: text/html\n\n<p>rich</p>\n"
        b"--b\nContent-Type: text/plain\n\nplain\n--b--\n",
    )
    assert message.text == "plain"
    assert message.attachments == ()


def test_html_is_read_where_the_plain_text_is_blank():
    message = read(
        'Content-Type: multipart/alternative; boundary="b"',
        body=b"--b\nContent-Type: text/plain\n\n \n"
        b"--b\nContent-Type: text/html\n\n<p>rich</p>\n--b--\n",
    )
    assert message.text == "rich"


def test_nested_parts_give_text_and_attachments():
    pdf = base64.b64encode(b"%PDF")
    message = read(
        'Content-Type: multipart/mixed; boundary="o"',
        body=b'--o\nContent-Type: multipart/related; boundary="r"\n\n'
        b"--r\nContent-Type: text/html\n\n<p>See <b>this</b></p>\n"
        b"--r\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\nAAAA\n--r--\n"
        b"--o\nContent-Type: application/pdf\nContent-Transfer-Encoding: base64\n"
        b"Content-Disposition: attachment; filename*=utf-8''%C3%BCbersicht.pdf\n\n" + pdf + b"\n"
        b"--o\nContent-Type: text/plain\n\nThe footer\n--o--\n",
    )
    assert message.text == "See this\nThe footer"
    assert message.attachments == (
        Attachment("", "image/png", 3),
        Attachment("übersicht.pdf", "application/pdf", 4),
    )


def test_an_attached_message_is_listed_and_its_text_follows():
    message = read(
        'Content-Type: multipart/mixed; boundary="o"',
        body=b"--o\n\nFYI\n--o\nContent-Type: message/rfc822\n\n"
        b"From: eve@example.com\nSubject: =?utf-8?q?=C3=9C?=\n\ninner\n--o--\n",
    )
    assert message.text == "FYI\n\n[Attached message]\nFrom: eve@example.com\nSubject: Ü\n\ninner"
    assert [file.name for file in message.attachments] == ["Ü"]


def test_truncated_base64_gives_what_arrived():
    head = ("Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: base64")
    assert read(*head, body=b"SGVsbG8gd29ybGQ").text == "Hello world"


def test_words_broken_by_delsp_are_joined():
    head = "Content-Type: text/plain; format=flowed; delsp=yes"
    assert read(head, body=b"a long wo \nrd\n-- \nAnn\n").text == "a long word\n-- \nAnn\n"


def test_text_has_plain_newlines_and_no_control_characters():
    assert read("Subject: x", body=b"a\r\nb\rc\x00\x1b[2Jd\te").text == "a\nb\nc\ufffd\ufffd[2Jd\te"


def test_a_huge_text_is_cut():
    message = read("Subject: x", body=b"0123456789" * (TEXT_LIMIT // 10 + 1))
    assert len(message.text) == TEXT_LIMIT
    assert message.truncated


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Mon, 02 Mar 2026 08:00:00 +0100", datetime(2026, 3, 2, 7, tzinfo=UTC)),
        ("2 Mar 26 08:00 GMT", datetime(2026, 3, 2, 8, tzinfo=UTC)),
        ("Mon, 02 Mar 2026 08:00:00 NOWHERE (comment)", datetime(2026, 3, 2, 8, tzinfo=UTC)),
        ("Mon, 02 Mar 2026 08:00:00 +9999", datetime(2026, 3, 2, 8, tzinfo=UTC)),
        ("Mon, 02 Mar 2026 23:59:60 +0000", datetime(2026, 3, 2, 23, 59, 59, tzinfo=UTC)),
        ("Mon, 31 Feb 2026 08:00:00 +0000", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_dates_with_broken_zones_are_read(value, expected):
    assert parse_date(value) == expected


def test_hidden_elements_scripts_and_comments_are_left_out():
    html = (
        "<head><title>t</title></head><p>seen</p><style>p{}</style><script>x</script>"
        "<!-- c --><![if mso]><?xml y?><div style='display: none'>h1</div><p hidden>h2</p>"
        '<span style="font-size:0px;color:red">h3</span><p style="font-size:0.9em">small</p>'
    )
    assert html_to_text(html) == "seen\n\nsmall"


def test_blocks_become_lines_and_links_keep_their_text():
    html = "<h1>A&nbsp;B</h1><p>c<br>d <a href='https://x.example'>e</a></p><ul><li>f<li>g</ul>"
    assert html_to_text(html) == "A B\n\nc\nd e\n\n- f\n- g"
    assert html_to_text("<table><tr><td>1<td>2<tr><td>3</table>") == "1 2\n3"
    assert html_to_text("<pre>a\n\nb</pre>") == "a\n\nb"


class Looks:
    """Counts how many characters are looked at to find where pieces of markup end.

    Where a piece has no end, all that follows was looked at.
    """

    def __init__(self, monkeypatch):
        self.characters = 0
        for name in (
            *("parse_starttag", "parse_endtag", "parse_comment", "parse_pi"),
            *("parse_html_declaration", "parse_bogus_comment", "check_for_whole_start_tag"),
        ):
            monkeypatch.setattr(HTMLParser, name, self.counting(getattr(HTMLParser, name)))
        monkeypatch.setattr(html_text, "_MARKUP", self.of_pattern(html_text._MARKUP))
        compiled = re.compile
        monkeypatch.setattr(html_text.re, "compile", lambda *args: self.of_pattern(compiled(*args)))

    def counting(self, method):
        def parse(parser, start, *args):
            end = method(parser, start, *args)
            stopped = end if isinstance(end, int) and end >= 0 else len(parser.rawdata)
            self.characters += stopped - start
            return end

        return parse

    def of_pattern(self, pattern):
        looks = self

        class Counted:
            def search(self, text, position=0):
                found = pattern.search(text, position)
                looks.characters += (found.end() if found else len(text)) - position
                return found

        return Counted()


@pytest.mark.slow
@pytest.mark.parametrize(
    "piece",
    ["<!--", "<![", "<?", "<a ", "</", "<b>", "&#", "<x y='", "<x y=\"'", "<p =", "<", "<script>"],
)
def test_hostile_html_is_work_in_proportion(monkeypatch, piece):
    with monkeypatch.context() as patch:
        looks = Looks(patch)
        html_to_text(piece * (10_000 // len(piece)))
        assert 0 < looks.characters < 50_000  # of pieces that have no end it is millions
    # What a pattern does is not counted. One that is not linear takes so long that it is stopped.
    html_to_text(piece * (HTML_LIMIT // len(piece)))


def test_unfinished_markup_is_text():
    assert html_to_text("<p>1 < 2 <3 <a href='x>y'>z</a> a<b") == "1 < 2 <3 z a<b"
    assert html_to_text("<script>if (a<b) '<!--'</script><p>after") == "after"
    assert html_to_text("<style>p{</style >x<!-- never closed <p>y") == "x"


def test_deep_nesting_does_not_raise():
    deep = b"".join(
        b'Content-Type: multipart/mixed; boundary="%d"\n\n--%d\n' % (n, n) for n in range(1500)
    )
    message = read_message(b"Subject: deep\n" + deep, message_id="m")
    assert message.subject == "deep"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("raw", "parsed"),
    [
        (
            b"".join(
                b'Content-Type: multipart/mixed; boundary="%d"\n\n--%d\n' % (n, n)
                for n in range(400)
            )
            + b"a line\n" * 1_000_000,
            256 * 1024,
        ),
        # Read at once, by a parser that is linear without boundaries.
        (b"Subject: " + b"=?utf-8?q?a" * 100_000 + b"\n\n", 1_100_011),
    ],
    ids=["boundaries", "encoded words"],
)
def test_of_hostile_messages_little_is_parsed(monkeypatch, raw, parsed):
    """Both parsers take quadratic time over what senders may make as long as they like."""
    handed = {"messages": [], "headers": []}
    parse, decode = email.message_from_bytes, mail_headers.decode_header

    def message_from_bytes(data, **options):
        handed["messages"].append(len(data))
        return parse(data if len(data) <= parsed else b"", **options)

    def decode_header(value):
        handed["headers"].append(len(value))
        return decode(value if len(value) <= 20_000 else "")

    monkeypatch.setattr(mime.email, "message_from_bytes", message_from_bytes)
    monkeypatch.setattr(mail_headers, "decode_header", decode_header)

    read_message(raw, message_id="m")

    assert handed["messages"] == [parsed]
    assert all(length <= 20_000 for length in handed["headers"])


HEADERS = st.sampled_from(
    [
        b"From",
        b"Date",
        b"Subject",
        b"Content-Type",
        b"Content-Disposition",
        b"Content-Transfer-Encoding",
        b"To",
        b"Message-ID",
    ]
)
FRAGMENTS = st.sampled_from(
    [
        b"=?utf-8?q?",
        b"=?x?b?",
        b"?=",
        b"multipart/mixed; boundary=b",
        b"message/rfc822",
        b"--b",
        b"text/html; charset=",
        b"utf-8",
        b"filename*0*=",
        b"name*=utf-8''%",
        b"base64",
        b'"',
        b";",
        b"\n",
        b"\r\n ",
        b"\xff",
        b"\x00",
        b"(",
        b"<",
        b"uuencode",
        b"begin 666 x\n",
        b"utf-7",
        b"=",
    ]
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(HEADERS, st.lists(FRAGMENTS | st.binary(max_size=6), max_size=8))),
    st.lists(FRAGMENTS | st.binary(max_size=20), max_size=12),
)
def test_reading_never_raises_and_is_storable(headers, body):
    raw = b"".join(name + b": " + b"".join(value) + b"\n" for name, value in headers)
    message = read_message(raw + b"\n" + b"".join(body), message_id="m")
    texts = [message.sender, message.subject, message.text, message.snippet, message.message_id]
    texts += [file.name for file in message.attachments]
    for text in texts:
        assert "\x00" not in text
        text.encode()
    assert not any("could not be read (" in note for note in message.notes)
    assert message.date is None or message.date.utcoffset() is not None
    assert "\n" not in message.subject


@given(st.text())
def test_a_line_is_one_line(text):
    assert len(clean_line(text).splitlines()) <= 1
