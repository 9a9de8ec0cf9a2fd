"""The rights in docs/install.md are enough for somebody who is no administrator, and none of them is one too many.

He has nothing but a token, and does what the pages say, waiting included. No pod runs here: to the API server they are ready.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import httpx
import pytest
import yaml

from tests.cluster.background import Background
from tests.cluster.cluster import Cluster
from tests.cluster.rights import rights
from tests.cluster.tied import until
from tests.deploy.consistent import CLUSTER_WIDE
from tests.deploy.docs import INSTALL, TEXTS, UPGRADE, Admin, administrator, block
from tests.deploy.rendered import ENABLED, MODES, Installers, read

RIGHTS: Final = block(INSTALL, "name: dpdk-webhook-installer", "yaml")
CLUSTER_ROLE, ROLE, BINDING, _ = OBJECTS = list(yaml.safe_load_all(RIGHTS))
(ACCOUNT,) = BINDING["subjects"]
INSIDE: Final = ROLE["rules"][0]["resources"]
PARAMETER: Final = "get serviceaccounts everywhere"  # the API server asks for it, and nobody sends such a request
AUDIT: Final = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "rules": [
        {"level": "Metadata", "users": [f"system:serviceaccount:{ACCOUNT['namespace']}:{ACCOUNT['name']}"]},
        {"level": "None"},
    ],
}
# The programs themselves, where the prelude of docs.py has them not wait.
WAITING: Final = 'unset -f kubectl\nhelm() { command "$HELM" "$@" --timeout=20s; }\n'
BY_HELM: Final = (
    block(INSTALL, "image.tag=0.1.0"),
    block(UPGRADE, "helm upgrade").replace("0.1.0", "0.2.0"),
    block(UPGRADE, "helm rollback"),
    block(INSTALL, "helm uninstall").splitlines()[0] + " --wait",
)
BY_KUSTOMIZE: Final = (
    block(INSTALL, "mkdir my").replace("images:", "components:\n  - ../deploy/components/existing-namespace\nimages:"),
    "sed -i s/0.1.0/0.2.0/ my/kustomization.yaml\n" + block(UPGRADE, "kubectl rollout status"),
    "kubectl delete -k my",
)
WAYS: Final[Mapping[str, tuple[str, ...]]] = {"helm": BY_HELM, "helm3": BY_HELM, "kustomize": BY_KUSTOMIZE}
PODS: Final = "/api/v1/namespaces/dpdk-webhook/pods"
READY: Final = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log of what the installer asks of the API server."""
    return tmp_path_factory.mktemp("audit") / "log"


@pytest.fixture(scope="module")
def own_cluster(audit: Path) -> Iterator[Cluster]:
    policy = audit.with_name("policy.yaml")
    policy.write_text(json.dumps(AUDIT))
    with Cluster(flags=[f"--audit-policy-file={policy}", f"--audit-log-path={audit}"]) as running:
        running.kubectl("create", "namespace", ACCOUNT["namespace"])
        running.kubectl("create", "serviceaccount", ACCOUNT["name"], "--namespace", ACCOUNT["namespace"])
        yield running


@dataclass(frozen=True, slots=True)
class Both:
    """The administrator, who has made the namespace and given the rights, and the installer, who has them."""

    admin: Admin
    installer: Admin

    def troubles(self, way: str) -> list[str]:
        """What failed, or was left in the end."""
        installer = replace(self.installer, environment={**self.installer.environment, "HELM": way})
        with Readied(self.admin.cluster):
            for commands in WAYS[way]:
                run = installer.tries(WAITING + commands)
                if run.returncode or "forbidden" in run.stderr:
                    return [f"{commands}\n{run.stdout}{run.stderr}"]
        there = self.admin.does(f"kubectl get {','.join(INSIDE)} --namespace dpdk-webhook --output name").split()
        self.admin.does("kubectl delete replicaset,pod --all --namespace dpdk-webhook")  # which nobody else collects here
        return [*self.admin.left(), *(each for each in there if not each.endswith(("/dpdk-webhook-installer", "/default")))]


