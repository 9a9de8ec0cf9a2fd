"""Read an image from its OCI archive: what it is called by digest, its layers, and the files in it, as they would be mounted.

Source: OCI image format specification, image-layout.md and layer.md.
"""

import gzip
import hashlib
import json
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"


class ArchiveError(Exception):
    """No OCI archive, or none with an image for the platform; one line."""


@dataclass(frozen=True, slots=True)
class Layer:
    digest: str  # of the blob as it is stored, that is compressed
    size: int  # bytes, compressed
    made_by: str  # the step, as the history has it


@dataclass(frozen=True, slots=True)
class File:
    """A file as the last layer that has it leaves it; without content unless it was asked for."""

    path: str  # no leading slash
    mode: int  # permission bits, with set-user-ID and set-group-ID
    uid: int
    gid: int
    kind: bytes  # the type that tarfile names
    layer: int
    content: bytes


@dataclass(frozen=True, slots=True)
class Image:
    digest: str  # of the manifest: what a registry calls it as long as nobody compresses it anew
    platform: str  # linux/amd64
    config: dict[str, Any]
    layers: tuple[Layer, ...]
    files: dict[str, File]

    @property
    def size(self) -> int:
        """Bytes that are transferred, compressed."""
        return sum(layer.size for layer in self.layers)


def read(archive: Path, platform: str | None = None, wanted: Callable[[str], bool] = lambda path: False) -> Image:
    """Read the image for a platform, or the only one; `wanted` says of which paths the content is kept.

    Raises ArchiveError, also for a blob that is not what its digest says.
    """
    try:
        with tarfile.open(archive) as outer:
            return _read(outer, platform, wanted)
    except (tarfile.TarError, KeyError, ValueError) as error:
        raise ArchiveError(f"{archive} is not an OCI archive: {error}") from error


def _read(outer: tarfile.TarFile, platform: str | None, wanted: Callable[[str], bool]) -> Image:
    index = json.loads(_member(outer, "index.json"))
    found: dict[str, str] = {}  # platform → digest
    for digest in _manifests(outer, index):
        config = _config(outer, digest)
        found.setdefault(f"{config.get('os')}/{config.get('architecture')}", digest)
    if platform is None and len(found) != 1:
        raise ArchiveError(f"it has images for {', '.join(sorted(found)) or 'no platform'}; name one")
    chosen = platform or next(iter(found))
    if chosen not in found:
        raise ArchiveError(f"it has no image for {chosen}, but for {', '.join(sorted(found)) or 'no platform'}")
    digest = found[chosen]
    manifest, config = json.loads(_blob(outer, digest)), _config(outer, digest)
    steps = [step.get("created_by", "") for step in config.get("history", []) if not step.get("empty_layer")]
    blobs = manifest["layers"]
    if len(steps) != len(blobs):  # a history is optional
        steps = [""] * len(blobs)
    layers = tuple(Layer(blob["digest"], blob["size"], step) for blob, step in zip(blobs, steps, strict=True))
    return Image(digest, chosen, config, layers, _files(outer, layers, wanted))


def _manifests(outer: tarfile.TarFile, index: dict[str, Any]) -> Iterator[str]:
    """The digests of all images, also below another index; attestations stand beside them as images for no platform."""
    for entry in index["manifests"]:
        inner = json.loads(_blob(outer, entry["digest"]))
        if "manifests" in inner:
            yield from _manifests(outer, inner)
        elif entry.get("platform", {}).get("os") != "unknown":
            yield entry["digest"]


def _config(outer: tarfile.TarFile, digest: str) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(_blob(outer, json.loads(_blob(outer, digest))["config"]["digest"]))
    return config


def _files(outer: tarfile.TarFile, layers: tuple[Layer, ...], wanted: Callable[[str], bool]) -> dict[str, File]:
    files: dict[str, File] = {}
    for number, layer in enumerate(layers):
        with _verified(outer, layer.digest) as blob, tarfile.open(fileobj=blob, mode="r|") as inner:
            hidden: set[str] = set()
            added: dict[str, File] = {}
            for member in inner:
                path = member.name.removeprefix("./").strip("/")
                folder, _, name = path.rpartition("/")
                if name == _OPAQUE:
                    hidden.add(f"{folder}/")
                elif name.startswith(_WHITEOUT):
                    gone = f"{folder}/{name.removeprefix(_WHITEOUT)}".lstrip("/")
                    hidden |= {gone, f"{gone}/"}
                elif path:
                    reader = inner.extractfile(member) if member.isreg() and wanted(path) else None
                    content = reader.read() if reader else b""
                    added[path] = File(path, member.mode, member.uid, member.gid, member.type, number, content)
        below = tuple(path for path in hidden if path.endswith("/"))
        kept = {path: file for path, file in files.items() if path not in hidden and not (below and path.startswith(below))}
        files = kept | added
    return files


@contextmanager
def _verified(outer: tarfile.TarFile, digest: str) -> Iterator[IO[bytes] | gzip.GzipFile]:
    """The uncompressed bytes of a layer, after they have been found to be those of the digest."""
    with _open(outer, _place(digest)) as blob:
        actual = hashlib.sha256()
        while part := blob.read(1 << 20):
            actual.update(part)
        _compare(actual.hexdigest(), digest)
    with _open(outer, _place(digest)) as blob:
        compressed = blob.read(2) == b"\x1f\x8b"
        blob.seek(0)
        if compressed:
            with gzip.GzipFile(fileobj=blob) as plain:
                yield plain
        else:
            yield blob


def _blob(outer: tarfile.TarFile, digest: str) -> bytes:
    content = _member(outer, _place(digest))
    _compare(hashlib.sha256(content).hexdigest(), digest)
    return content


def _compare(actual: str, digest: str) -> None:
    if digest != f"sha256:{actual}":
        raise ArchiveError(f"a blob is sha256:{actual}, not {digest} as it is called")


def _place(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/", 1)


def _member(outer: tarfile.TarFile, name: str) -> bytes:
    with _open(outer, name) as file:
        return file.read()


def _open(outer: tarfile.TarFile, name: str) -> IO[bytes]:
    file = outer.extractfile(name)
    if file is None:
        raise ArchiveError(f"{name} is not a file in it")
    return file
