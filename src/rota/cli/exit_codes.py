"""Exit codes that belong to no error class; those of errors are in `rota.domain.errors`.

docs/reference/exit-codes.md lists all of them; a test compares.
"""

from __future__ import annotations

from typing import Final

from rota.domain.errors import (
    ConflictError,
    InvalidInputError,
    MigrationError,
    NotFoundError,
    SetupRequiredError,
)

EXIT_OF_STATUS: Final = {"success": 0, "error": 8, "partial": 9}
"""What became of a run that was waited for."""

NO_RESULT_YET: Final = 10

UNEXPECTED: Final = 70
"""An error that is a fault of rota's own (EX_SOFTWARE of sysexits)."""

INTERRUPTED: Final = 130
"""Ctrl-C."""

CUT_OFF: Final = 141
"""Whoever read our output closed it: what a shell says of SIGPIPE."""

TO_MEND: Final = frozenset(
    error.exit_code
    for error in (
        InvalidInputError,
        NotFoundError,
        ConflictError,
        SetupRequiredError,
        MigrationError,
    )
)
"""Codes of what a person has to set right: starting it again changes nothing."""