@pytest.fixture(scope="module")
def both(own_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    cluster, directory = own_cluster, tmp_path_factory.mktemp("installer")
    with administrator(cluster, directory) as admin:
        admin.reads(INSTALL, "kubectl create namespace")
        cluster.kubectl("apply", "--validate=strict", "-f", "-", input=RIGHTS)
        token = cluster.kubectl("create", "token", ACCOUNT["name"], "--namespace", ACCOUNT["namespace"]).stdout.strip()
        config = json.loads(cluster.kubeconfig.read_text())
        config["users"] = [{"name": "admin", "user": {"token": token}}]
        own = directory / "installer.kubeconfig"
        own.touch(mode=0o600)
        own.write_text(json.dumps(config))
        # clients list first where an API server doesn't yet begin a watch with all that is there
        environment = {**admin.environment, "KUBECONFIG": str(own), "KUBE_FEATURE_WatchListClient": "false"}
        installer = replace(admin, environment=environment)
        asked = ("get serviceaccounts --namespace default", "list replicasets --namespace dpdk-webhook")
        until(lambda: all(_may(installer, each) for each in asked), seconds=10, waiting_for="the installer's rights")
        yield Both(admin, installer)


def _may(installer: Admin, question: str) -> bool:
    return installer.tries(f"kubectl auth can-i {question}").returncode == 0


class Readied(Background):
    """The pods, as a kubelet would say of them soon after they have been made."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__()
        self._cluster = cluster

    def _run(self) -> None:
        while not self._end.wait(0.1):
            for pod in self._cluster.api("GET", PODS).body["items"]:
                if "conditions" not in pod["status"]:
                    path = f"{PODS}/{pod['metadata']['name']}/status"
                    self._cluster.api("PATCH", path, READY, content_type="application/merge-patch+json")


@pytest.fixture(scope="module")
def troubles(both: Both) -> dict[str, list[str]]:
    return {way: both.troubles(way) for way in WAYS}


@pytest.mark.parametrize("way", WAYS)
def test_they_are_enough_from_the_installation_to_its_end(troubles: dict[str, list[str]], way: str) -> None:
    assert troubles[way] == []


@pytest.mark.usefixtures("troubles")
def test_each_of_them_is_made_use_of(audit: Path) -> None:
    used = set()
    for event in map(json.loads, audit.read_text().splitlines()):
        if "resource" in event.get("objectRef", {}):
            place = "in the namespace" if "namespace" in event["objectRef"] else "everywhere"
            used.add(f"{event['verb']} {event['objectRef']['resource']} {place}")
    places = {"Role": "in the namespace", "ClusterRole": "everywhere"}
    given = {f"{right.verb} {right.resource} {places[right.role['kind']]}" for right in rights(OBJECTS)}
    assert given - used == {PARAMETER}


def test_without_the_one_of_which_no_request_is_seen_the_policy_is_refused(both: Both) -> None:
    (right,) = (each for each in rights([CLUSTER_ROLE]) if f"{each.verb} {each.resource} everywhere" == PARAMETER)
    question = "get serviceaccounts --namespace default"
    cluster = both.admin.cluster
    assert cluster.api("PUT", right.path, right.removed()).status == httpx.codes.OK
    try:
        until(lambda: not _may(both.installer, question), seconds=10, waiting_for="the loss of it")
        refused = both.installer.tries(
            "kubectl apply --server-side --dry-run=server -f deploy/overlays/self/accountpolicy.yaml"
        )
    finally:
        cluster.api("PUT", right.path, right.role)
    until(lambda: _may(both.installer, question), seconds=10, waiting_for="its return")
    assert refused.returncode == 1
    assert '"get" permission' in refused.stderr  # in words that change from version to version


def test_what_is_made_besides_if_it_is_switched_on_is_named(installers: Installers) -> None:
    """By the names that a Role would have: networkpolicies.networking.k8s.io."""
    made = set()
    for mode in MODES:
        for each in read(installers.helm({**ENABLED, "certificates": {"mode": mode}})):
            if each["kind"] not in CLUSTER_WIDE:
                group = each["apiVersion"].rpartition("/")[0]
                plural = each["kind"].lower().removesuffix("y") + ("ies" if each["kind"].endswith("y") else "s")
                made.add(plural + f".{group}" * bool(group))
    given = {resource for resource in made if resource.partition(".")[0] in INSIDE}
    assert len(given) == len(INSIDE)
    sentence = TEXTS[INSTALL].partition("What you switch on besides")[2].partition("\n\n")[0]
    assert {each for each in made - given if f"`{each}`" not in sentence} == set()
