"""What is logged, as whoever reads the pipe gets it."""

import json
import logging
import os
import pty
import select
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from scripts import throwaway
from tests.serving import REVIEW, serving
from webhook import journal
from webhook.journal import Journal
from webhook.verdict import Asked, Verdict


def _asked(uid: str = "8f0c", namespace: str = "default", name: str = "testpmd", user: str = "alice") -> Asked:
    return Asked(uid, "CREATE", namespace, name, dry_run=False, user=user)


ASKED = _asked()
CHANGED = Verdict("changed", 9, (("resources", 4), ("hugepages", 5)), (), (("exec_probes", 1),))


class Reader:
    """The other end of the pipe that a journal writes to."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = b""

    def lines(self, count: int) -> list[dict[str, Any]]:
        """The next so many lines; waits for them, though not for ever."""
        while self._rest.count(b"\n") < count:
            assert select.select([self._descriptor], [], [], 10)[0], f"nothing came after {self._rest[-500:]!r}"
            chunk = os.read(self._descriptor, 1 << 20)
            assert chunk, f"the pipe ended after {self._rest!r}"
            self._rest += chunk
        *lines, self._rest = self._rest.split(b"\n", count)
        return [json.loads(line) for line in lines]

    def rest(self) -> list[dict[str, Any]]:
        """All that comes until the other end is closed."""
        while chunk := os.read(self._descriptor, 1 << 20):
            self._rest += chunk
        assert self._rest.endswith(b"\n") or not self._rest
        return [json.loads(line) for line in self._rest.splitlines()]


@contextmanager
def _piped(*, blocking: bool = True) -> Iterator[tuple[Journal, Reader, int, int]]:
    """(journal, reader, the end that is read, the end that is written)"""
    read, write = os.pipe()
    os.set_blocking(write, blocking)
    with Journal(write, console=False) as piped:
        yield piped, Reader(read), read, write
    with suppress(OSError):  # a test may have closed it
        os.close(read)
    _wait_for_the_writer()
    with suppress(OSError):
        os.close(write)


def _wait_for_the_writer() -> None:
    """It outlives a close that took too long, and must not write to the next test's descriptors."""
    for thread in threading.enumerate():
        if thread.name == "journal":
            thread.join(20)
            assert not thread.is_alive()


@contextmanager
def _listening(to: Journal) -> Iterator[logging.Logger]:
    """A stdlib logger whose lines go there."""
    # one that nobody else knows: pytest would take down what comes here, half characters and all, and could not pass it on
    logger = logging.Logger("dpdk-webhook.test", logging.INFO)
    logger.addHandler(to.handler)
    try:
        yield logger
    finally:
        logger.removeHandler(to.handler)


def test_a_decision_is_one_line_with_who_asked_for_what_and_what_became_of_it() -> None:
    with _piped() as (piped, reader, _, _):
        piped.decided("/mutate", ASKED, CHANGED, 0.0002144)
        [line] = reader.lines(1)
    at = datetime.fromisoformat(line["timestamp"])
    assert at.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - at) < timedelta(seconds=10)
    assert list(line)[:3] == ["timestamp", "level", "event"]
    assert line | {"timestamp": ""} == {
        "timestamp": "",
        "level": "info",
        "event": "decided",
        "webhook": "/mutate",
        "uid": "8f0c",
        "namespace": "default",
        "name": "testpmd",
        "operation": "CREATE",
        "dry_run": False,
        "user": "alice",
        "allowed": True,
        "outcome": "changed",
        "rules": ["resources", "hugepages", "exec_probes"],
        "operations": 9,
        "ms": 0.214,
    }


def test_what_others_wrote_is_cut_at_256_characters() -> None:
    with _piped() as (piped, reader, _, _):
        piped.decided("/mutate", _asked(uid="u" * 999, namespace="n" * 256, name="m" * 257, user="é" * 9999), CHANGED, 0)
        [line] = reader.lines(1)
    assert line["uid"] == "u" * 255 + "…"
    assert line["namespace"] == "n" * 256
    assert line["name"] == "m" * 255 + "…"
    assert line["user"] == "é" * 255 + "…"


def test_a_line_is_written_soon_and_not_only_at_the_end() -> None:
    with _piped() as (piped, reader, _, _):
        for _ in range(3):
            began = time.monotonic()
            piped.decided("/mutate", ASKED, CHANGED, 0)
            reader.lines(1)
            assert time.monotonic() - began < 1


def test_lines_come_together_for_a_while_unless_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "EVERY", 0.5)
    with _piped() as (piped, reader, _, _):
        began = time.monotonic()
        piped.decided("/mutate", ASKED, CHANGED, 0)
        reader.lines(1)
        assert time.monotonic() - began > 0.4
        began = time.monotonic()
        for _ in range(journal.AT_ONCE):
            piped.decided("/mutate", ASKED, CHANGED, 0)
        reader.lines(journal.AT_ONCE)
        assert time.monotonic() - began < 0.4


