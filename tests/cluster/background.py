"""What goes on beside a scenario."""

import threading
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from typing import Self


class Background(ABC):
    """`with` one, it runs in a thread of its own until the block ends, which raises what went wrong there."""

    def __init__(self) -> None:
        self._end = threading.Event()
        self._thread = ThreadPoolExecutor(1, type(self).__name__)

    def __enter__(self) -> Self:
        self._done = self._thread.submit(self._run)
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.shutdown()
        self._done.result()

    @abstractmethod
    def _run(self) -> None:
        """Return soon after `_end` is set."""
