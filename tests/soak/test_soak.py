"""The soak is the same each time, says how far it is, and finds and shrinks what is broken."""

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis.database import choices_to_bytes

from tests.soak.__main__ import main, run
from tests.soak.progress import Progress, line
from tests.soak.search import Failure, case, shrunk, told
from tests.strategies import Seeded, any_case

ROOT = Path(__file__).resolve().parents[2]


def test_a_case_is_its_seed_and_its_number() -> None:
    assert case(3, 14) == case(3, 14)
    assert case(3, 14) != case(3, 15)
    assert case(3, 14) != case(4, 14)


def test_hardly_any_case_comes_twice() -> None:
    different = {(str(each.pod), str(each.settings), each.order) for each in (case(5, number) for number in range(2_000))}
    assert len(different) > 1_990


def test_a_case_can_be_drawn_again_from_its_choices() -> None:
    drawn = Seeded("1:2")
    first = any_case(drawn)
    assert len(choices_to_bytes(drawn.choices)) >= len(drawn.choices) > 50
    assert first == any_case(Seeded("1:2"))


def test_a_failure_that_does_not_happen_again_is_shown_as_it_was() -> None:
    failure = Failure(1, 2, "a property that holds", "a property that holds: it did not, once")
    assert shrunk(failure) == case(1, 2)
    assert told(failure, case(1, 2)).startswith("case 2 breaks a property: a property that holds: it did not, once\n")


def test_a_short_soak_finds_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--cases", "300", "--processes", "2", "--seed", "8"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "300 cases of seed 8 in 2 processes"
    assert lines[-1].startswith("every property held on 300 cases, ")
    assert all("cases/s" in each and "left" in each for each in lines[1:-1])


def test_one_case_alone_says_nothing_when_it_holds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "8", "--case", "14"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("arguments", [["--cases", "0"], ["--processes", "-1"]])
def test_no_cases_or_processes_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert f"argument {arguments[0]}: {arguments[1]} is not above 0" in capsys.readouterr().err


def test_the_last_lot_may_be_a_short_one() -> None:
    assert run(251, 1, 8) is None


def test_a_planted_bug_is_found_shrunk_and_found_again_by_its_number(tmp_path: Path) -> None:
    for part in ("webhook", "tests", "scripts"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    broken = tmp_path / "webhook" / "quantity.py"
    sound, bug = "return Quantity(-(-self.millis // unit) * unit, self.form)", "return Quantity(self.millis, self.form)"
    assert broken.read_text().count(sound) == 1
    broken.write_text(broken.read_text().replace(sound, bug))
    found = _soak(tmp_path, "--cases", "3000", "--processes", "2", "--seed", "6")
    assert found.returncode == 1, found.stdout
    told_first, _, told_again = found.stdout.partition(" shrinking it …\n")[2].partition("again: python -m tests.soak ")
    assert "breaks a property: an admitted pod keeps the promise: C2: container app has 0.0005 CPUs" in told_first
    assert told_first.endswith(SMALLEST)
    alone = _soak(tmp_path, *told_again.split())
    assert (alone.returncode, SMALLEST in alone.stdout) == (1, True)


SMALLEST = """---
apiVersion: v1
kind: Pod
metadata:
  name: fwd
  annotations:
    dpdk: 'true'
spec:
  containers:
  - name: app
    image: registry.example/l2fwd:25.11
    resources:
      requests:
        cpu: '0.0005'
        memory: 128Mi
        hugepages-2Mi: 1Gi
      limits:
        cpu: '0.0005'
        memory: 128Mi
        hugepages-2Mi: 1Gi
---
"""


def _soak(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.soak", *arguments]
    return subprocess.run(command, cwd=tree, env=dict(os.environ), capture_output=True, text=True, check=False)


# --- the line


def test_the_line_says_how_far_it_is_how_fast_and_how_long_it_takes() -> None:
    assert line(250_000, 1_000_000, 250) == "███████░░░░░░░░░░░░░░░░░░░░░░░   250,000/1,000,000   1,000 cases/s   12:30 left"
    assert line(1_000, 1_000_000, 10) == "░" * 30 + "     1,000/1,000,000     100 cases/s 2:46:30 left"
    assert line(300, 300, 1.5) == "█" * 30 + " 300/300     200 cases/s    0:00 left"
    assert line(0, 10, 0) == "░" * 30 + "  0/10       0 cases/s    -:-- left"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_has_one_line_that_is_written_over() -> None:
    out = Terminal()
    progress = Progress(10, out)
    for done in (5, 6, 10):
        progress.show(done)
    assert out.getvalue().count("\r") == 2, "not more often than can be read, and at the end"
    assert out.getvalue().count("\n") == 1
    assert out.getvalue().endswith("left\n")


def test_anything_else_has_plain_lines() -> None:
    out = io.StringIO()
    progress = Progress(10, out)
    for done in (5, 6, 10):
        progress.show(done)
    progress.end()
    assert "\r" not in out.getvalue()
    assert [each.split()[1] for each in out.getvalue().splitlines()] == ["5/10", "10/10"]
