"""A real API server takes everything, strictly read and without a warning, under Pod Security restricted."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from certs.issue import issue_ca
from scripts.manifests import DEPLOY
from tests.cluster.cluster import Cluster
from tests.cluster.tied import until
from tests.deploy.applied import RESTRICTED, helm, live, make_namespace, missing, release, wait_for_pods
from tests.deploy.consistent import CLUSTER_WIDE, Installation
from tests.deploy.matrix import CA, RELEASES, Row, rows, title, values
from tests.deploy.rendered import ENABLED, MODES, Installers, Object, components, kustomization, read

# what kubectl 1.36 says before it deletes what is in no namespace
ALL_NAMESPACES = "Warning: deleting cluster-scoped resources, not scoped to the provided namespace\n"
APPLY = ("apply", "--server-side", "--validate=strict", "--field-manager=administrator")


@pytest.fixture(scope="module")
def cluster(own_cluster: Cluster, definitions: list[Path]) -> Cluster:
    for file in definitions:
        own_cluster.kubectl("apply", "--server-side", "-f", file)
    names = [yaml.safe_load(file.read_text())["metadata"]["name"] for file in definitions]
    own_cluster.kubectl("wait", "--for=condition=Established", *(f"crd/{name}" for name in names), "--timeout=30s")
    for _, namespace in RELEASES:
        make_namespace(own_cluster, namespace)
    return own_cluster


def _pod(cluster: Cluster, here: Installation) -> Any:
    """What the API server says to a pod as the Deployment makes them, which is not stored."""
    pod = here.template | {"metadata": here.template["metadata"] | {"generateName": "replica-"}}
    return cluster.api("POST", f"/api/v1/namespaces/{here.namespace}/pods?dryRun=All&fieldValidation=Strict", pod)


@pytest.mark.parametrize("mode", MODES)
def test_kustomized_it_is_stored_and_its_pods_are_made(
    cluster: Cluster, installers: Installers, mode: str, tmp_path: Path
) -> None:
    """Each mode under a name and in a namespace of its own, with every component."""
    (tmp_path / "deploy").symlink_to(DEPLOY)
    listed = [f"../deploy/components/{name}" for name in components(mode)]
    names = {"namePrefix": f"{mode}-", "namespace": f"kustomized-{mode}"}
    built = kustomization(tmp_path / "my", resources=[f"../deploy/overlays/{mode}"], components=listed, **names)
    if mode == "cert-manager":
        further = ["../deploy/components/cert-manager-names"]
        built = kustomization(tmp_path / "top", resources=["../my"], components=further)
    text = installers.kustomize(built)
    objects = read(text)
    said = cluster.kubectl(*APPLY, "-k", built)  # kubectl has a kustomize of its own
    assert said.stderr == ""
    assert len(said.stdout.splitlines()) == len(objects)
    here = Installation(objects)
    answer = _pod(cluster, here)
    assert (answer.status, answer.warnings) == (httpx.codes.CREATED, [])
    wait_for_pods(cluster, here)
    assert _differences(cluster, objects) == {}
    deleted = cluster.kubectl("delete", "--wait=false", "-k", built)
    assert deleted.stderr.replace(ALL_NAMESPACES, "") == ""
    assert [each["kind"] for each in objects if each["kind"] in CLUSTER_WIDE and live(cluster, each)] in ([], ["Namespace"])


@pytest.mark.parametrize("row", rows(), ids=title)
def test_whatever_is_chosen_is_accepted(cluster: Cluster, installers: Installers, row: Row) -> None:
    name, namespace = RELEASES[row["release"]]
    text = installers.helm(values(row), release=name, namespace=namespace)
    objects = read(text)
    said = cluster.kubectl(*APPLY, "--dry-run=server", "-f", "-", input=text)
    here = Installation(objects)
    in_the_network_of_the_node = bool(here.pod.get("hostNetwork"))
    assert ("violate PodSecurity" in said.stderr) is in_the_network_of_the_node
    if not in_the_network_of_the_node:
        assert said.stderr == ""
    assert len(said.stdout.splitlines()) == len(objects)
    for account in here.named("ServiceAccount"):  # a dry run of a pod asks for it
        cluster.kubectl(*APPLY, "-f", "-", input=json.dumps(account))
    answer = _pod(cluster, here)
    if in_the_network_of_the_node:  # which values.yaml says
        assert answer.status == httpx.codes.FORBIDDEN
        assert "hostNetwork=true" in answer.body["message"]
    else:
        assert (answer.status, answer.warnings) == (httpx.codes.CREATED, [])


def test_what_is_misspelt_would_have_been_noticed(cluster: Cluster, installers: Installers) -> None:
    """In an object of Kubernetes, and in each of others' custom resources."""
    objects = read(installers.helm({**ENABLED, "certificates": {"mode": "cert-manager"}}))
    for kind in ("Service", "NetworkPolicy", "ServiceMonitor", "PrometheusRule", "Certificate", "Issuer"):
        document = next(each for each in objects if each["kind"] == kind)
        document["spec"]["misspelt"] = {}
        said = cluster.kubectl(*APPLY, "--dry-run=server", "-f", "-", input=json.dumps(document), check=False)
        assert said.returncode == 1, kind
        assert "spec.misspelt: field not declared in schema" in said.stderr, kind


