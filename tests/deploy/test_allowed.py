"""The account of the replicas may do what they need, under whatever names they are installed, and nothing else."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml

from scripts.manifests import DEPLOY
from tests.cluster.cluster import Cluster
from tests.cluster.rights import rights
from tests.cluster.tied import until
from tests.deploy.applied import live, make_namespace, replica
from tests.deploy.consistent import Installation
from tests.deploy.rendered import Installers, kustomization, read

RELEASES = (("dpdk-webhook", "dpdk-webhook"), ("blue", "tenant"))
# in its own namespace unless another one is named; NAME and SECRET are those of the installation
REFUSED = (
    "list secrets",
    "watch secrets",
    "get secrets/another",
    "update secrets/another",
    "delete secrets/SECRET",
    "patch secrets/SECRET",
    "get secrets/SECRET --namespace=kube-system",
    "create secrets --namespace=kube-system",
    "list leases.coordination.k8s.io",
    "patch leases.coordination.k8s.io/another",
    "delete leases.coordination.k8s.io/NAME",
    "get leases.coordination.k8s.io/NAME --namespace=kube-system",
    "create mutatingwebhookconfigurations",
    "update mutatingwebhookconfigurations/NAME",
    "delete mutatingwebhookconfigurations/NAME",
    "delete validatingwebhookconfigurations/NAME",
    "patch mutatingwebhookconfigurations/another",
    "patch validatingwebhookconfigurations/another",
    "list mutatingwebhookconfigurations",
    "get validatingadmissionpolicies/NAME",
    "patch validatingadmissionpolicybindings/NAME",
    "get pods",
    "create pods",
    "create pods/exec",
    "list namespaces",
    "get nodes",
    "update deployments.apps/NAME",
    "get configmaps",
    "create serviceaccounts/NAME --subresource=token",
    "impersonate users",
    "escalate clusterroles.rbac.authorization.k8s.io",
    "bind roles.rbac.authorization.k8s.io",
    "create rolebindings.rbac.authorization.k8s.io",
    "* *",
)


@dataclass(frozen=True, slots=True)
class Account:
    """Of one installation, which is stored."""

    cluster: Cluster
    here: Installation

    def may(self, question: str) -> bool:
        """Ask as `kubectl auth can-i` does, by impersonation: "get pods", "get pods/x --namespace=y"."""
        words = question.replace("NAME", self.here.settings["service"])
        words = words.replace("SECRET", self.here.settings.get("tls_secret", "none"))
        place = [] if "--namespace" in words else [f"--namespace={self.here.namespace}"]
        answer = self.cluster.kubectl("auth", "can-i", *words.split(), *place, f"--as={self.user}", check=False)
        said = answer.stdout.strip()
        assert said in ("yes", "no"), answer
        return said == "yes"

    @property
    def user(self) -> str:
        return f"system:serviceaccount:{self.here.namespace}:{self.here.pod['serviceAccountName']}"

    def rules(self, user: str) -> set[str]:
        """All that somebody may do in its namespace, a line each."""
        listed = self.cluster.kubectl("auth", "can-i", "--list", f"--namespace={self.here.namespace}", f"--as={user}")
        return {" ".join(line.split()) for line in listed.stdout.splitlines()[1:]}


@pytest.fixture(scope="module")
def text_of(installers: Installers, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Manifests of mode self: of two releases, and of a kustomization with other names."""
    directory = tmp_path_factory.mktemp("kustomized")
    (directory / "deploy").symlink_to(DEPLOY)
    names = {"namePrefix": "green-", "nameSuffix": "-1", "namespace": "meadow"}
    built = kustomization(directory / "my", resources=["../deploy/overlays/self"], **names)
    releases = {name: installers.helm(release=name, namespace=namespace) for name, namespace in RELEASES}
    return {**releases, "kustomized": installers.kustomize(built, program="kubectl")}


