"""Archives as builders write them, and as a broken disk or somebody else might."""

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from scripts.image.__main__ import main
from scripts.image.archive import ArchiveError, Image, read

Files = dict[str, bytes]


class Layout:
    """An OCI archive in the making."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    def blob(self, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        self.blobs[f"blobs/sha256/{digest}"] = content
        return f"sha256:{digest}"

    def image(self, *layers: Files, architecture: str = "amd64", system: str = "linux", plain: bool = False) -> dict[str, Any]:
        """The entry of an index for an image of these layers, each compressed unless plain."""
        blobs = []
        for files in layers:
            content = _tar(files)
            blobs.append(content if plain else gzip.compress(content, mtime=0))
        config = json.dumps({"os": system, "architecture": architecture}).encode()
        manifest = {
            "config": {"digest": self.blob(config)},
            "layers": [{"digest": self.blob(blob), "size": len(blob)} for blob in blobs],
        }
        return {"digest": self.blob(json.dumps(manifest).encode()), "platform": {"os": system, "architecture": architecture}}

    def index(self, *entries: dict[str, Any]) -> dict[str, Any]:
        return {"digest": self.blob(json.dumps({"manifests": entries}).encode())}

    def write(self, path: Path, *entries: dict[str, Any]) -> Path:
        path.write_bytes(_tar({"index.json": json.dumps({"manifests": entries}).encode(), **self.blobs}))
        return path


def _tar(files: Files) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _read(tmp_path: Path, *layers: Files, plain: bool = False) -> Image:
    layout = Layout()
    return read(layout.write(tmp_path / "a.tar", layout.image(*layers, plain=plain)), wanted=lambda path: True)


def _contents(image: Image) -> Files:
    return {path: file.content for path, file in image.files.items()}


@pytest.mark.parametrize("plain", [False, True], ids=["compressed", "not compressed"])
@pytest.mark.parametrize(
    ("layers", "left"),
    [
        pytest.param([{"a": b"1", "b": b"2"}, {"b": b"3"}], {"a": b"1", "b": b"3"}, id="the last layer wins"),
        pytest.param([{"./a": b"1"}, {"a": b"2"}], {"a": b"2"}, id="the same path written otherwise"),
        pytest.param([{"d/a": b"1", "d/b": b"2"}, {"d/.wh.a": b""}], {"d/b": b"2"}, id="a file taken away"),
        pytest.param([{"a": b"1", "ab": b"2"}, {".wh.a": b""}], {"ab": b"2"}, id="a file at the top taken away"),
        pytest.param([{"d/a": b"1", "da": b"2"}, {".wh.d": b""}], {"da": b"2"}, id="a directory taken away"),
        pytest.param(
            [{"d/a": b"1", "e": b"2"}, {"d/b": b"3", "d/.wh..wh..opq": b""}],
            {"e": b"2", "d/b": b"3"},
            id="a directory made anew, said last",
        ),
        pytest.param([{"a": b"1"}, {".wh.a": b""}, {"a": b"2"}], {"a": b"2"}, id="taken away and put back"),
    ],
)
def test_layers_on_top_of_each_other(tmp_path: Path, layers: list[Files], left: Files, plain: bool) -> None:
    assert _contents(_read(tmp_path, *layers, plain=plain)) == left


def test_content_is_kept_only_where_it_is_wanted(tmp_path: Path) -> None:
    layout = Layout()
    archive = layout.write(tmp_path / "a.tar", layout.image({"a": b"1", "b": b"2"}))
    assert _contents(read(archive, wanted=lambda path: path == "b")) == {"a": b"", "b": b"2"}


def test_one_of_several_platforms(tmp_path: Path) -> None:
    layout = Layout()
    small, large = layout.image({"a": b"arm"}, architecture="arm64"), layout.image({"a": b"amd"})
    attestation = layout.image({"a": b"provenance"}, architecture="unknown", system="unknown")
    archive = layout.write(tmp_path / "a.tar", layout.index(large, small, attestation))
    chosen = read(archive, "linux/arm64", wanted=lambda path: True)
    assert (chosen.digest, _contents(chosen)) == (small["digest"], {"a": b"arm"})
    with pytest.raises(ArchiveError, match=r"^it has images for linux/amd64, linux/arm64; name one$"):
        read(archive)
    with pytest.raises(ArchiveError, match=r"^it has no image for linux/s390x, but for linux/amd64, linux/arm64$"):
        read(archive, "linux/s390x")


def test_a_blob_that_is_not_what_it_is_called(tmp_path: Path) -> None:
    layout = Layout()
    entry = layout.image({"a": b"1"})
    layer = next(name for name, content in layout.blobs.items() if content.startswith(b"\x1f\x8b"))
    layout.blobs[layer] = gzip.compress(_tar({"a": b"2"}), mtime=0)
    actual = hashlib.sha256(layout.blobs[layer]).hexdigest()
    called = layer.removeprefix("blobs/").replace("/", ":")
    with pytest.raises(ArchiveError, match=f"^a blob is sha256:{actual}, not {called} as it is called$"):
        read(layout.write(tmp_path / "a.tar", entry))


@pytest.mark.parametrize("content", [b"", b"text", _tar({"a": b"1"}), _tar({"index.json": b"{"})])
def test_no_archive(tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    archive = tmp_path / "a.tar"
    archive.write_bytes(content)
    assert main(["sbom", str(archive)]) == 1
    assert capsys.readouterr().err.startswith(f"{archive} is not an OCI archive: ")
