"""docs/howto/testing-agents.md, as printed."""

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "testing-agents.md"


def test_the_page_on_tests_works_as_printed(tmp_path):
    for code in re.findall(r"```python\n(# .*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        (tmp_path / code.split()[1]).write_text(code, encoding="utf-8")
    paths = [str(tmp_path), *(path for path in sys.path if path)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr
