"""The clock that a module measures with, moved by a test."""


class Time:
    """Stands for the module `time`: any number that grows."""

    def __init__(self) -> None:
        self.now = 5000.0

    def monotonic(self) -> float:
        return self.now
