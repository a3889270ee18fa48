"""Sets up .venv as uv.lock says, then runs rota or the checks. Needs nothing but Python 3.11+.

Whatever is downloaded or noted on the way lies in `.rota/` and `.venv/`. Killed half-way, a later
call goes on; two calls at once wait for each other.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NoReturn

ROOT: Final = Path(__file__).resolve().parent.parent
VENV: Final = ROOT / ".venv"
NOTES: Final = ROOT / ".rota"
TOOLS: Final = NOTES / "tools"
LOG: Final = NOTES / "setup.log"
STAMP: Final = VENV / "rota-setup.json"
JUNIT: Final = NOTES / "tests.xml"

PIP: Final[Sequence[str | Path]] = (
    TOOLS / "bin" / "python",
    *("-m", "pip", "--disable-pip-version-check"),
)
UV_REQUIREMENT: Final = "uv>=0.9,<1"

GROUPS: Final[Mapping[str, Sequence[str]]] = {
    "up": ("--all-extras", "--no-dev"),
    "test": ("--all-extras", "--group", "dev"),
    "bench": ("--all-extras", "--group", "dev", "--group", "bench"),
}
"""What uv installs for each of the scripts; each holds what those before it have."""


ONLY_WITH_ALL: Final = ("kill", "benchmark", "howto", "browser", "long", "oidc", "postgres15")
"""Marks of tests that run only with `scripts/test --all`; pyproject.toml explains them."""


class SetupError(Exception):
    """The environment cannot be set up; the message says what a person can do."""


def say(text: str) -> None:
    """Tell the person what goes on, past whatever collects the output."""
    print(text, file=sys.stderr, flush=True)


class Progress:
    """Runs commands and shows, in one line, how they come on; what they write goes into a log.

    A command that failed is told of only where nothing else helped: `said` has its last words.
    """

    def __init__(self) -> None:
        """Begin a new log."""
        self.said: list[str] = []
        self._shown = ""
        LOG.write_text("", encoding="utf-8")

    def run(
        self, doing: str, command: Sequence[str | Path], environment: Mapping[str, str]
    ) -> bool:
        """Run a command; return whether it succeeded."""
        began = time.monotonic()
        lines: list[str] = []
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        reader = threading.Thread(target=self._collect, args=(process, lines), daemon=True)
        reader.start()
        try:
            while reader.is_alive():
                reader.join(timeout=0.2)
                seconds = time.monotonic() - began
                last = next((one for one in reversed(lines) if one[:2] != "+ "), "")
                self._show(f"{doing} ({seconds:.0f} s) {last}")
            code = process.wait()
        finally:
            self._show("")
            if process.poll() is None:
                process.terminate()
                process.wait()
        with LOG.open("a", encoding="utf-8") as log:
            called = " ".join(map(str, command))
            print(f"$ {called}", *lines, f"(exit code {code})\n", sep="\n", file=log)
        if code != 0:
            self.said += [*lines[-20:], ""]
        return code == 0

    @staticmethod
    def _collect(process: subprocess.Popen[str], lines: list[str]) -> None:
        assert process.stdout is not None
        with process.stdout as output:
            lines.extend(line.strip() for line in output if line.strip())

    def _show(self, text: str) -> None:
        """Show a line in place of the last one, on a terminal."""
        room = shutil.get_terminal_size().columns - 1
        shown = "".join(c if c.isprintable() else " " for c in text)[:room]
        if sys.stderr.isatty() and shown != self._shown:
            sys.stderr.write(f"\r{' ' * len(self._shown)}\r{shown}")
            sys.stderr.flush()
            self._shown = shown


def works(*command: str | Path) -> bool:
    """Return whether a command is there and runs."""
    try:
        finished = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    except OSError:
        return False
    return finished.returncode == 0


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Hold the checkout's setup lock; the system drops it when the process ends."""
    NOTES.mkdir(exist_ok=True)
    with (NOTES / "setup.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Waiting for another setup of this checkout ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fingerprint() -> str:
    """Return a mark of what .venv depends on: the lock, the project, Python, the place."""
    digest = hashlib.sha256()
    for name in ("uv.lock", "pyproject.toml"):
        digest.update((ROOT / name).read_bytes())
    digest.update(f"{sys.version}\0{sys.base_prefix}\0{ROOT}".encode())
    return digest.hexdigest()


def read_stamp() -> dict[str, str]:
    """Return what the last finished setup noted; nothing if there was none."""
    try:
        stored = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stored if isinstance(stored, dict) else {}


def set_up(purpose: str) -> None:
    """Bring .venv up to date for a script; do nothing if it is."""
    wanted = fingerprint()
    with one_at_a_time():
        stamp = read_stamp()
        order = list(GROUPS)
        before = stamp.get("purpose", "up")
        enough = before in order and order.index(before) >= order.index(purpose)
        if stamp.get("fingerprint") == wanted and enough and works(VENV / "bin" / "python", "-V"):
            return
        if enough:
            purpose = before  # who runs the tests here keeps what they need
        say("Setting up rota in .venv (the first time this takes a few minutes) ...")
        discard_unusable(stamp)
        STAMP.unlink(missing_ok=True)
        progress = Progress()
        try:
            install(purpose, progress)
        except SetupError:
            say("\n".join(progress.said))
            raise
        STAMP.write_text(
            json.dumps({"fingerprint": wanted, "purpose": purpose, "root": str(ROOT)}),
            encoding="utf-8",
        )


def discard_unusable(stamp: Mapping[str, str]) -> None:
    """Remove a .venv that was moved here with the checkout, or is broken or half made."""
    if VENV.is_symlink() or not VENV.exists():
        return
    moved = stamp.get("root", str(ROOT)) != str(ROOT)
    if moved or not works(VENV / "bin" / "python", "-c", "pass"):
        shutil.rmtree(VENV)


def tool_environment() -> dict[str, str]:
    """Return our environment, for uv and pip: with the person's own settings, without surprises."""
    environment = dict(os.environ)
    for name in ("VIRTUAL_ENV", "PYTHONHOME"):
        environment.pop(name, None)
    environment["UV_PROJECT_ENVIRONMENT"] = str(VENV)
    environment.setdefault("UV_PYTHON_DOWNLOADS", "never")
    environment["PIP_PROGRESS_BAR"] = "off"
    if not os.access(Path.home(), os.W_OK):
        environment.setdefault("UV_CACHE_DIR", str(NOTES / "uv-cache"))
        environment.setdefault("PIP_CACHE_DIR", str(NOTES / "pip-cache"))
    return environment


def find_uv(environment: Mapping[str, str], progress: Progress) -> Path:
    """Return our own uv, installed by pip; or the person's, where Python comes without venv."""
    uv = TOOLS / "bin" / "uv"
    if works(uv, "--version"):
        return uv
    if not works(sys.executable, "-c", "import venv, ensurepip"):
        if (installed := shutil.which("uv")) and works(installed, "--version"):
            return Path(installed)
        version = ".".join(map(str, sys.version_info[:2]))
        raise SetupError(
            f"{sys.executable} comes without the modules venv and ensurepip. Install them (Debian, "
            f"Ubuntu: apt install python3-venv, or python{version}-venv), or install uv."
        )
    shutil.rmtree(TOOLS, ignore_errors=True)
    doing = "Installing uv"
    if not progress.run(doing, [sys.executable, "-m", "venv", TOOLS], environment):
        raise SetupError(f"Python could not make a virtual environment in {TOOLS}.")
    if not progress.run(doing, [*PIP, "install", UV_REQUIREMENT], environment):
        raise SetupError(
            "pip could not install uv. See its message above; pip's own configuration (pip config "
            "list, PIP_INDEX_URL, PIP_CERT, HTTPS_PROXY) says where it looks."
        )
    return uv


def with_system_certificates(environment: Mapping[str, str]) -> Mapping[str, str]:
    """Return the environment by which uv trusts whom the machine trusts, unless told otherwise."""
    # The second is what the first was called before uv 0.10.
    return {"UV_SYSTEM_CERTS": "true", "UV_NATIVE_TLS": "true", **environment}


def install(purpose: str, progress: Progress) -> None:
    """Install what uv.lock names, by uv, or by pip where uv cannot reach it."""
    environment = tool_environment()
    uv = find_uv(environment, progress)
    command = [uv, "sync", "--locked", "--python", sys.executable, *GROUPS[purpose]]
    doing = "Installing what rota needs"
    first = with_system_certificates(environment)
    if progress.run(doing, command, first):
        return
    if lock_is_outdated(uv, environment):
        raise SetupError(
            f"uv.lock does not fit pyproject.toml. Run `{uv} lock` and commit what it changes."
        )
    if first != environment and progress.run(doing, command, environment):
        say("uv did not get on with the system's certificates, and took its own instead.")
        return
    if not works(*PIP, "--version"):
        raise SetupError(
            "uv could not install what uv.lock names. See its message above; uv has a "
            "configuration of its own (UV_DEFAULT_INDEX, SSL_CERT_FILE, HTTPS_PROXY) and does not "
            "read pip's."
        )
    if not install_with_pip(uv, purpose, environment, progress):
        raise SetupError(
            "Neither uv nor pip could install what uv.lock names. See their messages above: is the "
            "network there, and does a mirror need to be named (PIP_INDEX_URL for pip, "
            "UV_DEFAULT_INDEX for uv)? Then call this again; it goes on where it stopped."
        )
    say(f"uv could not fetch the packages ({LOG} says why); pip installed the same ones instead.")


def lock_is_outdated(uv: Path, environment: Mapping[str, str]) -> bool:
    """Return whether uv.lock is not what pyproject.toml asks for.

    Asked without the person's own indexes: uv calls every lock outdated that names others.
    """
    plain = {name: value for name, value in environment.items() if "INDEX" not in name}
    checked = subprocess.run(
        [uv, "lock", "--check", "--no-config", "--python", sys.executable],
        cwd=ROOT,
        env=plain,
        capture_output=True,
        text=True,
        check=False,
    )
    return "needs to be updated" in checked.stderr


def install_with_pip(
    uv: Path, purpose: str, environment: Mapping[str, str], progress: Progress
) -> bool:
    """Install the locked versions, by their hashes, from where pip is configured to look."""
    doing = "Installing what rota needs with pip"
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder) / "requirements.txt"
        export: list[str | Path] = [
            *(uv, "export", "--frozen", "--quiet", "--no-emit-project", *GROUPS[purpose]),
            *("--output-file", requirements),
        ]
        if not progress.run(doing, export, environment):
            return False
        create = [sys.executable, "-m", "venv", VENV]
        if not VENV.exists() and not progress.run(doing, create, environment):
            return False
        into = [*PIP, "--python", VENV / "bin" / "python", "install"]
        return progress.run(
            doing, [*into, "--require-hashes", "-r", requirements], environment
        ) and progress.run(doing, [*into, "--no-deps", "--editable", ROOT], environment)


