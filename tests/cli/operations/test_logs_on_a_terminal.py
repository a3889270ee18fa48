"""`rota logs` shows ids and times as short as `rota up` does, on a terminal only."""

from __future__ import annotations

from datetime import UTC, datetime

from rota.cli.operations.detached import log_file
from tests.cli.terminal import on_terminal

LINE = "[info] morning: started run_id=3a5e46f8-0c1d-4e2f-8a3b-4c5d6e7f8091"


def test_logs_on_a_terminal_have_short_ids_and_times(tmp_path):
    now = datetime.now(UTC)
    log_file(tmp_path).path.write_text(f"{now:%Y-%m-%d %H:%M:%S}+0000 {LINE}\n")

    shown = on_terminal(["logs", "--data-dir", str(tmp_path)], {"TZ": "UTC"}, width=80)

    assert shown.exit_code == 0
    assert shown.lines[0].endswith(f"{now:%H:%M:%S} [info] morning: started run_id=3a5e46f8")
