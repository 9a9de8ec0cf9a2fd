"""What the server says: a JSON line for each decision, and for everything else that is logged.

The event loop renders a line and puts it aside; a thread of its own writes what has come together. So a pipe that nobody reads
costs lines, which are counted, and never an answer.
"""

import atexit
import logging
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Self

import orjson
import structlog
from structlog.typing import EventDict

from webhook.verdict import Asked, Verdict

LONGEST: Final = 256  # characters of what others wrote: a name or a namespace has 253 at most, a user's name has no limit
LONGEST_TEXT: Final = 4096  # characters of a message or of a traceback; container runtimes split lines at 16 KiB
MOST: Final = 4096  # lines that wait to be written
AT_ONCE: Final = 1024  # so many are written without waiting for more
EVERY: Final = 0.1  # seconds in which lines come together
GOODBYE: Final = 1.0  # seconds for the last lines, at the end


class Outbox:
    """Lines on their way to a file descriptor, which may block or be gone: whoever puts a line in never notices."""

    def __init__(self, descriptor: int, tell_dropped: Callable[[int], object]) -> None:
        self.dropped = 0
        self._descriptor = descriptor
        self._tell_dropped = tell_dropped
        self._lines: deque[bytes] = deque()  # appending and taking are atomic; a lock could be waited for
        self._some = threading.Event()
        self._many = threading.Event()
        self._closing = False
        self._writer = threading.Thread(target=self._write_all, name="journal", daemon=True)
        self._writer.start()

    def put(self, line: bytes) -> None:
        """Take a line, without its end; drop it when too many wait."""
        lines = self._lines
        if len(lines) >= MOST:
            self.dropped += 1
            return
        lines.append(line + b"\n")  # a copy: what orjson gives holds on to 8 KiB, however little is in it
        if not self._some.is_set():
            self._some.set()
        if len(lines) == AT_ONCE:
            self._many.set()

    def close(self) -> None:
        """Write what waits, for a second at most."""
        self._closing = True
        self._some.set()
        self._many.set()
        self._writer.join(GOODBYE)

    def _write_all(self) -> None:
        told, closing = 0, False
        while not closing:
            self._some.wait()
            self._many.wait(EVERY)
            # cleared before the lines are taken: one that is put in meanwhile is either taken now or sets it again
            self._some.clear()
            self._many.clear()
            closing = self._closing
            while lines := self._taken():
                # while others wait there may be no room for this one
                if self._write(lines) and self.dropped > told and not self._lines:
                    told, count = self.dropped, self.dropped - told
                    self._tell_dropped(count)

    def _taken(self) -> list[bytes]:
        lines: list[bytes] = []
        while self._lines:
            lines.append(self._lines.popleft())
        return lines

    def _write(self, lines: list[bytes]) -> bool:
        rest = memoryview(b"".join(lines))
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # whoever shares the pipe with us made it so
                select.select([], [self._descriptor], [], EVERY)
            except OSError:
                self.dropped += len(lines)
                return False
        return True


class _Lines:
    """The outbox as structlog and as a StreamHandler want it."""

    def __init__(self, outbox: Outbox) -> None:
        self.info = self.warning = outbox.put

    def write(self, text: str) -> None:
        self.info(text.rstrip("\n").encode())


