"""`python -m tests.cluster.driven CLOCK [MOMENT] [wall:FILE]`: the real server in mode `self`, whose clock the test drives.

CLOCK is a file that holds how many seconds it is ahead of the API server's; FILE is one for the machine's own clock. At MOMENT,
the server ends as with SIGKILL: `did:dropping:Trust` when it has done that step, `saw:settling` when it sees that phase.
"""

import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from certs.cluster import Clock
from certs.loop import Report
from certs.rotate import Step
from webhook.server import serve
from webhook.settings import load
from webhook.trust import Trust


class Driven(Clock):
    """Ahead of the API server's clock by what a file says."""

    def __init__(self, file: Path, wall: Path | None = None) -> None:
        super().__init__(lambda: datetime.now(UTC) + (_read(wall) if wall else timedelta()))
        self._file = file

    def now(self) -> datetime:
        return super().now() + _read(self._file)


def _read(file: Path) -> timedelta:
    return timedelta(seconds=float(file.read_text()))


def drive(file: Path, seconds: float) -> None:
    """Set how far it is ahead, at once and whole for whoever reads it at that moment."""
    beside = file.with_suffix(".new")
    beside.write_text(str(seconds))
    beside.replace(file)


def main() -> None:
    clock, *moments = sys.argv[1:]
    walls = [Path(argument.removeprefix("wall:")) for argument in moments if argument.startswith("wall:")]

    def did(step: Step) -> None:
        if f"did:{step.phase}:{type(step).__name__}" in moments:
            os.kill(os.getpid(), signal.SIGKILL)

    def saw(report: Report) -> None:
        if f"saw:{report.phase}" in moments:
            os.kill(os.getpid(), signal.SIGKILL)

    serve(load(), trusting=partial(Trust, clock=Driven(Path(clock), *walls), did=did, saw=saw))


if __name__ == "__main__":
    main()
