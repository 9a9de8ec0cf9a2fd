"""The workflows: by actionlint, built from its Go module, and by what it does not look at."""

import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.binaries import BuildError, GoUnavailableError, Program, built, may_skip
from tests.image.conftest import ROOT

MODULE = Path(__file__).parent / "go"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ACTIONLINT = Program("actionlint", "github.com/rhysd/actionlint/cmd/actionlint", "github.com/rhysd/actionlint", 1)

each = pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)


@pytest.fixture(scope="module")
def actionlint() -> Path:
    flags = ("-trimpath", "-buildvcs=false", "-ldflags", "-s -w")
    try:
        return built("actionlint", MODULE, (ACTIONLINT,), flags) / "actionlint"
    except GoUnavailableError as error:
        if not may_skip():
            raise
        pytest.skip(str(error))
    except BuildError as error:
        pytest.fail(str(error))


def test_they_are_looked_at() -> None:
    assert [path.name for path in WORKFLOWS] == ["ci.yml", "release.yml"]


@each
def test_actionlint_finds_nothing(actionlint: Path, workflow: Path, tmp_path: Path) -> None:
    assert _found(actionlint, workflow) == ""
    broken = tmp_path / "broken.yml"
    broken.write_text(workflow.read_text().replace("timeout-minutes", "timeout-hours", 1))
    assert 'unexpected key "timeout-hours"' in _found(actionlint, broken)


def _found(actionlint: Path, workflow: Path) -> str:
    # without shellcheck, which is here or not
    run = subprocess.run([actionlint, "-shellcheck=", "-no-color", workflow], capture_output=True, text=True, check=False)
    return run.stdout + run.stderr


@each
def test_actions_are_pinned_by_commit(workflow: Path) -> None:
    used = re.findall(r"^ *(?:- )?uses: (.*)$", workflow.read_text(), re.MULTILINE)
    assert len(used) >= 4
    assert [use for use in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use)] == []


def test_one_commit_for_each_action() -> None:
    """A new version goes into both, or one is forgotten."""
    text = "".join(path.read_text() for path in WORKFLOWS)
    commits: dict[str, set[str]] = {}
    for action, commit in re.findall(r"uses: ([\w/-]+)@(.*)", text):
        commits.setdefault(action, set()).add(commit)
    assert {action for action, found in commits.items() if len(found) > 1} == set()


@each
def test_no_expression_in_a_script(workflow: Path) -> None:
    """What somebody else can name, a tag or a branch, would be run there; through the environment it is only text."""
    assert [step["run"] for job in _jobs(workflow) for step in job["steps"] if "${{" in step.get("run", "")] == []


@each
def test_rights_are_given_by_job(workflow: Path) -> None:
    whole = yaml.safe_load(workflow.read_text())
    assert whole["permissions"] in ({}, {"contents": "read"})
    for job in _jobs(workflow):
        writes = {right for right, level in job.get("permissions", {}).items() if level == "write"}
        pushes = "docker/login-action" in str(job) or "registry login" in str(job)
        assert writes == {
            *(["packages"] if pushes else []),
            *(["id-token"] if "cosign " in str(job) else []),
            *(["contents"] if "gh release create" in str(job) else []),
        }
        assert job["timeout-minutes"] <= 90


@each
def test_no_checkout_keeps_its_token(workflow: Path) -> None:
    checkouts = [step for job in _jobs(workflow) for step in job["steps"] if "actions/checkout" in step.get("uses", "")]
    assert checkouts
    assert [step for step in checkouts if step.get("with") != {"persist-credentials": False}] == []


VERSIONED = ("pyproject.toml", "deploy/chart/Chart.yaml", "CHANGELOG.md")


def test_package_chart_and_image_have_one_version() -> None:
    chart = yaml.safe_load((ROOT / "deploy" / "chart" / "Chart.yaml").read_text())
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (chart["version"], chart["appVersion"]) == (version, version)


