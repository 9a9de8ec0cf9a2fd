"""Under other names and in another namespace everything still finds each other."""

from pathlib import Path
from typing import Any

import pytest

from scripts.manifests import DEPLOY
from tests.deploy.consistent import Installation, problems
from tests.deploy.rendered import MODES, Installers, components, kustomization, read

PREFIXED = {"namePrefix": "blue-", "nameSuffix": "-x"}
NAMES: list[dict[str, Any]] = [
    {},
    PREFIXED,
    {"namespace": "other"},
    {**PREFIXED, "namespace": "other"},
    {**PREFIXED, "namespace": "kube-system-2", "labels": [{"pairs": {"team": "a"}, "includeTemplates": True}]},
]


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / "deploy").symlink_to(DEPLOY)
    return tmp_path / "my"


def _listed(mode: str) -> dict[str, Any]:
    names = components(mode)
    return {"resources": [f"../deploy/overlays/{mode}"], "components": [f"../deploy/components/{name}" for name in names]}


@pytest.mark.parametrize("names", NAMES, ids=str)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("program", ["kustomize", "kubectl"])
def test_a_kustomization_may_rename_everything(
    installers: Installers, mine: Path, program: str, mode: str, names: dict[str, Any]
) -> None:
    built = kustomization(mine, **_listed(mode), **names)
    if mode == "cert-manager" and names:
        top = mine.parent / "top"
        built = kustomization(top, resources=["../my"], components=["../deploy/components/cert-manager-names"])
    objects = read(installers.kustomize(built, program=program))
    for each in objects:
        if program == "kubectl" and each["kind"].startswith("ValidatingAdmissionPolicy"):
            each["metadata"].pop("namespace", None)  # too much; test_allowed.py sees that the API server stores none
    assert problems(objects) == []
    here = Installation(objects)
    assert here.namespace == names.get("namespace", "dpdk-webhook")
    name = "blue-dpdk-webhook-x" if "namePrefix" in names else "dpdk-webhook"
    assert here.one("Service")["metadata"]["name"] == name
    assert here.one("Namespace")["metadata"]["name"] == here.namespace


def test_a_namespace_that_is_there_already_is_left_as_it_is(installers: Installers, mine: Path) -> None:
    listed = _listed("self")
    listed["components"] += ["../deploy/components/existing-namespace"]
    here = Installation(read(installers.kustomize(kustomization(mine, **listed, namespace="infra"))))
    assert problems(here.objects) == []
    assert (here.namespace, here.named("Namespace")) == ("infra", [])


def test_without_its_component_the_names_for_cert_manager_stay_behind(installers: Installers, mine: Path) -> None:
    """What the overlay warns of."""
    built = kustomization(mine, **_listed("cert-manager"), **PREFIXED, namespace="other")
    told = problems(read(installers.kustomize(built)))
    assert told == [
        "the certificate is for ['dpdk-webhook.dpdk-webhook.svc'], and called by ['blue-dpdk-webhook-x.other.svc']",
        *(
            f"{kind}WebhookConfiguration is given a caBundle by dpdk-webhook/dpdk-webhook-serving,"
            " not by other/blue-dpdk-webhook-serving-x"
            for kind in ("Mutating", "Validating")
        ),
    ]


def test_the_example_for_cert_manager_is_that_of_the_component(installers: Installers, mine: Path) -> None:
    text = (DEPLOY / "components" / "cert-manager-names" / "kustomization.yaml").read_text()
    rows = [line.removeprefix("#   ") for line in text.splitlines() if line.startswith("#   ")]
    named, applied = ("\n".join(part) for part in zip(*((row[:38].rstrip(), row[38:]) for row in rows), strict=True))
    head = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
    for told, directory in ((named, mine / "named"), (applied, mine)):
        place, content = told.split("\n", 1)
        assert place.removesuffix(", which is applied") == f"{directory.relative_to(mine.parent)}/kustomization.yaml"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "kustomization.yaml").write_text(head + content)
    objects = read(installers.kustomize(mine))
    assert problems(objects) == []
    assert Installation(objects).settings["service"] == "blue-dpdk-webhook"
    assert Installation(objects).namespace == "blue"


@pytest.mark.parametrize("mode", MODES)
def test_an_image_is_named_as_everywhere(installers: Installers, mine: Path, mode: str) -> None:
    images = [{"name": "dpdk-webhook", "newName": "registry.example.com/dpdk-webhook", "newTag": "1.2.3"}]
    here = Installation(read(installers.kustomize(kustomization(mine, **_listed(mode), images=images))))
    assert here.container["image"] == "registry.example.com/dpdk-webhook:1.2.3"


@pytest.mark.parametrize(
    ("release", "namespace", "values", "name"),
    [
        ("blue", "other", {}, "blue-dpdk-webhook"),
        ("blue", "other", {"nameOverride": "hugepages"}, "blue-hugepages"),
        ("blue", "other", {"fullnameOverride": "green"}, "green"),
        ("my-dpdk-webhook", "other", {}, "my-dpdk-webhook"),
        ("b" * 53, "o" * 63, {}, f"{'b' * 53}-dpdk-webh"),
    ],
)
@pytest.mark.parametrize("mode", MODES)
def test_so_may_a_release(
    installers: Installers, mode: str, release: str, namespace: str, values: dict[str, Any], name: str
) -> None:
    objects = read(installers.helm({"certificates": {"mode": mode}, **values}, release=release, namespace=namespace))
    assert problems(objects) == []
    here = Installation(objects)
    assert (here.settings["service"], here.namespace) == (name, namespace)
