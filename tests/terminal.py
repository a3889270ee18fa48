"""A terminal for a command of rota's, as a person has one."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time


class Terminal:
    """A command with a terminal, read and typed into as it goes."""

    def __init__(self, *arguments, environment):
        self.controller, terminal = pty.openpty()
        self.terminal = os.dup(terminal)
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from rota.cli.main import run; run()", *arguments],
            env={**os.environ, "TERM": "xterm", "COLUMNS": "80", **environment},
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            close_fds=True,
            start_new_session=True,
        )
        os.close(terminal)
        self.screen = ""

    def until(self, pattern):
        """Read until the screen shows something; return the match."""
        deadline = time.monotonic() + 60
        while (found := re.search(pattern, self.screen)) is None:
            assert time.monotonic() < deadline, self.screen
            if select.select([self.controller], [], [], 1)[0]:
                try:
                    self.screen += os.read(self.controller, 65536).decode()
                except OSError:  # it ended
                    assert re.search(pattern, self.screen), self.screen
        return found

    def type(self, text):
        os.write(self.controller, f"{text}\n".encode())

    def type_end(self):
        """Press Ctrl-D."""
        os.write(self.controller, b"\x04")

    def interrupt(self):
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def shows_what_is_typed(self):
        return bool(termios.tcgetattr(self.terminal)[3] & termios.ECHO)

    def end(self):
        return self.process.wait(30)

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.terminal)
        os.close(self.controller)