@pytest.fixture(scope="module", params=[*(name for name, _ in RELEASES), "kustomized"])
def account(request: pytest.FixtureRequest, own_cluster: Cluster, text_of: dict[str, str]) -> Iterator[Account]:
    text = text_of[request.param]
    here = Installation(read(text))
    make_namespace(own_cluster, here.namespace)
    apply = ("apply", "--server-side", "--force-conflicts", "-f", "-")
    own_cluster.kubectl(*apply, input=text)
    yield Account(own_cluster, here)
    own_cluster.kubectl("delete", "--wait=false", "-f", "-", input=text)


def test_what_kubectl_gives_a_namespace_by_mistake_is_stored_without_one(own_cluster: Cluster, text_of: dict[str, str]) -> None:
    """https://github.com/kubernetes-sigs/kustomize/issues/6051"""
    policies = [each for each in read(text_of["kustomized"]) if each["kind"].startswith("ValidatingAdmissionPolicy")]
    assert [each["metadata"]["namespace"] for each in policies] == ["meadow"] * 4
    text = yaml.safe_dump_all(policies)
    make_namespace(own_cluster, "meadow")
    try:
        for way in ("--server-side=true", "--server-side=false"):
            own_cluster.kubectl("apply", way, "--force-conflicts=" + way.partition("=")[2], "-f", "-", input=text)
            stored = [live(own_cluster, each) for each in policies]
            assert [each and each["metadata"].get("namespace", "") for each in stored] == [""] * 4
            assert own_cluster.kubectl("diff", way, "-f", "-", input=text, check=False).stdout == ""
    finally:
        own_cluster.kubectl("delete", "-f", "-", input=text)
    assert [live(own_cluster, each) for each in policies] == [None] * 4


def test_it_may_do_all_that_its_roles_say(account: Account) -> None:
    given = list(rights(account.here.objects))
    assert len(given) == 14
    for right in given:
        names = right.role["rules"][right.rule].get("resourceNames", [""])
        group = right.role["rules"][right.rule]["apiGroups"][0]
        resource = right.resource + (f".{group}" if group else "")
        for name in names:
            question = f"{right.verb} {resource}" + (f"/{name}" if name else "")
            assert account.may(question), question


@pytest.mark.parametrize("question", REFUSED)
def test_it_may_not(account: Account, question: str) -> None:
    assert not account.may(question)


def test_beyond_what_everybody_may_that_is_all(account: Account) -> None:
    everybody = account.rules(f"system:serviceaccount:{account.here.namespace}:default")
    name, secret = account.here.settings["service"], account.here.settings["tls_secret"]
    assert account.rules(account.user) - everybody == {
        "secrets [] [] [create]",
        "leases.coordination.k8s.io [] [] [create]",
        f"secrets [] [{secret}] [get watch update]",
        f"leases.coordination.k8s.io [] [{name}] [get watch patch]",
        f"mutatingwebhookconfigurations.admissionregistration.k8s.io [] [{name}] [get watch patch]",
        f"validatingwebhookconfigurations.admissionregistration.k8s.io [] [{name}] [get watch patch]",
    }


def test_a_replica_with_that_token_makes_itself_trusted(account: Account, tmp_path: Path) -> None:
    """It issues the certificates, and writes the CA into the configurations: under these names, with these rights."""
    with replica(account.cluster, account.here, tmp_path) as url, httpx.Client(trust_env=False) as http:

        def ready() -> bool:
            return http.get(f"{url}/readyz").status_code == httpx.codes.OK

        until(ready, seconds=30, waiting_for="a replica that is trusted")
    for kind in ("mutatingwebhookconfiguration", "validatingwebhookconfiguration"):
        path = "jsonpath={.webhooks[*].clientConfig.caBundle}"
        bundles = account.cluster.kubectl("get", kind, account.here.settings["service"], "--output", path).stdout.split()
        assert len(bundles) == {"m": 2, "v": 3}[kind[0]]
    assert "Traceback" not in (tmp_path / "replica.log").read_text()


@pytest.mark.parametrize("mode", ["cert-manager", "openshift", "files"])
def test_in_the_other_modes_there_is_nothing_to_be_allowed(installers: Installers, mode: str) -> None:
    objects = read(installers.helm({"certificates": {"mode": mode}}))
    assert list(rights(objects)) == []
    assert Installation(objects).pod["automountServiceAccountToken"] is False
