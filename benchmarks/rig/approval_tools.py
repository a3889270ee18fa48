"""The tool of the approvals benchmark: it writes down, in a file, that it really ran."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from langchain_core.tools import BaseTool, tool

from rota.agents.tools.context import ToolContext

FILE: Final = "APPROVALS_FILE"
NAME: Final = "bench_send"
TOOLS: Final = f"{NAME}={__name__}:send"
"""What ROTA_TOOLS is to say; the folder of `rig` is to be in PYTHONPATH."""


def send(_context: ToolContext) -> BaseTool:
    """Make a tool with an effect."""
    file = Path(os.environ[FILE])

    @tool
    def bench_send(to: str, text: str = "") -> str:
        """Send something."""
        with file.open("a") as log:
            log.write(f"{to} {text}\n")
        return f"sent to {to}"

    return bench_send
