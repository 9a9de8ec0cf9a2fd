"""Chart and kustomizations are one truth: whichever way somebody installs, the objects are the same."""

from pathlib import Path
from typing import Any

import pytest

from scripts.manifests import CHART, DEPLOY, NAME
from tests.deploy.consistent import problems
from tests.deploy.rendered import ENABLED, MODES, Installers, Key, Values, by_key, components, kustomization, overlay, read
from webhook.shape import Malformed

NAMESPACE = Key("Namespace", "", NAME)  # which helm leaves to whoever installs
PLAIN: Values = {}


def _values(mode: str, further: Values) -> dict[str, Any]:
    return {"certificates": {"mode": mode}, **further}


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """deploy/ under another name: kustomize takes only relative paths, and nothing is to be written into the real one."""
    (tmp_path / "deploy").symlink_to(DEPLOY)
    return tmp_path


@pytest.mark.parametrize("mode", MODES)
def test_kustomize_gives_what_helm_gives(installers: Installers, mode: str) -> None:
    by_helm = by_key(read(installers.helm(_values(mode, PLAIN))))
    by_kustomize = by_key(read(installers.kustomize(overlay(mode))))
    assert by_kustomize.pop(NAMESPACE)["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert by_kustomize == by_helm


@pytest.mark.parametrize("mode", MODES)
def test_components_give_what_the_chart_has_to_be_asked_for(installers: Installers, sources: Path, mode: str) -> None:
    listed = [f"../deploy/components/{name}" for name in components(mode)]
    mine = kustomization(sources / "my", resources=[f"../deploy/overlays/{mode}"], components=listed)
    by_kustomize = by_key(read(installers.kustomize(mine)))
    del by_kustomize[NAMESPACE]
    plain, everything = (by_key(read(installers.helm(_values(mode, further)))) for further in (PLAIN, ENABLED))
    assert {key.kind for key in everything.keys() - plain.keys()} == {
        "NetworkPolicy",
        "ServiceMonitor",
        "PrometheusRule",
        "ConfigMap",
    }
    assert by_kustomize == everything


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("further", [PLAIN, ENABLED], ids=["plain", "everything"])
def test_twice_is_the_same_byte_for_byte(installers: Installers, mode: str, further: Values) -> None:
    values = _values(mode, further)
    once = installers.helm(values)
    assert installers.helm(values) == once
    assert by_key(read(installers.helm(values, program="helm3"))) == by_key(read(once))
    built = installers.kustomize(overlay(mode))
    assert installers.kustomize(overlay(mode)) == built


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("further", [PLAIN, ENABLED], ids=["plain", "everything"])
def test_every_mode_hangs_together(installers: Installers, mode: str, further: Values) -> None:
    assert problems(read(installers.helm(_values(mode, further)))) == []
    assert problems(read(installers.kustomize(overlay(mode)))) == []


@pytest.mark.parametrize("program", ["helm", "helm3"])
@pytest.mark.parametrize("mode", MODES)
def test_lint_has_nothing_to_say(installers: Installers, program: str, mode: str) -> None:
    said = installers.run(program, "lint", "--strict", str(CHART), "--set", f"certificates.mode={mode}")
    assert said.endswith("1 chart(s) linted, 0 chart(s) failed\n")
    assert "[WARNING]" not in said
    assert "[ERROR]" not in said


def test_the_base_alone_is_no_installation(installers: Installers) -> None:
    said = problems(read(installers.kustomize(DEPLOY / "base")))
    assert "the setting tls_secret is dpdk-webhook-tls, and there is no such Secret" in said


def test_nothing_in_the_templates_depends_on_when_or_where_they_are_rendered() -> None:
    for template in sorted((CHART / "templates").iterdir()):
        text = template.read_text()
        for word in ("lookup", "Capabilities", "now", "rand", "uuidv4", "genCA", "genSelfSigned", "IsUpgrade", "IsInstall"):
            assert f"({word}" not in text, template
            assert f" {word} " not in _code(text), template
        for word in (".Release.Revision", ".Release.Time", "helm.sh/hook", ".Capabilities", "env "):
            assert word not in _code(text), template


def _code(text: str) -> str:
    """What is between the braces."""
    return "\n".join(part.split("}}")[0] for part in text.split("{{")[1:] if not part.startswith(("/*", "- /*")))


def test_a_key_that_stands_twice_is_seen() -> None:
    with pytest.raises(Malformed, match="stands twice"):
        read("a: 1\na: 2\n")
