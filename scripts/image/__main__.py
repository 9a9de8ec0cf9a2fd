"""`python -m scripts.image`: build the image and make its SBOM. `python -m scripts.image sbom ARCHIVE`: of another's.

From the environment, so `make image IMAGE=…` as well: IMAGE, PYTHON_IMAGE, BUILD_IMAGE, RUNTIME_IMAGE, REVISION and SOURCE (for
the labels), SOURCE_DATE_EPOCH, ENGINE, BUILD_OPTIONS (passed on to the builder), OUTPUT (the directory of what is made).
"""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.image import builder
from scripts.image.archive import ArchiveError, Image, read
from scripts.image.builder import BuilderError, Wish
from scripts.image.sbom import sbom, wanted


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts.image", description="Build the image; or list what is in one.")
    commands = parser.add_subparsers(metavar="COMMAND")
    listing = commands.add_parser("sbom", help="write the SBOM of an OCI archive to standard output")
    listing.add_argument("archive", type=Path)
    listing.add_argument("--platform", help="linux/amd64, where the archive holds several")
    options = parser.parse_args(argv)
    try:
        if "archive" in options:
            sys.stdout.buffer.write(sbom(read(options.archive, options.platform, wanted)))
        else:
            _image()
    except (BuilderError, ArchiveError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _image() -> None:
    version = builder.version()
    name = os.environ.get("IMAGE") or f"dpdk-webhook:{version}"
    revision = os.environ.get("REVISION") or builder.revision()
    arguments = {"VERSION": version, "REVISION": revision, "SOURCE": os.environ.get("SOURCE", "")}
    arguments |= {key: os.environ[key] for key in ("PYTHON_IMAGE", "BUILD_IMAGE", "RUNTIME_IMAGE") if os.environ.get(key)}
    engine = builder.engine()
    place = Path(os.environ.get("OUTPUT") or builder.ROOT / "build" / "image")
    archive, listing = place / "dpdk-webhook.oci.tar", place / "dpdk-webhook.cdx.json"
    base = arguments.get("RUNTIME_IMAGE") or arguments.get("PYTHON_IMAGE", "")
    extra = [*builder.labels(base), *shlex.split(os.environ.get("BUILD_OPTIONS", ""))]
    builder.build(engine, Wish(name, builder.ROOT, arguments, builder.epoch(), extra), archive)
    image = read(archive, wanted=wanted)
    listing.write_bytes(sbom(image))
    print(summary(image, name, engine, archive, listing))


def summary(image: Image, name: str, engine: str, archive: Path, listing: Path) -> str:
    """What was made, how large it is, and what to do with it."""
    layers = "\n".join(f"           {layer.size / 1e6:6.1f} MB  {layer.made_by[:70]}".rstrip() for layer in image.layers)
    return (
        f"image      {name} ({image.platform}, by {engine})\n"
        f"digest     {image.digest}\n"
        f"size       {image.size / 1e6:.1f} MB compressed, by layer:\n{layers}\n"
        f"archive    {archive}\n"
        f"SBOM       {listing}\n"
        f"\n"
        f"push it    {engine} push {name}\n"
        f"elsewhere  {LOAD[engine].format(archive=archive.name)}\n"
    )


LOAD = {
    "docker": "docker load --input {archive}",
    "podman": "podman load --input {archive}",
    "buildah": "buildah pull oci-archive:{archive}",
}


if __name__ == "__main__":
    sys.exit(main())
