"""Sets of files and what applying them changes, as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from rota.services.agent_files.applying_sets import FileDiff, FilesApplied, PassedOver
from rota.services.agent_files.file_sets import FileSet
from rota.shown.agents import AppliedShown
from rota.shown.models import Shown, model_of

FileSetShown: Final = model_of(FileSet)
_FileDiffShown: Final = model_of(FileDiff)
_PassedOverShown: Final = model_of(PassedOver)


class FilesAppliedShown(Shown):
    """What applying files changed; in a rehearsal, what it would change. `diffs` where asked."""

    changes: list[AppliedShown]  # type: ignore[valid-type]  # a type that is made
    passed_over: list[_PassedOverShown]  # type: ignore[valid-type]  # as above
    diffs: list[_FileDiffShown] | None = None  # type: ignore[valid-type]  # as above
    is_rehearsal: bool


def files_applied_json(applied: FilesApplied, *, with_diffs: bool) -> dict[str, Any]:
    """Return what applying files changed as JSON."""
    shown = asdict(applied)
    if not with_diffs:
        del shown["diffs"]
    return shown
