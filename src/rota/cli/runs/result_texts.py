"""Prints a result for a person: one line about its run, then the answer.

On a terminal, Markdown is rendered and a long answer is shown in a pager (`PAGER`). Elsewhere the
answer is printed as it is. The text passes through `output.plain` before and after it is parsed.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from rota.cli import output
from rota.domain.runs.option_kinds import counted, money

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.markdown import Markdown

    from rota.domain.runs.views import Result, WholeResult

_STYLES: Final = {"success": "bold green", "partial": "bold yellow", "cancelled": "bold yellow"}
_MOST_TOOLS: Final = 3
_READ_MAIL: Final = frozenset({"mail_get_message", "gmail_get_message"})
_SEARCHED_MAIL: Final = frozenset({"mail_search", "gmail_search"})

_MARKDOWN: Final = re.compile(
    r"^ {0,3}(?:#{1,6} \S|```|~~~|\|.*\|\s*$)|\*\*\S[^\n]*\*\*|`[^`\n]+`|\]\(https?:", re.MULTILINE
)
"""What only a text that was written as Markdown has; lists read well without being rendered."""

_FENCE: Final = re.compile(r" {0,3}(```|~~~)")
_DATA_IMAGE: Final = re.compile(r"!\[([^\]\n]*)\]\(\s*<?data:image/([\w.+-]+)[^)\s]*>?[^)]*\)")
_BARE_DATA: Final = re.compile(r"data:image/([\w.+-]+);base64,([A-Za-z0-9+/=]{100,})")


def status_of(result: Result) -> str:
    """Say how a run ended: one that was cancelled has not failed, and a dry one did nothing."""
    if "cancelled" in result.metadata:
        return "cancelled"
    return f"dry run, {result.status}" if "dry_run" in result.metadata else result.status


def head(found: WholeResult) -> str:
    """Say in one line how a run ended, what it did, and what that took."""
    result = found.result
    seconds = result.execution_duration_ms / 1000
    done = list(_calls_in_words(found.calls))
    if count := result.pending_actions_created:
        done.append(f"asked for {counted(count, 'action')}")
    if "cost_usd" in result.metadata:
        done.append(money(Decimal(result.metadata["cost_usd"])))
    said = f"{result.schedule_name or result.agent_name}: {status_of(result)} after {seconds:.1f} s"
    return f"{said}: {', '.join(done)}" if done else said


def print_result(found: WholeResult, *, paged: bool) -> None:
    """Print a result: what its run did, the answer, and what is worth knowing besides."""
    from rich.text import Text

    result = found.result
    status = status_of(result)
    style = _STYLES.get("cancelled" if status == "cancelled" else result.status, "bold red")
    parts: list[RenderableType] = [
        Text(output.plain(head(found)), style=style),
        "",
        _rendered(found.content or "(the answer is empty)"),
        "",
        *(Text(output.plain(said), style=styled) for said, styled in _notes(found)),
    ]
    console = output.console()
    if not sys.stdout.isatty():
        for part in parts:
            console.print(part, soft_wrap=True)
        return
    lines = sum(len(console.render_lines(part)) for part in parts)
    if not paged or lines < console.height or not sys.stdin.isatty():
        console.print(*parts, sep="\n")
        return
    os.environ.setdefault("LESS", "-R")  # colours, as git has it
    with console.pager(styles="NO_COLOR" not in os.environ):
        console.print(*parts, sep="\n")


def _notes(found: WholeResult) -> Iterator[tuple[str, str]]:
    """Yield what is worth knowing besides the answer, each with its style."""
    result = found.result
    for warning in result.metadata.get("warnings", ()):
        yield f"Warning: {warning}", "yellow"
    length = result.metadata.get("original_length")
    if length is not None and len(found.content) < length:
        kept = "not kept" if found.text is None else "too long"
        yield f"Cut: it was {length:,} characters long. The rest is {kept}.", "yellow"
    if count := result.pending_actions_created:
        asked = f"It asked for your approval of {counted(count, 'action')}"
        yield f"{asked}: see `rota approvals list`.", "yellow"
    yield f"Result {output.short(result.id)} of run {output.short(result.run_id)}", "dim"


def _calls_in_words(calls: Sequence[tuple[str, int]]) -> Iterator[str]:
    """Yield what a run did with its tools: mail in words, others by their names."""
    mails = sum(count for name, count in calls if name in _READ_MAIL)
    others = [(name, count) for name, count in calls if name not in _READ_MAIL | _SEARCHED_MAIL]
    if any(name in _SEARCHED_MAIL for name, _ in calls) and not mails:
        yield "searched mail"
    if mails:
        yield f"read {counted(mails, 'mail')}"
    for name, count in others[:_MOST_TOOLS]:
        yield f"called {name}" if count == 1 else f"called {name} {count} times"
    if more := sum(count for _, count in others[_MOST_TOOLS:]):
        yield counted(more, "other call")


def _rendered(text: str) -> RenderableType:
    """Return an answer to be printed: Markdown, where it is some and is read on a terminal."""
    from rich.text import Text

    if not sys.stdout.isatty():
        return Text(output.plain(text))
    folded = output.plain(fold_images(text))
    return _markdown(folded) if _MARKDOWN.search(folded) else Text(folded)


def fold_images(text: str) -> str:
    """Put a note in place of images that stand in a text as data."""
    text = _DATA_IMAGE.sub(lambda found: f"[image: {found[1] or found[2]}]", text)
    return _BARE_DATA.sub(
        lambda found: f"[image: {found[1]}, {len(found[2]) * 3 // 4:,} bytes]", text
    )


def _markdown(text: str) -> Markdown:
    from rich.markdown import Markdown

    made = Markdown(_with_hard_breaks(text), hyperlinks=False, code_theme="ansi_dark")
    _neutralise(made.parsed)
    return made


def _with_hard_breaks(text: str) -> str:
    """Have each line stay one: an agent's lists and addresses are broken on purpose."""
    lines, fence = [], ""
    for line in text.split("\n"):
        if (found := _FENCE.match(line)) and fence in {"", found[1]}:
            fence = "" if fence else found[1]
            lines.append(line)
        else:
            lines.append(line if fence or not line.strip() or "|" in line else f"{line}  ")
    return "\n".join(lines)


def _neutralise(tokens: Iterable[object] | None) -> None:
    """Write out what an entity stood for, which may be what `plain` writes out."""
    for token in tokens or ():
        token.content = output.plain(token.content)  # type: ignore[attr-defined]  # markdown-it's
        _neutralise(token.children)  # type: ignore[attr-defined]
