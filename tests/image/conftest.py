"""The image, built once by the command that people use, loaded and mounted; without root that is skipped, except in CI."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.image.archive import Image, read
from tests.cluster.binaries import may_skip
from tests.image.base import NAME, Store, Unavailable, base, programs

ROOT = Path(__file__).resolve().parents[2]
BUILT = "built"
TIMES = {"SOURCE_DATE_EPOCH": "1700000000", "REVISION": "0" * 40}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "image: builds the image by buildah and runs it by runc")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if BUILT in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.image)
            item.add_marker(pytest.mark.timeout(600))  # the first test waits for the base and for two builds


@dataclass(frozen=True)
class Made:
    """What `python -m scripts.image` left and printed."""

    archive: Path
    sbom: Path
    printed: str


@dataclass(frozen=True)
class Mounted:
    root: Path
    image: Image


@dataclass(frozen=True)
class Builds:
    """Makes the image anew, from a checkout, in a store that is empty but for the base."""

    directory: Path
    base: Path

    def __call__(self, name: str, checkout: Path = ROOT, umask: int = 0o022) -> Made:
        store = Store(self.directory / name)
        store("pull", "--quiet", f"oci-archive:{self.base}:{NAME}")
        output = self.directory / f"{name}-output"
        environment = store.environment | TIMES | {"ENGINE": "buildah", "PYTHON_IMAGE": NAME, "OUTPUT": str(output)}
        environment["BUILD_OPTIONS"] = self._trust(environment)
        run = subprocess.run(
            [sys.executable, "-m", "scripts.image"],
            cwd=checkout,
            env=environment,
            umask=umask,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
        shutil.rmtree(self.directory / name)
        printed = run.stdout[run.stdout.index("image      ") :]  # the builder's own lines stand before it
        return Made(output / "dpdk-webhook.oci.tar", output / "dpdk-webhook.cdx.json", printed)

    def _trust(self, environment: Mapping[str, str]) -> str:
        """A machine whose packages come through a CA of its own has told pip so, and inside the build pip must know as well."""
        asked = [sys.executable, "-m", "pip", "config", "list"]
        configured = subprocess.run(asked, env=environment, capture_output=True, text=True, check=False).stdout
        ca = next(iter(re.findall(r"^(?::env:|global|install)\.cert='(.+)'$", configured, re.MULTILINE)), "")
        if not ca:
            return ""
        configuration = self.directory / "pip.conf"
        configuration.write_text("[global]\ncert = /etc/pip-ca.crt\n")
        return f"--secret id=pip.conf,src={configuration} --secret id=ca.crt,src={ca}"


@pytest.fixture(scope="session")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builds]:
    directory = tmp_path_factory.mktemp("image")
    try:
        programs()
        yield Builds(directory, base())
    except Unavailable as error:
        if not may_skip():
            raise
        pytest.skip(str(error))
    finally:
        shutil.rmtree(directory, ignore_errors=True)  # some hundred MB that nobody looks at


@pytest.fixture(scope="session")
def built(builds: Builds) -> Made:
    return builds("first")


@pytest.fixture(scope="session")
def image(built: Made) -> Image:
    """The image with the content of all that we add."""
    return read(built.archive, wanted=lambda path: path.startswith(("opt/", "usr/lib/os-release", "var/lib/dpkg/status")))


@pytest.fixture(scope="session")
def loaded(builds: Builds, built: Made) -> Store:
    """A store elsewhere, that has no base and never met a registry, after the archive was carried there."""
    store = Store(builds.directory / "elsewhere")
    carried = builds.directory / "carried.tar"
    shutil.copyfile(built.archive, carried)
    store("pull", "--quiet", f"oci-archive:{carried}")
    carried.unlink()
    return store


@pytest.fixture(scope="session")
def mounted(loaded: Store, image: Image) -> Mounted:
    container = loaded("from", "--pull-never", "dpdk-webhook:0.1.0")
    return Mounted(Path(loaded("mount", container)), image)