def start_rota(arguments: Sequence[str]) -> NoReturn:
    """Become `rota up`."""
    rota = VENV / "bin" / "rota"
    os.execv(rota, [str(rota), "up", *arguments])


def start_benchmark(arguments: Sequence[str]) -> NoReturn:
    """Become the benchmark that the first argument names."""
    there = {path.stem: path for path in sorted((ROOT / "benchmarks").glob("*.py"))}
    name = arguments[0] if arguments else ""
    if name not in there:
        raise SetupError(f"Name a benchmark; there are: {', '.join(there)}.")
    python = VENV / "bin" / "python"
    os.execv(python, [str(python), str(there[name]), *arguments[1:]])


def choose_tests(arguments: Sequence[str]) -> list[str]:
    """Return what pytest is told: which tests to run, and whatever else the person wrote.

    `--all` runs every test, `--quick` the fast ones that need no database. Where the person names
    files or folders, every test in them runs.
    """
    rest = [argument for argument in arguments if argument not in {"--all", "--quick"}]
    names_a_place = any((ROOT / argument.partition("::")[0]).exists() for argument in rest)
    if "--all" in arguments or names_a_place:
        return rest
    if "--quick" in arguments:
        return ["tests/unit", "-m", f"not ({' or '.join((*ONLY_WITH_ALL, 'slow'))})", *rest]
    return ["-m", f"not ({' or '.join(ONLY_WITH_ALL)})", *rest]


