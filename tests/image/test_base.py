"""Where the base's packages come from, asked of the real apt: its sources are files of the test's own. No network."""

import shutil
from pathlib import Path

import pytest

from tests.cluster.binaries import may_skip
from tests.image.base import Unavailable, mirror

UBUNTU, OTHER = "http://archive.example.com/ubuntu/", "https://packages.example.com/ubuntu/prod/"


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of an apt that knows no source yet."""
    if shutil.which("apt-get") is None:
        if not may_skip():
            pytest.fail("apt-get is missing")
        pytest.skip("the base is made from where apt has its packages, and there is no apt-get here")
    (tmp_path / "lists" / "partial").mkdir(parents=True)
    (tmp_path / "parts").mkdir()
    (tmp_path / "status").touch()
    settings = {
        "APT::Architecture": "amd64",
        "Dir::Etc::SourceList": tmp_path / "sources.list",
        "Dir::Etc::SourceParts": tmp_path / "parts",
        "Dir::State::Lists": tmp_path / "lists",
        "Dir::State::Status": tmp_path / "status",
        "Dir::Cache": tmp_path / "cache",
    }
    configuration = tmp_path / "apt.conf"
    configuration.write_text("".join(f'{key} "{value}";\n' for key, value in settings.items()))
    monkeypatch.setenv("APT_CONFIG", str(configuration))
    return tmp_path


def _source(apt: Path, address: str, origin: str) -> None:
    """One more, for noble, with what an update would have left of it."""
    with (apt / "sources.list").open("a") as sources:
        sources.write(f"deb {address} noble main\n")
    place = address.partition(":")[2].removeprefix("//").rstrip("/") + "/dists/noble"
    name = place.replace("_", "%5f").replace("/", "_")
    (apt / "lists" / f"{name}_InRelease").write_text(f"Origin: {origin}\nSuite: noble\nCodename: noble\nComponents: main\n")
    (apt / "lists" / f"{name}_main_binary-amd64_Packages").write_text("Package: a\nVersion: 1\nArchitecture: amd64\n")


def test_a_source(apt: Path) -> None:
    _source(apt, UBUNTU, "Ubuntu")
    assert mirror("noble", "Ubuntu") == UBUNTU


def test_not_that_of_somebody_else(apt: Path) -> None:
    """Hosted runners have such, for the same release, and before the distribution's own."""
    _source(apt, OTHER, "microsoft-ubuntu-noble-prod noble")
    _source(apt, UBUNTU, "Ubuntu")
    assert mirror("noble", "Ubuntu") == UBUNTU
    assert mirror("noble", "microsoft-ubuntu-noble-prod noble") == OTHER


def test_a_list_of_mirrors(apt: Path) -> None:
    """As hosted runners have it; debootstrap can't read that."""
    mirrors = apt / "apt-mirrors.txt"
    mirrors.write_text(f"# the nearest first\n\n{UBUNTU}\tpriority:1\n{OTHER}\tpriority:2\n")
    _source(apt, f"mirror+file:{mirrors}", "Ubuntu")
    assert mirror("noble", "Ubuntu") == UBUNTU


@pytest.mark.parametrize(("suite", "origin"), [("noble", "Debian"), ("jammy", "Ubuntu"), ("noble", "Elsewhere")])
def test_none_that_debootstrap_reads(apt: Path, suite: str, origin: str) -> None:
    _source(apt, UBUNTU, "Ubuntu")
    _source(apt, "mirror+https://mirrors.example.com/list", "Elsewhere")
    with pytest.raises(Unavailable, match=rf"^no image is built here: apt has no source for {suite} that debootstrap reads$"):
        mirror(suite, origin)
