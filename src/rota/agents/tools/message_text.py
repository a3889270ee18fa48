"""Bytes and HTML of foreign messages made into plain text that is safe to store and to print.

Nothing here raises for what a message holds: senders declare what they like.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import Final

from bs4 import BeautifulSoup
from bs4.element import NavigableString, PreformattedString, Tag
from bs4.exceptions import ParserRejectedMarkup

HTML_LIMIT: Final = 250_000
"""Characters of HTML that are read: a parser's time grows with them, and people write less."""

_UNPRINTABLE: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_C1: Final = re.compile("[\x80-\x9f]")  # what Windows-1252 is declared as ISO 8859-1 for
_LINE_BREAK: Final = re.compile("\r\n?|\x0b|\x0c")
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
# Control characters that are no white space, and those that reverse the direction of a line,
# so that "gpj.exe" shows as "exe.jpg".
_STEERING: Final = re.compile("[\x01-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u202a-\u202e\u2066-\u2069]")

# Python's codecs that decode text, and are no charset that a message may choose: some take
# quadratic time, others give a sender ways to hide text.
_NOT_CHARSETS: Final = frozenset(
    {"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape"}
)
# Mail programs write the left name and mean the right one, a superset (as browsers do).
_SUPERSETS: Final = {
    "iso8859-9": "cp1254",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
    "big5": "cp950",
    "tis-620": "cp874",
}
_ALIASES: Final = {
    "iso-8859-8-i": "iso-8859-8",
    "ks_c_5601-1987": "cp949",
    "unicode-1-1-utf-7": "utf-7",
    "windows-31j": "cp932",
    "windows-874": "cp874",
    "x-gbk": "gb18030",
    "x-mac-roman": "mac_roman",
    "x-sjis": "cp932",
    "x-user-defined": "cp1252",
}


def decode_text(data: bytes, charset: str | None) -> str:
    """Decode text in the charset that its sender declared, or else in what it looks like.

    An unknown charset, or one that the bytes are not valid in, gives way to UTF-8 and then to
    Windows-1252; what even that cannot read becomes U+FFFD.
    """
    declared = _codec_name(charset) if charset else None
    for candidate in _candidates(declared):
        text = _strictly(data, candidate)
        if text is not None and not (candidate == "iso8859-1" and _C1.search(text)):
            return text
    return _leniently(data, "cp1252" if declared in {None, "ascii", "iso8859-1"} else declared)


def _candidates(declared: str | None) -> tuple[str, ...]:
    if declared is None:
        return ("utf-8",)
    if declared == "iso8859-1":  # all bytes are valid in it: only its C1 controls tell a mistake
        return (declared, "utf-8", "cp1252")
    return (declared, _SUPERSETS.get(declared, declared), "utf-8")


def _codec_name(charset: str) -> str | None:
    asked = charset.strip().strip("'\"").lower()
    try:
        name = codecs.lookup(_ALIASES.get(asked, asked)).name
    except (LookupError, ValueError):  # ValueError: NUL in the name
        return None
    return None if name in _NOT_CHARSETS else name


def _strictly(data: bytes, charset: str) -> str | None:
    try:
        return data.decode(charset)
    except (UnicodeError, LookupError):  # LookupError: base64, zlib and others are no charsets
        return None


def _leniently(data: bytes, charset: str | None) -> str:
    try:
        return data.decode(charset or "utf-8", "replace")
    except (UnicodeError, LookupError):
        return data.decode("cp1252", "replace")


def clean_text(text: str) -> str:
    """Return text with plain newlines, and U+FFFD for other control characters and surrogates.

    So it can be stored in Postgres, and cannot steer a terminal that it is printed on.
    """
    return _UNPRINTABLE.sub("\ufffd", _LINE_BREAK.sub("\n", text))


def clean_line(text: str) -> str:
    """Return text as one line: white space collapsed, without characters that steer a display."""
    return " ".join(_STEERING.sub("", _UNSTORABLE.sub("\ufffd", text)).split())