def test_a_pod_that_pod_security_refuses_would_have_been_noticed(cluster: Cluster, installers: Installers) -> None:
    here = Installation(read(installers.helm()))
    here.container["securityContext"]["allowPrivilegeEscalation"] = True
    cluster.kubectl(*APPLY, "-f", "-", input=json.dumps(here.one("ServiceAccount")))
    assert "allowPrivilegeEscalation != false" in _pod(cluster, here).body["message"]
    said = cluster.kubectl(*APPLY, "--dry-run=server", "-f", "-", input=json.dumps(here.one("Deployment")))
    assert "would violate PodSecurity" in said.stderr


@pytest.mark.parametrize("program", ["helm", "helm3"])
def test_helm_installs_what_it_templates_and_takes_it_all_away(cluster: Cluster, installers: Installers, program: str) -> None:
    name, namespace = f"by-{program}", f"released-{program}"
    make_namespace(cluster, namespace)
    chosen = {**ENABLED, "settings": {"cpu_step": 2}}
    tried = helm(cluster, installers, program, *release("install", name, namespace), "--dry-run=server", values=chosen)
    assert (tried.returncode, tried.stderr) == (0, "")
    done = helm(cluster, installers, program, *release("install", name, namespace), values=chosen)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"kubectl rollout status deployment {name}-dpdk-webhook --namespace {namespace}" in done.stdout
    objects = read(installers.helm(chosen, release=name, namespace=namespace, program=program))
    stored = helm(cluster, installers, program, "get", "manifest", name, "--namespace", namespace)
    assert read(stored.stdout) == objects
    assert _differences(cluster, objects) == {}
    wait_for_pods(cluster, Installation(objects))
    more = {**chosen, "replicaCount": 3, "networkPolicy": {"enabled": False}}
    upgraded = helm(cluster, installers, program, *release("upgrade", name, namespace), values=more)
    assert (upgraded.returncode, upgraded.stderr) == (0, "")
    after = read(installers.helm(more, release=name, namespace=namespace, program=program))
    assert _differences(cluster, after) == {}
    assert live(cluster, Installation(objects).one("NetworkPolicy")) is None
    back = helm(cluster, installers, program, "rollback", name, "1", "--namespace", namespace)
    assert (back.returncode, back.stderr) == (0, "")
    assert _differences(cluster, objects) == {}
    gone = helm(cluster, installers, program, "uninstall", name, "--namespace", namespace)
    assert (gone.returncode, gone.stderr) == (0, "")

    def is_gone() -> bool:
        return [each["kind"] for each in objects if live(cluster, each) is not None] == []

    until(is_gone, seconds=30, waiting_for="everything to be gone")


def _differences(cluster: Cluster, objects: list[Object]) -> dict[str, list[str]]:
    found = {each["kind"]: missing(each, live(cluster, each)) for each in objects}
    return {kind: differences for kind, differences in found.items() if differences}


def test_helm_does_not_make_a_namespace_that_it_is_not_told_to(cluster: Cluster, installers: Installers) -> None:
    refused = helm(cluster, installers, "helm", *release("install", "anew", "not-there"))
    assert refused.returncode == 1
    assert 'namespaces "not-there" not found' in refused.stderr


def test_the_base_has_the_labels_that_these_tests_enforce() -> None:
    labels = yaml.safe_load((DEPLOY / "base" / "namespace.yaml").read_text())["metadata"]["labels"]
    enforced = "pod-security.kubernetes.io/enforce"
    assert labels[enforced] == RESTRICTED[enforced]


@pytest.mark.parametrize(
    ("program", "further"), [("helm", ()), ("helm", ("--force-conflicts",)), ("helm3", ())], ids=["helm", "forced", "helm3"]
)
def test_a_ca_bundle_of_the_replicas_is_not_taken_from_them_unasked(
    cluster: Cluster, installers: Installers, program: str, further: tuple[str, ...]
) -> None:
    """What docs/upgrade.md says of the way from mode self to a caBundle among the values."""
    name = namespace = f"taken-{program}{len(further)}"
    make_namespace(cluster, namespace)
    made = helm(cluster, installers, program, *release("install", name, namespace), values={})
    assert (made.returncode, made.stderr) == (0, "")
    objects = read(installers.helm(release=name, namespace=namespace, program=program))
    for configuration in (each for each in objects if each["kind"].endswith("WebhookConfiguration")):
        theirs = base64.b64encode(issue_ca(name="theirs", now=datetime.now(UTC)).certificate).decode()
        entries = [{"name": each["name"], "clientConfig": {"caBundle": theirs}} for each in configuration["webhooks"]]
        patch = ("--type", "strategic", "--patch", json.dumps({"webhooks": entries}), "--field-manager", "dpdk-webhook")
        cluster.kubectl("patch", configuration["kind"], configuration["metadata"]["name"], *patch)
    chosen = {"certificates": {"mode": "files", "caBundle": CA}}
    try:
        upgraded = helm(cluster, installers, program, *release("upgrade", name, namespace), *further, values=chosen)
        if program == "helm" and not further:
            assert upgraded.returncode == 1
            assert 'conflicts with "dpdk-webhook"' in upgraded.stderr
        else:
            assert (upgraded.returncode, upgraded.stderr) == (0, "")
            wanted = read(installers.helm(chosen, release=name, namespace=namespace, program=program))
            assert _differences(cluster, wanted) == {}
    finally:
        helm(cluster, installers, program, "uninstall", name, "--namespace", namespace)
