"""What a reader types on a page of the docs: files that it has written, and commands.

A block whose language is `sh` is typed, line by line. A block that begins with a comment that is a
file's name is written into that file, and so is one after a sentence that ends with the file's
name in backticks and a colon. Nothing else is typed: other blocks show something, or need what the
reader has and a test has not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"# ([\w.-]+\.\w+)\n")
_NAMED = re.compile(r"`([\w./~-]+\.\w+)`:\s*$")


@dataclass(frozen=True)
class File:
    """A file that the reader has to write."""

    name: str
    text: str


@dataclass(frozen=True)
class Command:
    """A line that the reader types."""

    line: str


def page_name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def all_pages() -> list[Path]:
    """Return README, the tutorial and the how-tos, in the order in which the map names them."""
    docs = ROOT / "docs"
    linked = re.findall(
        r"\(((?:tutorial|howto)/[\w-]+\.md)\)", (docs / "README.md").read_text("utf-8")
    )
    pages = [ROOT / "README.md", *(docs / name for name in dict.fromkeys(linked))]
    missing = {*docs.glob("howto/*.md"), *docs.glob("tutorial/*.md")}
    assert missing <= set(pages), "docs/README.md names all of them"
    return pages


def typed(path: Path) -> list[File | Command]:
    """Return what a page has its reader write and type, in its order."""
    text = path.read_text("utf-8")
    found: list[File | Command] = []
    for block in _BLOCK.finditer(text):
        language, content = block[1], block[2]
        named = _NAMED.search(text[: block.start()])
        comment = _COMMENT.match(content)
        if language == "sh":
            found += [Command(line) for line in _lines(content)]
        elif comment:
            found.append(File(comment[1], content))
        elif named:
            found.append(File(named[1], content))
    return found


def _lines(block: str) -> list[str]:
    joined = block.replace("\\\n", " ")
    return [
        line for line in joined.splitlines() if line.strip() and not line.strip().startswith("#")
    ]
