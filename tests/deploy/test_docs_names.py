"""Every link, file, test, value and setting that the pages about security and installing name is there."""

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.deploy.docs import INSTALL, PAGES, ROOT, SECURITY, TEXTS, block, prose
from webhook.settings import Settings

VALUES: Final = yaml.safe_load((ROOT / "deploy" / "chart" / "values.yaml").read_text())
OPEN: Final = {"settings", "nodeSelector", "affinity", "commonLabels", "podLabels", "podAnnotations", "deploymentAnnotations"}


def _slug(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _anchors(file: Path) -> set[str]:
    text = re.sub(r"^```.*?^```", "", file.read_text(), flags=re.DOTALL | re.MULTILINE)
    return {_slug(heading) for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", TEXTS[page])
    assert links
    for link in links:
        if not link.startswith("https://"):
            place, _, anchor = link.partition("#")
            file = (ROOT / page).parent / place if place else ROOT / page
            assert file.exists(), link
            assert not anchor or anchor in _anchors(file), link


def _ticked(page: str) -> list[str]:
    """What is set as code within sentences."""
    return re.findall(r"`([^`\n]+)`", prose(page))


@pytest.mark.parametrize("page", PAGES)
def test_every_file_and_every_test_that_is_named_is_there(page: str) -> None:
    first = "|".join(path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] not in "._")
    for name in _ticked(page):
        if re.fullmatch(rf"(?:{first})/[\w./-]+(?:::\w+)?", name):
            path, _, test = name.partition("::")
            assert (ROOT / path).exists(), name
            assert not test or re.search(rf"^(?:async )?def {test}\(", (ROOT / path).read_text(), re.MULTILINE), name


def _has(path: str) -> bool:
    """Whether the chart has such a value."""
    first, *others = path.split(".")
    if first in OPEN:
        return first != "settings" or not others or (len(others) == 1 and others[0] in Settings.model_fields)
    value: Any = VALUES
    for part in (first, *others):
        if not isinstance(value, dict) or part not in value:
            return False
        value = value[part]
    return True


@pytest.mark.parametrize("page", PAGES)
def test_every_value_of_the_chart_that_is_named_is_there(page: str) -> None:
    named = [
        name.partition(":")[0] for name in _ticked(page) if re.fullmatch(rf"(?:{'|'.join(VALUES)})\.\w[\w.]*(?:: .*)?", name)
    ]
    given = re.findall(r"--set(?:-file)? ([\w.]+)=", TEXTS[page])
    assert named or page != INSTALL
    for name in (*named, *given):
        assert _has(name), name


def test_a_value_that_is_not_there_is_found_out() -> None:
    assert all(map(_has, ("image.tag", "settings.cpu_step", "webhook.namespaceSelector", "nodeSelector.zone", "replicaCount")))
    assert not any(map(_has, ("image.tags", "settings.cpu_steps", "replicas", "policy.enabled.really", "policy.on")))


def test_the_table_of_values_has_no_value_that_is_not_there() -> None:
    rows = TEXTS[INSTALL].partition("### Values of note")[2].partition("\n## ")[0]
    named = [name for row in re.findall(r"^\| (`.*?`) \|", rows, re.MULTILINE) for name in re.findall(r"`([\w.]+)`", row)]
    assert len(named) > 10
    assert [name for name in named if not _has(name)] == []


SHELL: Final = sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("docs/runbooks/*.md"), ROOT / "README.md", ROOT / "SECURITY.md"])


@pytest.mark.parametrize("file", SHELL, ids=lambda file: file.stem)
def test_what_works_with_a_token_alone_says_for_which_mode_it_is(file: Path) -> None:
    lines = file.read_text().splitlines()
    for number, line in enumerate(lines):
        if re.search(r"kubectl .*exec.* -- python -m certs (?:check|rotate)", line):
            assert "self" in "".join(lines[max(0, number - 10) : number + 1]), line


@pytest.mark.parametrize("file", SHELL, ids=lambda file: file.stem)
def test_no_command_has_a_comment_behind_it(file: Path) -> None:
    """An interactive zsh takes it for arguments. The script of an image, in README.md, is not typed."""
    for commands in re.findall(r"^```sh\n(.*?)^```", file.read_text(), re.DOTALL | re.MULTILINE):
        outside = re.sub(r"<<(\w+)\n.*?^\1$", "", commands, flags=re.DOTALL | re.MULTILINE)
        assert re.findall(r"^(?!exec ).*\S +# .*$", outside, re.MULTILINE) == []


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_and_every_target_of_make_that_is_named_is_there(page: str) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for name in _ticked(page):
        if found := re.fullmatch(r"make ([a-z-]+)", name):
            assert found[1] in targets, name
        elif found := re.fullmatch(r"([a-z]+(?:_[a-z]+)+)(?:: .*)?", name):
            # a property of the tests is named with the file in which it is
            tests = re.findall(rf"`{name}`\s+in\s+`([^`]+)`", TEXTS[page])
            is_setting = found[1] in Settings.model_fields or found[1].startswith("dpdk_webhook_")
            assert is_setting or f"def {found[1]}(" in "".join((ROOT / test).read_text() for test in tests), name


def test_an_archive_is_pushed_to_where_it_is_installed_from_and_its_digest_kept() -> None:
    part = (ROOT / "docs" / "image.md").read_text().partition("\n## Without a network\n")[2].partition("\n## ")[0]
    pushes = re.findall(r"^\| (\w+) \|.*\| `(.*?)`.*\|$", part, re.MULTILINE)
    assert [program for program, _ in pushes] == ["skopeo", "buildah", "podman", "docker"]
    (registry,) = re.findall(r"--set image\.registry=(\S+) --set image\.digest=", block(INSTALL, "helm package"))
    for program, command in pushes:
        assert command.split()[-1].removeprefix("docker://") == f"{registry}/{VALUES['image']['repository']}:0.1.0"
        assert (" --digestfile digest " in command) == (program != "docker"), "docker push prints it"
    assert 'DIGEST="$(cat digest)"' in part


def test_the_first_page_makes_the_namespace_with_its_label_too() -> None:
    first = (ROOT / "README.md").read_text()
    assert f"```sh\n{block(INSTALL, 'kubectl create namespace')}helm install" in first
    assert "--create-namespace" not in first + "".join(TEXTS.values())


def test_every_threat_of_the_list_has_its_section() -> None:
    numbers = [int(number) for number in re.findall(r"^### Threat ID (\d+) - ", TEXTS[SECURITY], re.MULTILINE)]
    assert numbers == list(range(1, 19))
