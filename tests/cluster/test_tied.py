import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster import tied
from tests.cluster.tied import StartError, Tied, until

PARENT = """
import pathlib, signal, sys
from tests.cluster.tied import Tied
print(Tied(["sleep", "600"], log=pathlib.Path(sys.argv[1])).pid, flush=True)
signal.pause()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_child_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path / "sleep.log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        try:
            assert select.select([child], [], [], 0)[0] == [], "the child runs while its parent does"
            parent.send_signal(signal.SIGKILL)
            assert select.select([child], [], [], 10)[0] == [child]
        finally:
            os.close(child)


def test_a_child_whose_parent_died_before_they_were_tied_never_becomes_the_command(tmp_path: Path) -> None:
    started = tmp_path / "started"
    nobody = "0"
    run = subprocess.run([sys.executable, tied.__file__, nobody, "touch", str(started)], check=False)
    assert run.returncode == 1
    assert not started.exists()


def test_a_program_that_ends_instead_of_getting_ready_is_shown_with_its_log(tmp_path: Path) -> None:
    program = Tied(["sh", "-c", "echo no such flag; exit 3"], log=tmp_path / "program.log")
    with pytest.raises(StartError, match=r"^program ended with exit code 3:\nno such flag$"):
        program.wait_ready(lambda: False, seconds=10)


def test_a_program_that_is_not_ready_in_time_is_shown_with_its_log(tmp_path: Path) -> None:
    log = tmp_path / "program.log"
    program = Tied(["sh", "-c", "echo starting; exec sleep 600"], log=log)
    try:
        until(lambda: log.read_text() == "starting\n", seconds=10, waiting_for="the first line")
        with pytest.raises(StartError, match=r"^program was not ready within 0\.1 s:\nstarting$"):
            program.wait_ready(lambda: False, seconds=0.1)
    finally:
        program.kill()


def test_a_program_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "program.log"
    program = Tied(["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 600; done"], log=log)
    until(lambda: log.read_text() == "deaf\n", seconds=10, waiting_for="the trap")
    assert program.stop(seconds=0.2) == -signal.SIGKILL


def test_waiting_in_vain_says_for_what() -> None:
    with pytest.raises(TimeoutError, match=r"^a miracle: not within 0\.1 s$"):
        until(lambda: False, seconds=0.1, waiting_for="a miracle")
