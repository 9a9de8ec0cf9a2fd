"""How far a long run is: one line that is written over, or a line now and then where nobody watches."""

import time
from typing import TextIO

_WIDTH = 30
_SECONDS = {True: 0.2, False: 10.0}  # between two lines, by whether it is a terminal


class Progress:
    """The line. `total` cases are to come, from the moment at which this is made."""

    def __init__(self, total: int, out: TextIO) -> None:
        self._total = total
        self._out = out
        self._began = time.monotonic()
        self._next = 0.0

    def show(self, done: int) -> None:
        """Say that so many are done; not more often than can be read."""
        elapsed = time.monotonic() - self._began
        if elapsed >= self._next or done == self._total:
            is_terminal = self._out.isatty()
            self._next = elapsed + _SECONDS[is_terminal]
            start, end = ("\r", "" if done < self._total else "\n") if is_terminal else ("", "\n")
            print(start + line(done, self._total, elapsed), end=end, file=self._out, flush=True)

    def end(self) -> None:
        """Leave the line as it stands, so that what follows begins on its own."""
        if self._out.isatty():
            print(file=self._out)


def line(done: int, total: int, elapsed: float) -> str:
    """The bar, the count, cases a second, and the time left."""
    filled = _WIDTH * done // total
    rate = done / elapsed if elapsed else 0.0
    left = _clock((total - done) / rate) if rate else "-:--"
    bar = "█" * filled + "░" * (_WIDTH - filled)
    return f"{bar} {done:>{len(f'{total:,}')},}/{total:,} {rate:7,.0f} cases/s {left:>7} left"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