def run_checks(arguments: Sequence[str]) -> int:
    """Run every check to its end and return the exit code of the first that failed, or 0."""
    scripts = VENV / "bin"
    # One more than there are processors: many tests wait for leases and due times.
    workers = min(8, 1 + max(2, os.cpu_count() or 2))
    JUNIT.unlink(missing_ok=True)
    pytest: list[str | Path] = [scripts / "python", "-m", "pytest", "-n", str(workers)]
    pytest += [f"--junitxml={JUNIT}", *choose_tests(arguments)]
    checks: Mapping[str, Sequence[str | Path]] = {
        "ruff format": [scripts / "ruff", "format", "--check", "."],
        "ruff check": [scripts / "ruff", "check", "."],
        "mypy": [scripts / "python", "-m", "mypy"],
        "lint-imports": [scripts / "lint-imports"],
        "pytest": pytest,
    }
    failed: dict[str, int] = {}
    for name, command in checks.items():
        print(f"\n== {name}", flush=True)
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        if code != 0:
            failed[name] = code
    static = [name for name in failed if name != "pytest"]
    if static:
        # Without this, the last line would be pytest's, and might read as if all were well.
        passed, broken = count_tests()
        print(f"\nThese checks failed: {', '.join(failed)}. See above.")
        print(f"{passed} passed, {broken + len(static)} failed", flush=True)
    return next(iter(failed.values()), 0)


def count_tests() -> tuple[int, int]:
    """Return how many tests passed and failed in the run that just ended."""
    try:
        suites = list(ET.parse(JUNIT).getroot().iter("testsuite"))
    except (FileNotFoundError, ET.ParseError):
        return 0, 1  # pytest itself broke off
    total, failures, errors, skipped = (
        sum(int(suite.get(name, "0")) for suite in suites)
        for name in ("tests", "failures", "errors", "skipped")
    )
    return total - failures - errors - skipped, failures + errors


def main(purpose: str, arguments: Sequence[str]) -> int:
    """Set up, then do what the script is for."""
    try:
        set_up(purpose)
        if purpose == "up":
            start_rota(arguments)
        if purpose == "bench":
            start_benchmark(arguments)
    except SetupError as error:
        say(f"scripts/{purpose}: {error}")
        return 1
    except OSError as error:
        say(
            f"scripts/{purpose}: {error.strerror or error}: {error.filename}. rota is set up "
            f"inside the checkout ({ROOT}): it must belong to the user that runs this, and the "
            "disk must have about 2 GB free."
        )
        return 1
    return run_checks(arguments)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1], sys.argv[2:]))
    except KeyboardInterrupt:
        sys.exit(130)
