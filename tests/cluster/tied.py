"""Child processes that cannot outlive their parent, not even one that is killed with SIGKILL.

Run as a script, this file is the shim that ties itself to its parent and then becomes the command:
`python tied.py PARENT_PID COMMAND ARGUMENT…`.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1


class StartError(Exception):
    """A program ended or was not ready in time; the message ends with the tail of its log."""


class Tied:
    """A program running as our child, with its output in a log file.

    The kernel watches the *thread* that starts it: start from one that lives as long as the program should.
    """

    def __init__(self, command: Sequence[str | Path], *, log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.name = log.stem
        self.log = log
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                # Isolated, and without site-packages: the shim starts in milliseconds and imports nothing of ours.
                [sys.executable, "-I", "-S", __file__, str(os.getpid()), *map(str, command)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,  # Ctrl-C is for the parent, which then stops its children in order
            )

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child.poll() is None

    def wait_ready(self, ready: Callable[[], bool], *, seconds: float) -> None:
        """Return once `ready` holds; raise StartError when the program ends first, or at the deadline."""

        def ended_or_ready() -> bool:
            return not self.running or ready()

        try:
            until(ended_or_ready, seconds=seconds, waiting_for=self.name)
        except TimeoutError as error:
            raise StartError(f"{self.name} was not ready within {seconds:g} s:\n{self.tail()}") from error
        if not self.running:
            raise StartError(f"{self.name} ended with exit code {self._child.returncode}:\n{self.tail()}")

    def tail(self, lines: int = 30) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self, *, seconds: float) -> int:
        """Send SIGTERM, and SIGKILL when that was not enough; return the exit code."""
        self.terminate()
        return self.wait(seconds=seconds)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._child.terminate()

    def wait(self, *, seconds: float) -> int:
        """Return the exit code of a program that ends by itself; it is killed when that takes longer."""
        try:
            return self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        self._child.kill()
        return self._child.wait()


def until(holds: Callable[[], bool], *, seconds: float, waiting_for: str) -> None:
    """Ask again and again until it holds; raise TimeoutError, which names what was waited for, at the deadline."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{waiting_for}: not within {seconds:g} s")
        time.sleep(0.05)


def _become(parent: int, command: list[str]) -> None:
    if sys.platform == "linux":  # elsewhere a killed parent leaves its children behind
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it died before we were tied
        sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606 - no shell is the point


if __name__ == "__main__":
    _become(int(sys.argv[1]), sys.argv[2:])