class Journal:
    """One a process, made by `configure`."""

    def __init__(self, descriptor: int, *, console: bool) -> None:
        self._render = _for_people() if console else _json
        self._outbox = Outbox(descriptor, self._tell_dropped)
        self._log = structlog.wrap_logger(
            _Lines(self._outbox),
            processors=(_head, self._render),
            wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        ).bind()
        self.handler = logging.StreamHandler(_Lines(self._outbox))
        self.handler.setFormatter(
            structlog.stdlib.ProcessorFormatter(
                foreign_pre_chain=(structlog.stdlib.add_logger_name,),
                processors=(structlog.stdlib.ProcessorFormatter.remove_processors_meta, _short, _head, self._render, _decoded),
            )
        )

    @property
    def dropped(self) -> int:
        """Lines that were lost so far."""
        return self._outbox.dropped

    def decided(self, webhook: str, asked: Asked, verdict: Verdict, seconds: float) -> None:
        """A line about one review: who asked for what, and what became of it; nothing of the pod."""
        # as the logger below would render it, at half the price: this is the line that every review pays for
        line = {
            "timestamp": datetime.now(UTC),
            "level": "info",
            "event": "decided",
            "webhook": webhook,
            "uid": _cut(asked.uid),
            "namespace": _cut(asked.namespace),
            "name": _cut(asked.name),
            "operation": asked.operation,
            "dry_run": asked.dry_run,
            "user": _cut(asked.user),
            "allowed": verdict.allowed,
            "outcome": verdict.outcome,
            "rules": verdict.rules,
            "operations": verdict.operations,
            "ms": round(seconds * 1000, 3),
        }
        self._outbox.put(self._render(None, "info", line))

    def crashed(self, kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        """A line, the last one, about what nobody caught: in the place of sys.excepthook."""
        logging.getLogger().critical("crashed: %s", kind.__name__, exc_info=(kind, error, traceback))
        self.close()

    def close(self) -> None:
        """Write what waits, and let go of the process."""
        atexit.unregister(self.close)
        sys.excepthook = sys.__excepthook__
        logging.captureWarnings(False)
        logging.getLogger().removeHandler(self.handler)
        self._outbox.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # whatever is on its way may be the crash that the last line is about
        if kind is None:
            self.close()

    def _tell_dropped(self, count: int) -> None:
        self._log.warning("log lines were dropped", count=count)


def configure() -> Journal:
    """The journal on stdout; the process's own loggers write there too, in the same form. On a terminal, for people."""
    journal = Journal(sys.stdout.fileno(), console=sys.stdout.isatty())
    root = logging.getLogger()
    root.addHandler(journal.handler)
    root.setLevel(logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # its own notes of start and end say less than ours
    logging.captureWarnings(True)
    sys.excepthook = journal.crashed
    atexit.register(journal.close)
    return journal


def _head(logger: object, method: str, fields: EventDict) -> EventDict:
    """What every line begins with."""
    return {"timestamp": datetime.now(UTC), "level": method, "event": fields.pop("event"), **fields}


def _short(logger: object, method: str, fields: EventDict) -> EventDict:
    """A message that quotes what somebody sent may be of any length, and the end of a traceback tells more than its middle."""
    fields = structlog.processors.format_exc_info(logger, method, fields)
    fields["event"] = _cut(fields["event"], LONGEST_TEXT)
    if len(traceback := fields.get("exception", "")) > LONGEST_TEXT:
        fields["exception"] = "…" + traceback[1 - LONGEST_TEXT :]
    return fields


def _cut(text: str, longest: int = LONGEST) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _json(logger: object, method: str, fields: EventDict) -> bytes:
    try:
        return orjson.dumps(fields, option=orjson.OPT_UTC_Z)
    except TypeError:  # half of a surrogate pair, which stands for a byte that is no UTF-8
        fields = {key: _readable(value) if isinstance(value, str) else value for key, value in fields.items()}
        return orjson.dumps(fields, option=orjson.OPT_UTC_Z)


def _readable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


def _decoded(logger: object, method: str, line: Any) -> str:
    return line.decode()  # type: ignore[no-any-return]


def _for_people() -> Callable[[object, str, EventDict], bytes]:
    # repr: what others wrote must not move the cursor of whoever reads it
    columns = structlog.dev.ConsoleRenderer(colors=False, repr_native_str=True, sort_keys=False)

    def render(logger: object, method: str, fields: EventDict) -> bytes:
        fields["timestamp"] = f"{fields['timestamp'].astimezone():%T}"
        return columns(logger, method, fields).encode(errors="backslashreplace")

    return render