def test_lines_of_many_threads_all_arrive_whole() -> None:
    with _piped() as (piped, reader, _, _), _listening(piped) as logger:

        def log(thread: int) -> None:
            for number in range(100):
                logger.info("%d %d", thread, number)
                time.sleep(0.001)

        threads = [threading.Thread(target=log, args=(thread,)) for thread in range(8)]
        for thread in threads:
            thread.start()
        lines = reader.lines(800)
        for thread in threads:
            thread.join()
    assert sorted(line["event"] for line in lines) == sorted(
        f"{thread} {number}" for thread in range(8) for number in range(100)
    )


# --- the process's own loggers


def test_a_traceback_of_any_logger_is_in_one_field() -> None:
    with _piped() as (piped, reader, _, _), _listening(piped) as logger:
        try:
            raise ValueError("two\nlines")
        except ValueError:
            logger.exception("it failed for %s", "alice")
        [line] = reader.lines(1)
    assert (line["level"], line["event"], line["logger"]) == ("error", "it failed for alice", "dpdk-webhook.test")
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].endswith("ValueError: two\nlines")


def test_a_message_of_any_length_and_the_end_of_a_long_traceback_are_kept_to_4096_characters() -> None:
    with _piped() as (piped, reader, _, _), _listening(piped) as logger:
        try:
            raise ValueError("v" * 9999 + "!")
        except ValueError:
            logger.exception("m" * 9999)
        [line] = reader.lines(1)
    assert line["event"] == "m" * 4095 + "…"
    assert len(line["exception"]) == 4096
    assert line["exception"].startswith("…v")
    assert line["exception"].endswith("v!")


def test_a_line_break_or_half_a_character_can_not_make_up_a_line() -> None:
    with _piped() as (piped, reader, _, _), _listening(piped) as logger:
        logger.warning("bad review: %s", 'x\n{"level": "info"}')
        logger.warning("no such file: %s", os.fsdecode(b"/\xff"))
        first, second = reader.lines(2)
    assert first["event"] == 'bad review: x\n{"level": "info"}'
    assert second["event"] == "no such file: /\\udcff"
    assert datetime.fromisoformat(second["timestamp"])


# --- a pipe that nobody reads


def test_a_full_pipe_costs_lines_that_are_counted_and_told_and_never_time() -> None:
    with _piped() as (piped, reader, _, _):
        # long enough for any pipe: the writer is stuck, and the rest waits behind it
        asked = _asked(name="n" * 256, user="u" * 256)
        longest, sent = 0.0, 0
        while piped.dropped < 10:
            began = time.monotonic()
            piped.decided("/mutate", asked, CHANGED, 0)
            longest = max(longest, time.monotonic() - began)
            sent += 1
        assert sent < 3 * journal.MOST
        assert longest < 1
        lines = reader.lines(sent - piped.dropped)
        piped.decided("/mutate", ASKED, CHANGED, 0)
        while sum(line.get("count", 0) for line in lines) < piped.dropped or "testpmd" not in [
            line.get("name") for line in lines
        ]:
            lines += reader.lines(1)
    told = [line for line in lines if line["event"] != "decided"]
    assert {(line["level"], line["event"]) for line in told} == {("warning", "log lines were dropped")}
    assert sum(line["count"] for line in told) == piped.dropped
    assert len(lines) - len(told) == sent - piped.dropped + 1


def test_a_pipe_that_somebody_made_non_blocking_loses_nothing() -> None:
    with _piped(blocking=False) as (piped, reader, _, _):
        for number in range(1000):
            piped.decided("/mutate", _asked(name=str(number), user="u" * 256), CHANGED, 0)
        time.sleep(0.3)
        lines = reader.lines(1000)
        assert piped.dropped == 0
    assert [line["name"] for line in lines] == [str(number) for number in range(1000)]


def test_a_pipe_without_a_reader_is_no_crash() -> None:
    with _piped() as (piped, _, read, _):
        os.close(read)
        for count in (1, 2, 3):
            piped.decided("/mutate", ASKED, CHANGED, 0)
            deadline = time.monotonic() + 5
            while piped.dropped < count:
                assert time.monotonic() < deadline
                time.sleep(0.01)


def test_a_pipe_that_nobody_reads_does_not_hold_up_the_end() -> None:
    with _piped() as (piped, _, _, _):
        while not piped.dropped:
            piped.decided("/mutate", _asked(user="u" * 256), CHANGED, 0)
        began = time.monotonic()
        piped.close()
        assert time.monotonic() - began < journal.GOODBYE + 0.5


def _resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_what_waits_takes_little_more_memory_than_its_characters() -> None:
    with _piped() as (piped, _, _, _):
        before = _resident()
        while not piped.dropped:
            piped.decided("/mutate", ASKED, CHANGED, 0)
        assert _resident() - before < journal.MOST * 2048


