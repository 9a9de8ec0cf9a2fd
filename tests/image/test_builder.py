"""Which builder is taken, and what is said where there is none."""

import re
from pathlib import Path

import pytest

from scripts.image import builder
from scripts.image.__main__ import main
from scripts.image.builder import BuilderError, Wish, build, engine


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only directory in which programs are found; empty."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("ENGINE", "IMAGE", "BUILD_OPTIONS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def _program(directory: Path, name: str, line: str) -> None:
    (directory / name).write_text(f"#!/bin/sh\n{line}\n")
    (directory / name).chmod(0o755)


def test_no_builder(found: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 1
    assert capsys.readouterr().err == builder.NONE + "\n"
    assert "scripts/install-system-packages buildah" in builder.NONE


def test_a_docker_without_a_daemon_builds_nothing(found: Path) -> None:
    _program(found, "docker", "exit 1")
    with pytest.raises(BuilderError):
        engine()
    _program(found, "buildah", "exit 0")
    assert engine() == "buildah"
    _program(found, "docker", "exit 0")
    assert engine() == "docker"


@pytest.mark.parametrize("name", ["podman", "kaniko"])
def test_one_that_was_asked_for_and_is_not_here(found: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("ENGINE", name)
    with pytest.raises(
        BuilderError, match=f"^ENGINE={name} does not work here; it can be docker, podman, buildah, or left out$"
    ):
        engine()


def test_one_that_fails(found: Path, tmp_path: Path) -> None:
    _program(found, "buildah", "exit 7")
    old = tmp_path / "image.tar"
    old.write_text("of the last build")
    with pytest.raises(BuilderError, match=r"^buildah build failed with exit status 7$"):
        build("buildah", Wish("a:1", tmp_path, {}, 0), old)
    assert not old.exists()  # or it would be taken for what was built now


@pytest.mark.parametrize(
    ("images", "labelled"),
    [
        ({}, []),
        ({"PYTHON_IMAGE": "a.example.com/python:3.13"}, []),
        ({"PYTHON_IMAGE": "a.example.com/python:3.13@sha256:1"}, ["a.example.com/python:3.13", "sha256:1"]),
        ({"PYTHON_IMAGE": "a@sha256:1", "BUILD_IMAGE": "b@sha256:2"}, ["a", "sha256:1"]),
        ({"PYTHON_IMAGE": "a@sha256:1", "RUNTIME_IMAGE": "b@sha256:2"}, ["b", "sha256:2"]),
    ],
)
def test_the_base_that_it_runs_on_is_written_down(
    found: Path, monkeypatch: pytest.MonkeyPatch, images: dict[str, str], labelled: list[str]
) -> None:
    _program(found, "buildah", f'printf "%s\\n" "$@" >>{found}/log; exit 7')
    for name in ("PYTHON_IMAGE", "BUILD_IMAGE", "RUNTIME_IMAGE"):
        monkeypatch.delenv(name, raising=False)
    for name, image in images.items():
        monkeypatch.setenv(name, image)
    monkeypatch.setenv("OUTPUT", str(found / "output"))
    assert main([]) == 1
    said = dict(
        re.findall(r"^--label\norg\.opencontainers\.image\.base\.(\w+)=(.*)$", (found / "log").read_text(), re.MULTILINE)
    )
    assert said == dict(zip(("name", "digest"), labelled, strict=False))


@pytest.mark.parametrize(
    ("name", "commands"),
    [
        (
            "docker",
            [
                "build --build-arg SOURCE_DATE_EPOCH=9 --build-arg A=b c --pull --tag a:1 {here}",
                "save --output {here}/o.tar a:1",
            ],
        ),
        (
            "podman",
            [
                "build --format oci --layers=false --timestamp 9 --build-arg A=b c --pull --tag a:1 {here}",
                "save --quiet --format oci-archive --output {here}/o.tar a:1",
            ],
        ),
        (
            "buildah",
            [
                "build --format oci --layers=false --timestamp 9 --build-arg A=b c --pull --tag a:1 {here}",
                "push --quiet a:1 oci-archive:{here}/o.tar:a:1",
            ],
        ),
    ],
)
def test_all_are_asked_for_the_same(found: Path, name: str, commands: list[str]) -> None:
    _program(found, name, f'echo "$*" >>{found}/log')
    build(name, Wish("a:1", found, {"A": "b c"}, 9, ["--pull"]), found / "o.tar")
    assert (found / "log").read_text().splitlines() == [command.format(here=found) for command in commands]
