"""docs/howto/testing-agents.md, with the tool of own-tools.md, as printed."""

import os
import re
import subprocess
import sys
from pathlib import Path

HOWTO = Path(__file__).parents[2] / "docs" / "howto"


def block(page: str, number: int = 0) -> str:
    text = (HOWTO / page).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)[number]


def test_the_page_on_tests_works_as_printed(tmp_path):
    (tmp_path / "house.py").write_text(block("own-tools.md"), encoding="utf-8")
    (tmp_path / "test_house.py").write_text(block("testing-agents.md"), encoding="utf-8")
    paths = [str(tmp_path), *(path for path in sys.path if path)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "NOTES": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr
