"""What SECURITY.md says of the webhook's account, and of a pod that is annotated while it is bound, on a real API server."""

import base64
import json
import ssl
from collections.abc import Iterator
from typing import Any, Final

import httpx
import pytest
import yaml

from certs.cluster import Clock
from scripts.manifests import DEPLOY
from tests.cluster.cluster import Cluster
from tests.cluster.placed import ENTRIES, Place, kept, placed
from tests.cluster.tied import until

FIRST: Final = ENTRIES["MutatingWebhookConfiguration"][0]
EVERYTHING: Final = {"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*/*"]}
OWNER: Final = {"apiVersion": "v1", "kind": "Namespace", "name": "gone", "uid": "0b7a3c0e-7d4e-4c5a-9d3e-0f6f0a8a2f11"}


def _entry(**fields: Any) -> dict[str, Any]:
    return {"webhooks": [{"name": FIRST, **fields}]}


# whatever a thief might write into a configuration, as strategic merge patches; and of what it is said that it may not be
THEFTS: Final = {
    "be asked about everything": (_entry(rules=[EVERYTHING]), "nothing else of it"),
    "be asked himself": (_entry(clientConfig={"service": None, "url": "https://thief.example.com"}), "nothing else of it"),
    "have another Service asked": (_entry(clientConfig={"service": {"namespace": "default"}}), "nothing else of it"),
    "have every pod sent": (_entry(matchConditions=[{"$patch": "replace"}]), "nothing else of it"),
    "leave namespaces out": (_entry(namespaceSelector={"matchLabels": {"a": "b"}}), "nothing else of it"),
    "choose objects": (_entry(objectSelector={"matchLabels": {"a": "b"}}), "nothing else of it"),
    "stop creates": (_entry(failurePolicy="Fail"), "nothing else of it"),
    "hold creates up": (_entry(timeoutSeconds=30), "nothing else of it"),
    "be asked twice": (_entry(reinvocationPolicy="IfNeeded"), "nothing else of it"),
    "take an entry out": (_entry(**{"$patch": "delete"}), "neither add nor remove one"),
    "have it collected as garbage": ({"metadata": {"ownerReferences": [OWNER]}}, "nothing of the metadata"),
    "keep it from being deleted": ({"metadata": {"finalizers": ["thief.example.com/mine"]}}, "nothing of the metadata"),
    "have an injector write there": ({"metadata": {"annotations": {"a": "b"}}}, "nothing of the metadata"),
    "label it": ({"metadata": {"labels": {"a": "b"}}}, "nothing of the metadata"),
}


@pytest.fixture(scope="module")
def place(own_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with placed(own_cluster, tmp_path_factory.mktemp("account")) as made:
        made.trust(b"")
        yield made


@pytest.fixture(scope="module")
def account(place: Place) -> Iterator[httpx.Client]:
    """The account with the rights of deploy/overlays/self."""
    config = json.loads(place.shipped_account().read_text())
    authority = base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    headers = {
        "Authorization": f"Bearer {config['users'][0]['user']['token']}",
        "Content-Type": "application/strategic-merge-patch+json",
    }
    with httpx.Client(base_url=place.cluster.url, verify=context, headers=headers, trust_env=False) as http:
        yield http


def _patched(place: Place, account: httpx.Client, patch: dict[str, Any]) -> httpx.Response:
    path = f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{place.names.configuration}?dryRun=All"
    return account.patch(path, json=patch)


@pytest.fixture(scope="module")
def held(place: Place, account: httpx.Client) -> Iterator[None]:
    """deploy/overlays/self/accountpolicy.yaml, for this namespace's account."""
    for patch, _ in THEFTS.values():
        assert _patched(place, account, patch).status_code == httpx.codes.OK, "RBAC alone stops none of them"
    documents = list(yaml.safe_load_all((DEPLOY / "overlays/self/accountpolicy.yaml").read_text()))
    documents[0]["spec"]["matchConstraints"]["resourceRules"][0]["resourceNames"] = [place.names.configuration]
    documents[1]["spec"]["paramRef"]["namespace"] = place.names.namespace
    policy = yaml.safe_dump_all(documents)
    place.cluster.kubectl("apply", "--validate=strict", "-f", "-", input=policy)
    try:
        patch = THEFTS["be asked himself"][0]
        forbidden = httpx.codes.UNPROCESSABLE_ENTITY
        until(lambda: _patched(place, account, patch).status_code == forbidden, seconds=20, waiting_for="the policy")
        yield
    finally:
        place.cluster.kubectl("delete", "-f", "-", input=policy)


@pytest.mark.parametrize("aim", THEFTS)
@pytest.mark.usefixtures("held")
def test_the_account_is_held_to_the_ca_bundle(place: Place, account: httpx.Client, aim: str) -> None:
    patch, sentence = THEFTS[aim]
    answer = _patched(place, account, patch)
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert answer.json()["message"].endswith(f"the webhook's account may change the caBundle of an entry, and {sentence}")


@pytest.mark.usefixtures("held")
def test_everybody_else_may_do_what_he_could_before(place: Place) -> None:
    path = f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{place.names.configuration}?dryRun=All"
    patches = [patch for patch, _ in THEFTS.values()]
    kind = "application/strategic-merge-patch+json"
    assert {place.cluster.api("PATCH", path, patch, content_type=kind).status for patch in patches} == {httpx.codes.OK}


@pytest.mark.usefixtures("held")
def test_certificates_are_issued_and_trusted_under_it(place: Place) -> None:
    with kept(place, Clock(), place.directory / "dpdk-webhook.kubeconfig") as reports:
        assert reports[-1].matches
    assert len(place.bundles()) == 1
    assert b"BEGIN CERTIFICATE" in place.bundles().pop()


def test_a_pod_can_be_annotated_while_it_is_bound_and_nobody_is_asked(own_cluster: Cluster) -> None:
    """What SECURITY.md says of pods/binding. The policy here refuses every annotated pod of which it hears."""
    cluster = own_cluster
    with cluster.namespace() as namespace:
        cluster.kubectl("apply", "-f", "-", input=_refusing(namespace))
        try:
            pods, nodes = f"/api/v1/namespaces/{namespace}/pods", "/api/v1/nodes"
            pod = {"metadata": {"name": "one"}, "spec": {"containers": [{"name": "app", "image": "example.com/app"}]}}
            annotated = pod | {"metadata": {"name": "two", "annotations": {"dpdk": "true"}}}
            forbidden = httpx.codes.UNPROCESSABLE_ENTITY
            until(
                lambda: cluster.api("POST", f"{pods}?dryRun=All", annotated).status == forbidden, seconds=20, waiting_for="it"
            )
            assert cluster.api("POST", pods, pod).status == httpx.codes.CREATED
            cluster.api("POST", nodes, {"metadata": {"name": namespace}})
            binding = {
                "metadata": {"name": "one", "annotations": {"dpdk": "true"}},
                "target": {"kind": "Node", "name": namespace},
            }
            assert cluster.api("POST", f"{pods}/one/binding", binding).status == httpx.codes.CREATED
            assert cluster.api("GET", f"{pods}/one").body["metadata"]["annotations"] == {"dpdk": "true"}
        finally:
            cluster.kubectl("delete", "-f", "-", input=_refusing(namespace))
            cluster.api("DELETE", f"/api/v1/nodes/{namespace}")


def _refusing(namespace: str) -> str:
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["pods", "pods/status"]}
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": namespace},
        "spec": {
            "matchConstraints": {"resourceRules": [rule], "namespaceSelector": selector},
            "validations": [{"expression": "!('dpdk' in object.metadata.?annotations.orValue({}))"}],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": namespace},
        "spec": {"policyName": namespace, "validationActions": ["Deny"]},
    }
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [policy, binding]})
