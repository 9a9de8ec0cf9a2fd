"""What SECURITY.md says of the webhook's account, and of a pod that is annotated while it is bound, on a real API server."""

import base64
import json
import ssl
from collections.abc import Iterator, Mapping
from typing import Any, Final

import httpx
import pytest
import yaml

from certs.cluster import Clock
from certs.rotate import KEYS
from scripts.manifests import DEPLOY
from tests.cluster.cluster import Cluster
from tests.cluster.placed import ENTRIES, Place, kept, placed
from tests.cluster.tied import until

FIRST: Final = ENTRIES["MutatingWebhookConfiguration"][0]
EVERYTHING: Final = {"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*/*"]}
OWNER: Final = {"apiVersion": "v1", "kind": "Namespace", "name": "gone", "uid": "0b7a3c0e-7d4e-4c5a-9d3e-0f6f0a8a2f11"}


def _entry(**fields: Any) -> dict[str, Any]:
    return {"webhooks": [{"name": FIRST, **fields}]}


METADATA: Final = "change nothing of the metadata"
BUNDLE: Final = "change the caBundle of an entry, and nothing else of it"
NUMBER: Final = "change the caBundle of an entry, and neither add nor remove one"
CERTIFICATES: Final = "write certificates and their keys into an Opaque Secret, and nothing else"
JSON: Final = {"Content-Type": "application/json"}
FORBIDDEN: Final = httpx.codes.UNPROCESSABLE_ENTITY
# whatever a thief might write into a configuration, as strategic merge patches; and of what it is said that it may not be
THEFTS: Final = {
    "be asked about everything": (_entry(rules=[EVERYTHING]), BUNDLE),
    "be asked himself": (_entry(clientConfig={"service": None, "url": "https://thief.example.com"}), BUNDLE),
    "have another Service asked": (_entry(clientConfig={"service": {"namespace": "default"}}), BUNDLE),
    "have every pod sent": (_entry(matchConditions=[{"$patch": "replace"}]), BUNDLE),
    "leave namespaces out": (_entry(namespaceSelector={"matchLabels": {"a": "b"}}), BUNDLE),
    "choose objects": (_entry(objectSelector={"matchLabels": {"a": "b"}}), BUNDLE),
    "stop creates": (_entry(failurePolicy="Fail"), BUNDLE),
    "hold creates up": (_entry(timeoutSeconds=30), BUNDLE),
    "be asked twice": (_entry(reinvocationPolicy="IfNeeded"), BUNDLE),
    "take an entry out": (_entry(**{"$patch": "delete"}), NUMBER),
    "have it collected as garbage": ({"metadata": {"ownerReferences": [OWNER]}}, METADATA),
    "keep it from being deleted": ({"metadata": {"finalizers": ["thief.example.com/mine"]}}, METADATA),
    "have an injector write there": ({"metadata": {"annotations": {"a": "b"}}}, METADATA),
    "label it": ({"metadata": {"labels": {"a": "b"}}}, METADATA),
}
HELM: Final = {"owner": "helm", "name": "dpdk-webhook", "status": "deployed", "version": "99"}
TOKEN: Final = "kubernetes.io/service-account-token"  # noqa: S105 - a type
DEFAULT: Final = {"kubernetes.io/service-account.name": "default"}
# and into a Secret: the webhook's, of which these are the fields that are changed, or one of his own
CHANGED: Final[Mapping[str, tuple[dict[str, Any], str]]] = {
    "be a release of Helm's": ({"metadata": {"labels": HELM}}, METADATA),
    "have hooks run": ({"data": {"release": "AA=="}}, CERTIFICATES),
    "have hooks run, by what is no base64": ({"stringData": {"release": "x"}}, CERTIFICATES),
    "have it stay as it is": ({"immutable": True}, CERTIFICATES),
    "have it collected as garbage": ({"metadata": {"ownerReferences": [OWNER]}}, METADATA),
    "keep it from being deleted": ({"metadata": {"finalizers": ["thief.example.com/mine"]}}, METADATA),
}
MADE: Final[Mapping[str, tuple[dict[str, Any], str]]] = {
    "be a release of Helm's": ({"type": "helm.sh/release.v1", "metadata": {"name": "x", "labels": HELM}}, METADATA),
    "be one of that type": ({"type": "helm.sh/release.v1", "metadata": {"name": "x"}}, CERTIFICATES),
    "have hooks run": ({"metadata": {"name": "x"}, "data": {"release": "AA=="}}, CERTIFICATES),
    "get the token of another account": ({"type": TOKEN, "metadata": {"name": "x", "annotations": DEFAULT}}, CERTIFICATES),
    "have it stay as it is": ({"metadata": {"name": "x"}, "immutable": True}, CERTIFICATES),
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


def _written(place: Place, account: httpx.Client, fields: dict[str, Any]) -> httpx.Response:
    """The webhook's Secret, with these fields changed, by a dry run."""
    path = f"{_secrets(place)}/{place.names.secret}"
    found = account.get(path).raise_for_status().json()
    changed = found | fields | {"metadata": found["metadata"] | fields.get("metadata", {})}
    changed["data"] = found.get("data", {}) | fields.get("data", {})
    return account.put(f"{path}?dryRun=All", json=changed, headers=JSON)


def _made(place: Place, account: httpx.Client, secret: dict[str, Any]) -> httpx.Response:
    """Another Secret, by a dry run."""
    return account.post(f"{_secrets(place)}?dryRun=All", json=secret, headers=JSON)


def _secrets(place: Place) -> str:
    return f"/api/v1/namespaces/{place.names.namespace}/secrets"


@pytest.fixture(scope="module")
def held(place: Place, account: httpx.Client) -> Iterator[None]:
    """deploy/overlays/self/accountpolicy.yaml, for this namespace's account."""
    for patch, _ in THEFTS.values():
        assert _patched(place, account, patch).status_code == httpx.codes.OK, "RBAC alone stops none of them"
    empty = {"metadata": {"name": place.names.secret}}
    assert place.cluster.api("POST", _secrets(place), empty).status == httpx.codes.CREATED
    for fields, _ in CHANGED.values():
        assert _written(place, account, fields).status_code == httpx.codes.OK
    for secret, _ in MADE.values():
        assert _made(place, account, secret).status_code == httpx.codes.CREATED
    documents = list(yaml.safe_load_all((DEPLOY / "overlays/self/accountpolicy.yaml").read_text()))
    matched = documents[0]["spec"]["matchConstraints"]
    matched["resourceRules"][0]["resourceNames"] = [place.names.configuration]
    matched["namespaceSelector"]["matchExpressions"][0]["values"] = [place.names.namespace]
    documents[1]["spec"]["paramRef"]["namespace"] = place.names.namespace
    policy = yaml.safe_dump_all(documents)
    place.cluster.kubectl("apply", "--validate=strict", "-f", "-", input=policy)
    try:
        patch = THEFTS["be asked himself"][0]
        until(lambda: _patched(place, account, patch).status_code == FORBIDDEN, seconds=20, waiting_for="the policy")
        yield
    finally:
        place.cluster.kubectl("delete", "-f", "-", input=policy)


@pytest.mark.parametrize("aim", THEFTS)
@pytest.mark.usefixtures("held")
def test_the_account_is_held_to_the_ca_bundle(place: Place, account: httpx.Client, aim: str) -> None:
    patch, sentence = THEFTS[aim]
    _assert_denied(_patched(place, account, patch), sentence)


@pytest.mark.parametrize("aim", CHANGED)
@pytest.mark.usefixtures("held")
def test_and_in_its_secret_to_certificates(place: Place, account: httpx.Client, aim: str) -> None:
    fields, sentence = CHANGED[aim]
    _assert_denied(_written(place, account, fields), sentence)


@pytest.mark.parametrize("aim", MADE)
@pytest.mark.usefixtures("held")
def test_and_in_others_that_it_makes(place: Place, account: httpx.Client, aim: str) -> None:
    secret, sentence = MADE[aim]
    _assert_denied(_made(place, account, secret), sentence)


def _assert_denied(answer: httpx.Response, sentence: str) -> None:
    assert answer.status_code == FORBIDDEN, answer.text
    assert answer.json()["message"].endswith(f"the webhook's account may {sentence}")


@pytest.mark.usefixtures("held")
def test_its_own_secret_it_may_write_and_make(place: Place, account: httpx.Client) -> None:
    new = dict.fromkeys(KEYS, "AA==")
    assert _written(place, account, {"data": new}).status_code == httpx.codes.OK
    assert _made(place, account, {"metadata": {"name": "x"}, "data": new}).status_code == httpx.codes.CREATED


@pytest.mark.usefixtures("held")
def test_everybody_else_may_do_what_he_could_before(place: Place) -> None:
    path = f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{place.names.configuration}?dryRun=All"
    patches = [patch for patch, _ in THEFTS.values()]
    kind = "application/strategic-merge-patch+json"
    assert {place.cluster.api("PATCH", path, patch, content_type=kind).status for patch in patches} == {httpx.codes.OK}


@pytest.mark.usefixtures("held")
def test_certificates_are_issued_and_trusted_under_it(place: Place) -> None:
    place.cluster.api("DELETE", f"{_secrets(place)}/{place.names.secret}")  # so that it makes one, and then writes it
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
