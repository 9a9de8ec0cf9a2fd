"""Build the image with docker, podman or buildah, and save it as an OCI archive; the three are asked for the same things."""

import os
import shutil
import subprocess
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENGINES = ("docker", "podman", "buildah")
NONE = (
    "no builder: neither podman nor buildah is installed, and there is no docker with a running daemon. "
    "One is enough: scripts/install-system-packages buildah"
)


class BuilderError(Exception):
    """There is no builder, or it failed; what it printed came before."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is built, and from where."""

    name: str  # registry.example.com/dpdk-webhook:0.1.0
    source: Path
    arguments: Mapping[str, str]  # of the Dockerfile
    epoch: int  # seconds: the time that everything in the image has
    options: Sequence[str] = ()  # for the builder, as they are


def engine() -> str:
    """Return the name of a builder that works here, ENGINE if that is set; raises BuilderError."""
    wish = os.environ.get("ENGINE")
    if wish:
        if wish not in ENGINES or not _works(wish):
            raise BuilderError(f"ENGINE={wish} does not work here; it can be {', '.join(ENGINES)}, or left out")
        return wish
    for name in ENGINES:
        if _works(name):
            return name
    raise BuilderError(NONE)


def _works(name: str) -> bool:
    if shutil.which(name) is None:
        return False
    # docker alone is a client; it answers with an error where no daemon does
    return name != "docker" or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


def version() -> str:
    """Return the project's version, as pyproject.toml has it."""
    found: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return found


def revision() -> str:
    """Return the commit that is checked out, said to be modified where it is; empty outside a git checkout."""
    commit = _git("rev-parse", "HEAD")
    return f"{commit}-modified" if commit and _git("status", "--porcelain", "--untracked-files=no") else commit


def epoch() -> int:
    """Return the time that everything in the image has: SOURCE_DATE_EPOCH, or the commit's, or the first of 1980."""
    # a wheel is a zip, and those begin in 1980
    return int(os.environ.get("SOURCE_DATE_EPOCH") or _git("log", "-1", "--format=%ct") or 315532800)


def labels(base: str) -> list[str]:
    """Return the options that write down, in the image, the base that it runs on; none unless that is named by digest.

    Source: OCI image format specification, annotations.md.
    """
    name, _, digest = base.partition("@")
    said = {"name": name, "digest": digest} if digest else {}
    return [part for key, value in said.items() for part in ("--label", f"org.opencontainers.image.base.{key}={value}")]


def _git(*arguments: str) -> str:
    try:
        run = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return run.stdout.strip() if run.returncode == 0 else ""


def build(engine: str, wish: Wish, archive: Path) -> None:
    """Build, and save to a file that is written anew; raises BuilderError."""
    given = [part for key, value in wish.arguments.items() for part in ("--build-arg", f"{key}={value}")]
    given += [*wish.options, "--tag", wish.name]
    archive.parent.mkdir(parents=True, exist_ok=True)
    archive.unlink(missing_ok=True)
    match engine:
        case "docker":
            _run(["docker", "build", "--build-arg", f"SOURCE_DATE_EPOCH={wish.epoch}", *given, str(wish.source)])
            _run(["docker", "save", "--output", str(archive), wish.name])
        case "podman":
            # without --format it would be one for docker, whose archive is another
            made = ["podman", "build", "--format", "oci", "--layers=false", "--timestamp", str(wish.epoch)]
            _run([*made, *given, str(wish.source)])
            _run(["podman", "save", "--quiet", "--format", "oci-archive", "--output", str(archive), wish.name])
        case _:
            made = ["buildah", "build", "--format", "oci", "--layers=false", "--timestamp", str(wish.epoch)]
            _run([*made, *given, str(wish.source)])
            _run(["buildah", "push", "--quiet", wish.name, f"oci-archive:{archive}:{wish.name}"])


def _run(command: Sequence[str]) -> None:
    # By chroot buildah needs no runtime, no network plug-ins and no cgroups, so it also works inside of containers.
    environment = {"BUILDAH_ISOLATION": "chroot", "DOCKER_BUILDKIT": "1", **os.environ}
    code = subprocess.run(command, env=environment, check=False).returncode
    if code:
        raise BuilderError(f"{' '.join(command[:2])} failed with exit status {code}")
