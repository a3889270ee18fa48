"""What applying files changes, as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rota.cli import output

if TYPE_CHECKING:
    from rota.services.agent_files.applying import Applied

_WOULD: Final = {
    "created": "would be created",
    "updated": "would be updated",
    "unchanged": "is unchanged",
    "kept": "is not in the file, and would be kept",
    "removed": "would be removed",
}
_NOT_IN_FILE: Final = "not in the file; it stays as it is, and --prune removes it"


def print_changes(changes: Sequence[Applied], *, would: bool = False, indent: str = "") -> None:
    """Print what was changed, or with `would` what would be, with warnings."""
    for change in changes:
        fields = f" ({', '.join(change.fields)})" if change.fields else ""
        if would:
            said = f"{indent}{change.kind} {change.name} {_WOULD[change.change]}{fields}"
        else:
            done = _NOT_IN_FILE if change.change == "kept" else change.change
            said = f"{indent}{change.kind} {change.name}: {done}{fields}"
        output.say(said)
        if change.doubt is not None:
            output.warn(f"Warning: {change.kind} {change.name}: {change.doubt}.")
