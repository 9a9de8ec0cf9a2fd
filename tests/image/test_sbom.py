"""The SBOM against the lock file, against the base's own package manager, and against the schema by CycloneDX's own library."""

import fcntl
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from scripts.image.__main__ import main
from scripts.image.sbom import normalised
from tests.image.conftest import ROOT, Made, Mounted

VALIDATOR = ROOT / "requirements" / "sbom.txt"
VALIDATES = (
    "import sys; from cyclonedx.schema import SchemaVersion; from cyclonedx.validation.json import JsonStrictValidator; "
    "problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(sys.stdin.read()); sys.exit(problem and str(problem))"
)


@pytest.fixture(scope="module")
def sbom(built: Made) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(built.sbom.read_bytes())
    return document


def _versions(sbom: dict[str, Any], kind: str) -> dict[str, str]:
    """What it lists of a kind, by its package URL: name → version."""
    return {part["name"]: part["version"] for part in sbom["components"] if part["purl"].startswith(f"pkg:{kind}/")}


def test_the_schema(built: Made, validator: Path) -> None:
    document = built.sbom.read_text()
    assert _invalid(validator, document) is None
    assert "'type' is a required property" in str(
        _invalid(validator, document.replace('"type": "library"', '"kind": "library"', 1))
    )


def _invalid(validator: Path, document: str) -> str | None:
    run = subprocess.run([validator, "-c", VALIDATES], input=document, capture_output=True, text=True, check=False)
    return run.stderr if run.returncode else None


@pytest.fixture(scope="module")
def validator() -> Path:
    """A Python that has the library, and nothing that the project itself needs."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dpdk-webhook"
    cache.mkdir(parents=True, exist_ok=True)
    place = cache / f"sbom-{hashlib.sha256(VALIDATOR.read_bytes()).hexdigest()[:12]}"
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "ready").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", place], check=True)
            pip = [str(place / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
            subprocess.run([*pip, "-r", str(VALIDATOR)], check=True)
            (place / "ready").touch()
    return place / "bin" / "python"


def test_the_python_packages_are_those_of_the_lock(sbom: dict[str, Any]) -> None:
    """For this platform: the test runs on the machine that the image was built for."""
    locked = _locked()
    assert len(locked) > 40
    assert _versions(sbom, "pypi") == {name: version for name, (version, _) in locked.items()} | {"dpdk-webhook": "0.1.0"}
    for part in sbom["components"]:
        if part["name"] in locked and part["purl"].startswith("pkg:pypi/"):
            [digest] = part["hashes"]
            assert digest["alg"] == "SHA-256"
            assert digest["content"] in locked[part["name"]][1], part["name"]


def _locked() -> dict[str, tuple[str, set[str]]]:
    """name → version and SHA-256 of its files, of what the lock has for Linux and CPython."""
    text = (ROOT / "requirements" / "run.txt").read_text()
    text = re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    locked = {}
    for line in text.splitlines():
        wanted, *hashes = re.split(r"\s+--hash=sha256:", line.strip())
        requirement = Requirement(wanted)
        if requirement.marker is None or requirement.marker.evaluate():
            version = str(requirement.specifier).removeprefix("==")
            locked[normalised(requirement.name)] = version, set(hashes)
    return locked


def test_the_system_packages_are_those_that_dpkg_lists(sbom: dict[str, Any], mounted: Mounted) -> None:
    command = ["dpkg-query", f"--admindir={mounted.root}/var/lib/dpkg", "--show", "--showformat=${Package}\t${Version}\n"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    listed = dict(line.split("\t") for line in said.splitlines())
    [system] = {part["purl"].split("/")[1] for part in sbom["components"] if part["purl"].startswith("pkg:deb/")}
    assert len(listed) > 50
    assert _versions(sbom, f"deb/{system}") == listed


def test_the_rest(sbom: dict[str, Any], built: Made, mounted: Mounted) -> None:
    whole = sbom["metadata"]["component"]
    assert (whole["type"], whole["version"], whole["bom-ref"]) == ("container", "0.1.0", mounted.image.digest)
    assert sbom["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"
    release = (mounted.root / "usr/lib/os-release").read_text()
    kinds = {part["type"]: part for part in sbom["components"] if part["type"] != "library"}
    assert kinds.keys() == {"operating-system", "platform"}
    assert f'VERSION_ID="{kinds["operating-system"]["version"]}"' in release
    interpreter = subprocess.run(
        ["chroot", mounted.root, "/usr/bin/python3", "-c", "import platform; print(platform.python_version())"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert kinds["platform"]["version"] == interpreter.stdout.strip()
    assert sorted(sbom["dependencies"][0]["dependsOn"]) == sorted(part["bom-ref"] for part in sbom["components"])


def test_that_of_an_archive(built: Made, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["sbom", str(built.archive), "--platform", "linux/amd64"]) == 0
    assert capfdbinary.readouterr().out == built.sbom.read_bytes()
