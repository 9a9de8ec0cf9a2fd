"""What is written from the chart stands as the chart has it now, and when it doesn't that is told."""

import re
import shutil
from pathlib import Path

import pytest

from scripts import manifests
from scripts.manifests import CHART, DEPLOY, FILES, HEAD, files, stale
from tests.deploy.rendered import Installers

WANTED = "make them anew: python -m scripts.manifests"


def test_every_generated_file_is_up_to_date(installers: Installers) -> None:
    assert stale(files(installers.directory / "helm")) == [], WANTED


def test_a_change_of_the_chart_makes_its_files_stale(installers: Installers, tmp_path: Path) -> None:
    chart = shutil.copytree(CHART, tmp_path / "chart")
    template = chart / "templates" / "service.yaml"
    template.write_text(template.read_text().replace("port: 443\n", "port: 8443\n"))
    assert stale(files(installers.directory / "helm", chart)) == ["base/service.yaml"]


def test_a_file_that_is_gone_is_stale() -> None:
    assert stale({"base/nothing.yaml": ""}) == ["base/nothing.yaml"]


def test_the_command_writes_what_it_then_finds(
    installers: Installers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(manifests, "DEPLOY", tmp_path)
    helm = ["--helm", str(installers.directory / "helm")]
    assert manifests.main([*helm, "--check"]) == 1
    assert not list(tmp_path.iterdir())
    assert capsys.readouterr().out.count(" is out of date: ") == len(FILES)
    assert manifests.main(helm) == 0
    assert sorted(capsys.readouterr().out.split()) == sorted(f"deploy/{path}" for path in FILES)
    assert manifests.main([*helm, "--check"]) == 0
    (tmp_path / "base" / "service.yaml").write_text("kind: Service\n")
    assert manifests.main([*helm, "--check"]) == 1
    assert capsys.readouterr().out == "deploy/base/service.yaml is out of date: make it anew by python -m scripts.manifests\n"
    assert manifests.main(helm) == 0
    assert capsys.readouterr().out == "deploy/base/service.yaml\n"


def test_what_is_written_reads_well() -> None:
    for path in FILES:
        text = (DEPLOY / path).read_text()
        assert text.startswith(HEAD)
        assert "# Source:" not in text
        assert "{{ " not in text or path.startswith("components/"), path  # alerts and dashboards have braces of their own
        assert not re.search(r"[ \t]+$", text, re.MULTILINE), path
        assert "\n\n\n" not in text


def test_every_template_is_written_somewhere_and_every_file_is_listed() -> None:
    templates = {path.name for path in (CHART / "templates").glob("*.yaml")}
    assert templates == {template for _, template in FILES.values()}
    written = [path for folder in ("base", "overlays", "components") for path in (DEPLOY / folder).rglob("*.yaml")]
    kept = {str(path.relative_to(DEPLOY)) for path in written}
    generated = {path for path in kept if (DEPLOY / path).read_text().startswith(HEAD)}
    assert generated == set(FILES)
    for kustomization in DEPLOY.rglob("kustomization.yaml"):
        others = {path.name for path in kustomization.parent.glob("*.yaml")} - {"kustomization.yaml"}
        assert {name for name in others if name in kustomization.read_text()} == others, kustomization