@pytest.mark.parametrize(
    ("file", "line", "other"),
    [
        ("CHANGELOG.md", "## [1.2.3]", "## [Unreleased]"),
        ("pyproject.toml", 'version = "1.2.3"', 'version = "1.2.4"'),
        ("deploy/chart/Chart.yaml", "version: 1.2.3", "version: 1.2.4"),
        ("deploy/chart/Chart.yaml", "appVersion: 1.2.3", "appVersion: 1.2.4"),
    ],
)
def test_a_tag_is_refused_that_one_place_does_not_have(tmp_path: Path, file: str, line: str, other: str) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for name in VERSIONED:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        text = (ROOT / name).read_text().replace("## [Unreleased]", f"## [Unreleased]\n\n## [{version}]", 1)
        (tmp_path / name).write_text(text.replace(version, "1.2.3"))
    assert _passes(tmp_path, "v1.2.3")
    assert not _passes(tmp_path, "v1.2.30")
    text = (tmp_path / file).read_text()
    assert f"\n{line}" in text
    (tmp_path / file).write_text(text.replace(f"\n{line}", f"\n{other}"))
    assert not _passes(tmp_path, "v1.2.3")


def _passes(directory: Path, tag: str) -> bool:
    """Whether the step that compares the versions lets this tag through, run as the workflow's shell runs it."""
    steps = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())["jobs"]["test"]["steps"]
    [script] = [step["run"] for step in steps if "GITHUB_REF_NAME" in step.get("run", "")]
    environment = {"PATH": os.environ["PATH"], "GITHUB_REF_NAME": tag, "REGISTRY": "registry.example.com"}
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(command, cwd=directory, env=environment, check=False).returncode == 0


def test_the_digest_that_is_signed_is_that_of_what_was_pushed() -> None:
    """The step gives that of its last output; two differ where names do, which the attestations of what was built hold."""
    workflow = ROOT / ".github" / "workflows" / "release.yml"
    [build] = [step for job in _jobs(workflow) for step in job["steps"] if "docker/build-push-action" in step.get("uses", "")]
    outputs = [dict(part.split("=", 1) for part in line.split(",")) for line in build["with"]["outputs"].splitlines()]
    assert [output["type"] for output in outputs] == ["oci", "image"]
    assert outputs[0]["name"] == outputs[1]["name"]
    assert outputs[1]["push"] == outputs[0]["rewrite-timestamp"] == outputs[1]["rewrite-timestamp"] == "true"


def test_a_release_is_made_of_images_that_are_named_by_digest() -> None:
    """What is built on comes by its tag, and the digest of that is looked up, used, written down, and told."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())
    steps = {
        step["uses"].partition("@")[0]: step.get("with", {}) for step in workflow["jobs"]["image"]["steps"] if "uses" in step
    }
    pinned = re.compile(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}")
    assert steps["docker/setup-buildx-action"]["driver-opts"] == "image=${{ env.BUILDKIT }}"
    assert pinned.fullmatch(workflow["env"]["BUILDKIT"])
    assert pinned.fullmatch(steps["docker/setup-qemu-action"]["image"])
    base = "${{ steps.base.outputs.name }}@${{ steps.base.outputs.digest }}"
    build = steps["docker/build-push-action"]
    assert build["sbom"] is False, "BuildKit would fetch what makes it, by a tag"
    assert f"PYTHON_IMAGE={base}" in build["build-args"].splitlines()
    assert "org.opencontainers.image.base.digest=${{ steps.base.outputs.digest }}" in build["labels"].splitlines()
    assert workflow["jobs"]["image"]["outputs"]["base"] == base
    [publish] = [step for step in workflow["jobs"]["publish"]["steps"] if "gh release create" in step.get("run", "")]
    assert {name for name in ("IMAGE", "CHART", "BASE", "BUILDKIT") if f"${name}" in publish["run"]} == {
        "IMAGE",
        "CHART",
        "BASE",
        "BUILDKIT",
    }


def _jobs(workflow: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load(workflow.read_text())["jobs"].values())
