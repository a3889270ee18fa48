"""HTML of foreign messages made into the text that a reader would see."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from bs4 import BeautifulSoup
from bs4.builder import HTMLTreeBuilder
from bs4.element import NavigableString, PreformattedString, Tag

HTML_LIMIT: Final = 250_000
"""Characters of HTML that are read: a parser's time grows with them, and people write less."""

_BLOCKS: Final = HTMLTreeBuilder.DEFAULT_BLOCK_ELEMENTS | {
    *("body", "caption", "center", "details", "dialog", "legend", "option", "summary", "tbody"),
    *("thead", "title", "tr"),
}
_PARAGRAPHS: Final = frozenset(
    {"blockquote", "dl", "h1", "h2", "h3", "h4", "h5", "h6", "ol", "p", "pre", "table", "ul"}
)
_CELLS: Final = frozenset({"td", "th"})
_UNSEEN: Final = frozenset(
    {
        *("applet", "audio", "canvas", "embed", "frame", "frameset", "head", "iframe", "math"),
        *("noscript", "object", "script", "select", "style", "svg", "template", "textarea"),
        *("title", "video"),
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
    soup = BeautifulSoup("".join(_markup(html[:HTML_LIMIT])), "html.parser")
    text: list[str] = []
    newlines = 0
    for piece in _pieces(soup):
        if piece == "\n":
            newlines = min(newlines + 1, 2)
        elif isinstance(piece, int):
            newlines = max(newlines, piece)
        elif piece.strip() or not newlines:
            text += ["\n" * newlines, piece]
            newlines = 0
    lines = "".join(text).strip().split("\n")
    return "\n".join(" ".join(line.split()) for line in lines)


def _markup(html: str) -> Iterator[str]:
    """Yield the HTML with whole tags only, of which the attributes that matter here are left.

    Python's parser takes quadratic time over unfinished tags and comments, and refuses strange
    declarations. This takes linear time over anything.
    """
    position = 0
    while found := _MARKUP.search(html, position):
        yield html[position : found.start()]
        position = found.end()
        if found["name"]:
            name = found["name"].lower()
            yield f"<{found['slash']}{name}{''.join(_attributes(found['rest']))}>"
            end = f"</{name}" if name in _RAW and not found["slash"] else ""
        else:
            end = "-->" if found[0] == "<!--" else ">" if found[0] in {"<!", "<?"} else ""
        if end:  # its content is no markup, and is not displayed
            closed = re.compile(re.escape(end), re.IGNORECASE).search(html, position)
            if closed is None:
                return
            position = closed.start() if end.startswith("<") else closed.end()
        elif not found["name"]:
            yield "&lt;"
    yield html[position:]


def _attributes(rest: str) -> Iterator[str]:
    for attribute in _ATTRIBUTE.finditer(rest):
        name = attribute["name"].lower()
        if name in _ATTRIBUTES_READ:
            value = next((text for text in attribute.group(2, 3, 4) if text is not None), "")
            yield f' {name}="{value.replace(chr(34), "&quot;")}"'


_MARKUP: Final = re.compile(
    r"""<(?:
    (?P<slash>/?)(?P<name>[A-Za-z][A-Za-z0-9:-]{0,30}+)
    (?P<rest>(?:[\s/](?>[^<>"'=]++|=\s*+(?>"[^"]*+"|'[^']*+')|["'=])*+)?)>
    |!--|!|\?|)""",
    re.VERBOSE,
)
_ATTRIBUTE: Final = re.compile(
    r"""(?P<name>[A-Za-z-]++)(?:\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s"'<>=]++)))?+"""
)
_ATTRIBUTES_READ: Final = frozenset({"alt", "hidden", "style"})
_RAW: Final = frozenset({"script", "style"})


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
            yield from _stand_in(node)
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


def _stand_in(tag: Tag) -> tuple[str, ...]:
    match tag.name:
        case "br":
            return ("\n",)
        case "img":
            return (_attribute(tag, "alt"),)
        case "li":
            return ("- ",)
        case _:
            return ()


# Newsletters fill their previews with characters of no width.
_BLANKS: Final = re.compile(r"[^\S\n\xa0]+|[\xa0\u200b\u200c\u034f\u00ad\ufeff]+")
_BLANKS_AND_NEWLINES: Final = re.compile(r"[\s\u200b\u200c\u034f\u00ad\ufeff]+")


def _visible(text: str, blanks: re.Pattern[str]) -> str:
    return blanks.sub(_one_space, text)


def _one_space(run: re.Match[str]) -> str:
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
