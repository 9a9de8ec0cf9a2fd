"""What is in an image, as CycloneDX: Python packages, the system's packages, Python itself.

Read from the image's own files, not from what was meant to go in. The same image gives the same bytes.
"""

import json
import re
import uuid
from datetime import UTC, datetime
from email.parser import BytesHeaderParser
from typing import Any
from urllib.parse import quote

from scripts.image.archive import Image

HOME = "opt/dpdk-webhook"
HASHES = f"{HOME}/share/packages.json"  # the Dockerfile has pip say which files it installed from
_METADATA = re.compile(rf"{HOME}/lib/python[^/]+/site-packages/[^/]+\.dist-info/METADATA")
_DPKG = re.compile(r"var/lib/dpkg/status(\.d/[^/]+)?")  # images without a shell have a file for each package
_RELEASE = "usr/lib/os-release"
_CONFIG = f"{HOME}/pyvenv.cfg"
_NAMESPACE = uuid.UUID("5d4a0a2e-5c0f-5c53-9a4f-0c6d1b5f0d1e")


def wanted(path: str) -> bool:
    """Say whether the content of a file is needed here: for archive.read."""
    return path in (HASHES, _RELEASE, _CONFIG) or bool(_METADATA.fullmatch(path) or _DPKG.fullmatch(path))


def sbom(image: Image) -> bytes:
    """Return the SBOM as JSON (CycloneDX 1.6) of an image that was read with `wanted`."""
    labels = image.config.get("config", {}).get("Labels") or {}
    name = labels.get("org.opencontainers.image.title", "dpdk-webhook")
    version = labels.get("org.opencontainers.image.version", "")
    whole = {
        "type": "container",
        "bom-ref": image.digest,
        "name": name,
        "version": version or image.digest,
        "purl": f"pkg:oci/{name}@{quote(image.digest, safe='')}?arch={image.platform.partition('/')[2]}",
        "hashes": [{"alg": "SHA-256", "content": image.digest.removeprefix("sha256:")}],
    }
    parts = sorted([*_python(image), *_system(image)], key=lambda part: str(part["bom-ref"]))
    made = datetime.fromisoformat(image.config.get("created", "1970-01-01T00:00:00Z")).astimezone(UTC)
    return _written(
        {
            "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, image.digest)}",
            "version": 1,
            "metadata": {"timestamp": made.strftime("%Y-%m-%dT%H:%M:%SZ"), "component": whole},
            "components": parts,
            "dependencies": [{"ref": image.digest, "dependsOn": [part["bom-ref"] for part in parts]}],
        }
    )


def _written(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"


def _python(image: Image) -> list[dict[str, Any]]:
    hashes: dict[str, str] = json.loads(_content(image, HASHES) or b"{}")
    parts = []
    for path, file in image.files.items():
        if not _METADATA.fullmatch(path):
            continue
        said = BytesHeaderParser().parsebytes(file.content)
        name, version = normalised(str(said["Name"])), str(said["Version"])
        part = _component("library", name, version, f"pkg:pypi/{name}@{quote(version)}")
        if digest := hashes.get(f"{name}=={version}"):
            part["hashes"] = [{"alg": "SHA-256", "content": digest}]
        if licence := said["License-Expression"]:
            part["licenses"] = [{"expression": str(licence)}]
        parts.append(part)
    python = re.search(r"^version = (\S+)", _content(image, _CONFIG).decode(), re.MULTILINE)
    if python:
        parts.append(_component("platform", "python", python[1], f"pkg:generic/python@{quote(python[1])}"))
    return parts


def _system(image: Image) -> list[dict[str, Any]]:
    release = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', _content(image, _RELEASE).decode(), re.MULTILINE))
    system, number = release.get("ID", ""), release.get("VERSION_ID", "")
    parts = []
    if system:
        parts.append(_component("operating-system", system, number, f"pkg:generic/{quote(system)}@{quote(number)}"))
    for path, file in image.files.items():
        # beside each file of status.d stands one of checksums
        if not _DPKG.fullmatch(path) or path.endswith(".md5sums"):
            continue
        for stanza in file.content.decode().split("\n\n"):
            fields = dict(re.findall(r"^([A-Z][\w-]*): (.*)$", stanza, re.MULTILINE))
            # removed packages stay listed as long as their configuration does
            if "Package" not in fields or not fields.get("Status", "installed").endswith("installed"):
                continue
            name, version, arch = fields["Package"], fields["Version"], fields.get("Architecture", "all")
            distro = quote(f"{system}-{number}")
            purl = f"pkg:deb/{quote(system or 'debian')}/{quote(name)}@{quote(version)}?arch={quote(arch)}&distro={distro}"
            parts.append(_component("library", name, version, purl))
    return parts


def _component(kind: str, name: str, version: str, purl: str) -> dict[str, Any]:
    return {"type": kind, "bom-ref": purl, "name": name, "version": version, "purl": purl}


def normalised(name: str) -> str:
    """A package's name as indexes have it: two spellings of one name are equal."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _content(image: Image, path: str) -> bytes:
    file = image.files.get(path)
    return file.content if file else b""