def test_what_was_lost_last_is_told_at_the_end() -> None:
    with _piped() as (piped, reader, _, write):
        while not piped.dropped:
            piped.decided("/mutate", ASKED, CHANGED, 0)
        lost = piped.dropped
        reading: list[dict[str, Any]] = []
        thread = threading.Thread(target=lambda: reading.extend(reader.rest()))
        thread.start()
        piped.close()
        _wait_for_the_writer()
        os.close(write)
        thread.join()
    assert sum(line.get("count", 0) for line in reading) == lost


# --- the process


def _process(code: str) -> tuple[int, list[dict[str, Any]], str]:
    """(exit status, lines, stderr) of a process that has configured its journal."""
    head = "import logging, sys, warnings\nfrom webhook.journal import configure\njournal = configure()\n"
    run = subprocess.run([sys.executable, "-c", head + code], capture_output=True, text=True, check=False, timeout=30)
    return run.returncode, [json.loads(line) for line in run.stdout.splitlines()], run.stderr


def test_the_last_lines_are_written_before_the_process_ends() -> None:
    status, lines, stderr = _process("for number in range(1000): logging.getLogger('any').info('line %d', number)")
    assert (status, stderr) == (0, "")
    assert [line["event"] for line in lines] == [f"line {number}" for number in range(1000)]


@pytest.mark.parametrize("crash", ["1 / 0", "with journal:\n    1 / 0"], ids=["anywhere", "while it serves"])
def test_a_crash_is_the_last_line_with_its_traceback(crash: str) -> None:
    status, lines, stderr = _process(f"logging.getLogger('any').info('before')\n{crash}")
    assert (status, stderr) == (1, "")
    assert [line["event"] for line in lines] == ["before", "crashed: ZeroDivisionError"]
    assert lines[1]["level"] == "critical"
    assert lines[1]["exception"].endswith("ZeroDivisionError: division by zero")


def test_warnings_of_python_and_notes_below_info_are_not_mixed_among_the_lines() -> None:
    code = (
        "warnings.warn('old', UserWarning)\nlogging.getLogger('any').debug('detail')\nlogging.getLogger('uvicorn').info('note')"
    )
    status, lines, stderr = _process(code)
    assert (status, stderr) == (0, "")
    [line] = lines
    assert line["logger"] == "py.warnings"
    assert "UserWarning: old" in line["event"]


def test_closing_gives_back_what_was_taken_from_the_process() -> None:
    code = (
        "journal.close()\n"
        "assert sys.excepthook is sys.__excepthook__ and not logging.getLogger().handlers\n"
        "logging.getLogger('any').warning('after')\n"
        "warnings.warn('old', UserWarning)\n"
    )
    status, lines, stderr = _process(code)
    assert (status, lines) == (0, [])
    assert stderr.startswith("after\n")
    assert "UserWarning: old" in stderr
    assert warnings.showwarning is not None


def test_on_a_terminal_it_is_for_people_and_nobody_can_move_their_cursor() -> None:
    read, write = pty.openpty()
    with Journal(write, console=True) as on_terminal, _listening(on_terminal) as logger:
        on_terminal.decided("/mutate", _asked(user="\x1b[2Jalice"), CHANGED, 0.0002)
        logger.info("serving")
        try:
            raise ValueError("no")
        except ValueError:
            logger.exception("failed")
    shown = b""
    while b"ValueError: no" not in shown:
        shown += os.read(read, 65536)
    os.close(write)
    os.close(read)
    text = shown.decode().replace("\r\n", "\n")
    first, second = text.splitlines()[:2]
    assert "\x1b" not in text
    assert first.split()[1:4] == ["[info", "]", "decided"]
    assert r"user='\x1b[2Jalice'" in first
    assert "rules=('resources', 'hugepages', 'exec_probes')" in first
    assert "serving" in second
    assert "Traceback (most recent call last):\n" in text


def test_all_that_the_running_server_logs_is_json_and_nothing_of_a_pod(tmp_path: Path) -> None:
    with serving(throwaway.issue(tmp_path), tmp_path) as server, server.http() as http:
        secret = REVIEW.replace(b'"app"', b'"s3cret-app"')
        assert http.post("/mutate", content=secret).status_code == 200
        assert http.post("/mutate", content=b"{}").status_code == 400
        deadline = time.monotonic() + 5
        while server.log.read_text().count("\n") < 3:
            assert time.monotonic() < deadline, server.log.read_text()
            time.sleep(0.05)
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    decided = [line for line in lines if line["event"] == "decided"]
    assert [(line["webhook"], line["outcome"], line["user"]) for line in decided] == [
        ("/mutate", "changed", "kubernetes-admin")
    ]
    assert [line["event"] for line in lines if line["level"] == "warning"] == [
        "bad review on /mutate: apiVersion: 'admission.k8s.io/v1' is expected, not null"
    ]
    assert "s3cret" not in server.log.read_text()
