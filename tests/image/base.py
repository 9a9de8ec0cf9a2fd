"""A Python image to build on where no registry is within reach: made by debootstrap, once, from where apt has its packages.

`python -m tests.image.base` makes it and prints where it is.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = {"buildah": "buildah", "debootstrap": "debootstrap", "runc": "runc"}  # by the package that has it
COMPONENTS = {"debian": "main", "ubuntu": "main,universe"}
ORIGINS = {"debian": "Debian", "ubuntu": "Ubuntu"}
PACKAGES = ("python3", "python3-venv", "ca-certificates")
NAME = "localhost/python-base"
RECIPE = "3"  # changed with what is done below
# What installing left: of no use in an image, and different each time.
LEFT = ("var/cache/apt", "var/lib/apt/lists", "var/log", "tmp")


class Unavailable(Exception):
    """No image can be built here, and why; one line."""


def programs() -> None:
    """Have what builds and runs an image installed; raises Unavailable."""
    if os.geteuid() != 0:
        raise Unavailable("no image is built or run here: debootstrap and containers without a daemon need root")
    # debootstrap is there, and what it calls; not every root has them on his PATH
    os.environ["PATH"] = ":".join(dict.fromkeys([*os.environ["PATH"].split(":"), "/usr/sbin", "/sbin"]))
    if missing := [package for program, package in PROGRAMS.items() if shutil.which(program) is None]:
        subprocess.run([ROOT / "scripts" / "install-system-packages", *missing], check=True)
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        raise Unavailable(f"no image is built or run here: {', '.join(missing)} can't be installed")


def base() -> Path:
    """Return an OCI archive of a Debian or Ubuntu with Python, called NAME in there; raises Unavailable."""
    release = platform.freedesktop_os_release()
    suite = release.get("VERSION_CODENAME", "")
    if release["ID"] not in COMPONENTS or not suite:
        raise Unavailable(f"no image is built here: debootstrap makes no {release['ID']}")
    recipe = hashlib.sha256("\0".join((RECIPE, suite, *PACKAGES)).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dpdk-webhook"
    cache.mkdir(parents=True, exist_ok=True)
    place = cache / f"python-base-{suite}-{recipe}.oci.tar"
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            start = time.monotonic()
            print(f"making a {suite} with Python by debootstrap (about a minute, once) …", end="", file=sys.stderr, flush=True)
            with TemporaryDirectory(prefix="python-base-") as directory:
                _make(Path(directory), suite, release["ID"], place)
            print(f" {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    return place


def mirror(suite: str, origin: str) -> str:
    """Where apt has the packages of this release from, as an address that debootstrap reads; raises Unavailable.

    `origin` is what the distribution calls itself: others that offer packages for it give its code name as well.
    """
    wish = ["Created-By: Packages", f"Codename: {suite}", f"Origin: {origin}"]
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", *wish]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    for address in [each for source in said for each in _addresses(source)]:
        if address.startswith(("http://", "https://", "file:")):
            return address
    raise Unavailable(f"no image is built here: apt has no source for {suite} that debootstrap reads")


def _addresses(source: str) -> list[str]:
    """Itself, or where it is a list in a file, as on hosted runners, those in there (apt-transport-mirror(1))."""
    if not source.startswith("mirror+file:"):
        return [source]
    lines = Path(source.removeprefix("mirror+file:")).read_text().splitlines()
    return [line.split()[0] for line in lines if line.strip()]  # a line may go on with a priority


def _make(directory: Path, suite: str, distribution: str, place: Path) -> None:
    root, unfinished = directory / "root", directory / "base.oci.tar"
    what = ["--variant=minbase", f"--components={COMPONENTS[distribution]}", f"--include={','.join(PACKAGES)}"]
    command = ["debootstrap", *what, suite, str(root), mirror(suite, ORIGINS[distribution])]
    made = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if made.returncode:
        raise Unavailable(f"no image is built here: debootstrap failed: {' / '.join(made.stdout.splitlines()[-2:])}")
    for left in LEFT:
        shutil.rmtree(root / left)
        (root / left).mkdir(mode=0o1777 if left == "tmp" else 0o755)
    (root / "tmp").chmod(0o1777)
    store = Store(directory / "store")
    container = store("from", "scratch")
    store("add", container, str(root), "/")
    store("commit", "--timestamp", "0", "--rm", container, NAME)
    store("push", "--quiet", NAME, f"oci-archive:{unfinished}:{NAME}")
    shutil.copyfile(unfinished, place.with_suffix(".unfinished"))  # /tmp may be another file system
    place.with_suffix(".unfinished").rename(place)


class Store:
    """Images and containers in a directory of their own, empty at first; without overlays, so that it works in containers."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        configuration = directory / "storage.conf"
        configuration.write_text(
            f'[storage]\ndriver = "vfs"\nrunroot = "{directory}/run"\ngraphroot = "{directory}/graph"\n', encoding="ascii"
        )
        self.environment = {**os.environ, "CONTAINERS_STORAGE_CONF": str(configuration), "BUILDAH_ISOLATION": "chroot"}

    def __call__(self, *arguments: str) -> str:
        """What buildah prints; it must succeed."""
        command: Sequence[str] = ("buildah", *arguments)
        run = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        assert run.returncode == 0, f"{' '.join(arguments)}: {run.stderr}"
        return run.stdout.strip()


if __name__ == "__main__":
    programs()
    print(base())