_BLOCKS: Final = frozenset(
    {
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "caption",
        "center",
        "dd",
        "details",
        "dialog",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hr",
        "legend",
        "li",
        "main",
        "nav",
        "ol",
        "option",
        "p",
        "pre",
        "section",
        "summary",
        "table",
        "tbody",
        "tfoot",
        "thead",
        "title",
        "tr",
        "ul",
    }
)
_PARAGRAPHS: Final = frozenset(
    {"blockquote", "dl", "h1", "h2", "h3", "h4", "h5", "h6", "ol", "p", "pre", "table", "ul"}
)
_CELLS: Final = frozenset({"td", "th"})
_UNSEEN: Final = frozenset(
    {
        "applet",
        "audio",
        "canvas",
        "embed",
        "frame",
        "frameset",
        "head",
        "iframe",
        "math",
        "noscript",
        "object",
        "script",
        "select",
        "style",
        "svg",
        "template",
        "textarea",
        "title",
        "video",
    }
)
# A declaration counts only when it is whole: "font-size:0.9em" hides nothing.
_HIDING_STYLE: Final = re.compile(
    r"""(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)
    |(?:font-size|max-height|opacity)\s*:\s*0(?:\.0+)?(?:px|pt|em|rem|%)?
    |mso-hide\s*:\s*all)\s*(?:!\s*important\s*)?(?:;|$)""",
    re.IGNORECASE | re.VERBOSE,
)


def html_to_text(html: str) -> str:
    """Return what a reader of the HTML would see, with block elements as lines.

    Scripts, styles and hidden elements are left out: text that a person cannot see is how
    instructions are smuggled to models. Of links the text is kept, of pictures the description.
    At most `HTML_LIMIT` characters are read.
    """
    try:
        soup = BeautifulSoup(_without_declarations(html[:HTML_LIMIT]), "html.parser")
    except ParserRejectedMarkup:
        return "[HTML that cannot be read]"
    said: list[str] = []
    newlines = 0
    for piece in _pieces(soup):
        if piece == "\n":
            newlines = min(newlines + 1, 2)
        elif isinstance(piece, int):
            newlines = max(newlines, piece)
        elif piece.strip() or not newlines:
            said += ["\n" * newlines, piece]
            newlines = 0
    lines = "".join(said).strip().split("\n")
    return "\n".join(" ".join(line.split()) for line in lines)


def _without_declarations(html: str) -> str:
    """Leave out comments, declarations and processing instructions.

    Python's parser takes quadratic time over unfinished ones, and refuses strange ones.
    """
    kept: list[str] = []
    position = 0
    while found := _DECLARATION.search(html, position):
        kept.append(html[position : found.start()])
        end = "-->" if found[0] == "<!--" else ">"
        closed = html.find(end, found.end())
        if closed < 0:
            return "".join(kept)
        position = closed + len(end)
    return "".join([*kept, html[position:]])


_DECLARATION: Final = re.compile(r"<!--|<[!?]")


def _pieces(root: Tag) -> Iterator[str | int]:
    """Yield texts, a newline for each line break, and for the edge of a block its newlines."""
    # A stack of its own, because senders nest deeper than Python recurses.
    waiting: list[tuple[object, bool]] = [(root, False)]
    while waiting:
        node, preformatted = waiting.pop()
        if isinstance(node, Tag):
            if node is not root and _is_unseen(node):
                continue
            gap = _gap(node.name)
            yield gap
            yield from _instead_of(node)
            waiting.append((gap, False))
            inside = preformatted or node.name == "pre"
            waiting.extend((child, inside) for child in reversed(node.contents))
        elif isinstance(node, PreformattedString):  # comments, CDATA, declarations
            continue
        elif isinstance(node, NavigableString) and preformatted:
            for number, line in enumerate(_visible(node, _BLANKS).split("\n")):
                yield from ("\n", line) if number else (line,)
        elif isinstance(node, NavigableString):
            yield _visible(node, _BLANKS_AND_NEWLINES)
        elif isinstance(node, str | int):
            yield node


def _instead_of(tag: Tag) -> tuple[str, ...]:
    match tag.name:
        case "br":
            return ("\n",)
        case "img":
            return (_attribute(tag, "alt"),)
        case "li":
            return ("- ",)
        case _:
            return ()


# Newsletters fill their previews with characters that take no room.
_BLANKS: Final = re.compile(r"[^\S\n\xa0]+|[\xa0\u200b\u200c\u034f\u00ad\ufeff]+")
_BLANKS_AND_NEWLINES: Final = re.compile(r"[\s\u200b\u200c\u034f\u00ad\ufeff]+")


def _visible(text: str, blanks: re.Pattern[str]) -> str:
    return blanks.sub(_spaced, text)


def _spaced(run: re.Match[str]) -> str:
    return " " if any(character.isspace() for character in run[0]) else ""


def _gap(name: str) -> int | str:
    if name in _PARAGRAPHS:
        return 2
    if name in _BLOCKS:
        return 1
    return " " if name in _CELLS else 0


def _is_unseen(tag: Tag) -> bool:
    if tag.name in _UNSEEN or tag.has_attr("hidden"):
        return True
    return bool(_HIDING_STYLE.search(_attribute(tag, "style")))


def _attribute(tag: Tag, name: str) -> str:
    value = tag.get(name)
    return value if isinstance(value, str) else " ".join(value or ())
