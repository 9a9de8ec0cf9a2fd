"""The checker finds what doesn't fit: every reference is broken once."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from tests.deploy.consistent import Installation, problems
from tests.deploy.matrix import CA
from tests.deploy.rendered import ENABLED, Installers, Object, read

Damage = Callable[[Installation], object]


@pytest.fixture(scope="module")
def fitting(installers: Installers) -> dict[str, list[Object]]:
    """An installation of each mode, with everything."""
    given: dict[str, dict[str, Any]] = {
        mode: {"certificates": {"mode": mode}} for mode in ("self", "cert-manager", "openshift")
    }
    given["files"] = {"certificates": {"mode": "files", "caBundle": CA}}
    return {mode: read(installers.helm(values | dict(ENABLED))) for mode, values in given.items()}


def _env(here: Installation, name: str) -> Object:
    found: list[Object] = [each for each in here.container["env"] if each["name"] == name]
    return found[0]


def _drop(here: Installation, kind: str) -> None:
    assert isinstance(here.objects, list)
    here.objects.remove(here.one(kind))


def _entry(here: Installation, number: int) -> Object:
    return [entry for _, entry in here.entries()][number]


def _rules(here: Installation, kind: str) -> list[Object]:
    rules: list[Object] = here.one(kind)["rules"]
    return rules


def _config(here: Installation) -> Object:
    return here.one("MutatingWebhookConfiguration")


def _held(here: Installation, kind: str) -> Object:
    (found,) = here.named(kind, "dpdk-webhook-account")
    return found


def _matched(here: Installation) -> Object:
    matched: Object = _held(here, "ValidatingAdmissionPolicy")["spec"]["matchConstraints"]
    return matched


def _rule(here: Installation) -> Object:
    rule: Object = _matched(here)["resourceRules"][0]
    return rule


def _certificate(here: Installation, name: str) -> Object:
    (found,) = here.named("Certificate", name)
    return found


DAMAGES: list[tuple[str, str, Damage]] = [
    # metadata
    ("self", "Service dpdk-webhook is in namespace 'x'", lambda h: h.one("Service")["metadata"].update(namespace="x")),
    ("self", "ClusterRole dpdk-webhook is in namespace", lambda h: h.one("ClusterRole")["metadata"].update(namespace="x")),
    ("self", "Lease dpdk-webhook has no label", lambda h: h.one("Lease")["metadata"]["labels"].clear()),
    # labels and selectors
    ("self", "Service selects", lambda h: h.one("Service")["spec"]["selector"].update({"app.kubernetes.io/instance": "x"})),
    ("self", "Deployment selects", lambda h: h.template["metadata"]["labels"].update({"app.kubernetes.io/name": "x"})),
    ("self", "PodDisruptionBudget selects", lambda h: h.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"].clear()),
    ("self", "NetworkPolicy selects", lambda h: h.one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"].update(a="b")),
    (
        "self",
        "topologySpreadConstraints selects",
        lambda h: h.pod["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"].update(a="b"),
    ),
    ("self", "ServiceMonitor selects", lambda h: h.one("ServiceMonitor")["spec"]["selector"]["matchLabels"].update(a="b")),
    # ports
    ("self", "the Service leads to port http", lambda h: h.one("Service")["spec"]["ports"][0].update(targetPort="http")),
    ("self", "the readinessProbe asks port x", lambda h: h.container["readinessProbe"]["httpGet"].update(port="x")),
    ("self", "port https of the container is 1", lambda h: h.container["ports"][0].update(containerPort=1)),
    ("self", "the ServiceMonitor asks port x", lambda h: h.one("ServiceMonitor")["spec"]["endpoints"][0].update(port="x")),
    ("self", "the NetworkPolicy doesn't let", lambda h: h.one("NetworkPolicy")["spec"]["ingress"].pop()),
    # the configurations
    ("self", "calls x in dpdk-webhook", lambda h: _entry(h, 0)["clientConfig"]["service"].update(name="x")),
    ("self", "calls dpdk-webhook in x", lambda h: _entry(h, 4)["clientConfig"]["service"].update(namespace="x")),
    ("self", "calls port 8443", lambda h: _entry(h, 2)["clientConfig"]["service"].update(port=8443)),
    ("self", "the entries call", lambda h: _entry(h, 1)["clientConfig"]["service"].update(path="/mutate")),
    ("self", "leaves out", lambda h: _entry(h, 3)["namespaceSelector"]["matchExpressions"][0]["values"].pop()),
    ("self", "is not only for annotated pods", lambda h: _entry(h, 2)["matchConditions"].pop(0)),
    ("self", "same further conditions", lambda h: _entry(h, 0)["matchConditions"].append({"name": "x", "expression": "true"})),
    (
        "self",
        "two conditions of one name",
        lambda h: _entry(h, 3)["matchConditions"].append(_entry(h, 3)["matchConditions"][0]),
    ),
    # settings
    ("self", "the setting service is x", lambda h: _env(h, "DPDK_WEBHOOK_SERVICE").update(value="x")),
    ("self", "the setting lease is x", lambda h: _env(h, "DPDK_WEBHOOK_LEASE").update(value="x")),
    ("self", "the setting tls_secret is x", lambda h: _env(h, "DPDK_WEBHOOK_TLS_SECRET").update(value="x")),
    ("self", "no such Lease", lambda h: _drop(h, "Lease")),
    ("self", "no such MutatingWebhookConfiguration", lambda h: _config(h)["metadata"].update(name="x")),
    ("self", "the setting namespace is", lambda h: h.container["env"].remove(_env(h, "DPDK_WEBHOOK_NAMESPACE"))),
    ("self", "DPDK_WEBHOOK_LEASE is set twice", lambda h: h.container["env"].append(_env(h, "DPDK_WEBHOOK_LEASE"))),
    # rights
    ("self", "the replicas have no token", lambda h: h.pod.update(automountServiceAccountToken=False)),
    ("self", "of Role x, which isn't there", lambda h: h.one("RoleBinding")["roleRef"].update(name="x")),
    ("self", "is bound to nobody", lambda h: _drop(h, "ClusterRoleBinding")),
    ("self", "not for dpdk-webhook", lambda h: h.one("ClusterRoleBinding")["subjects"][0].update(namespace="x")),
    ("self", "the rights are for secrets ['x']", lambda h: _rules(h, "Role")[0].update(resourceNames=["x"])),
    ("self", "the rights are for leases ['anything']", lambda h: _rules(h, "Role")[1].pop("resourceNames")),
    ("self", "the rights are for pods", lambda h: _rules(h, "ClusterRole")[0]["resources"].append("pods")),
    # mounts, the policy, the account, the budget
    ("files", "tls is mounted, and there is no", lambda h: h.pod["volumes"].clear()),
    ("files", "volume tls is mounted nowhere", lambda h: h.container["volumeMounts"].clear()),
    ("files", "where nothing is mounted", lambda h: h.container["volumeMounts"][0].update(mountPath="/etc/tls")),
    ("files", "Lease isn't needed", lambda h: h.objects.append(_lease(h))),  # type: ignore[attr-defined]
    ("files", "have a token that they don't need", lambda h: h.pod.update(automountServiceAccountToken=True)),
    ("files", "the binding is of policy x", lambda h: h.one("ValidatingAdmissionPolicyBinding")["spec"].update(policyName="x")),
    ("files", "the policy has no binding", lambda h: _drop(h, "ValidatingAdmissionPolicyBinding")),
    ("self", "what no policy looks at", lambda h: _rule(h)["resources"].pop()),
    ("self", "and held is", lambda h: _held(h, "ValidatingAdmissionPolicyBinding")["spec"]["paramRef"].update(name="x")),
    ("self", "may write any Secret", lambda h: _matched(h)["namespaceSelector"]["matchExpressions"][0].update(values=["x"])),
    ("self", "may write any Secret", lambda h: _matched(h)["resourceRules"][1].update(resources=["pods"])),
    ("self", "held to the caBundle in [['x']]", lambda h: _rule(h).update(resourceNames=["x"])),
    ("self", "and held is", lambda h: _held(h, "ValidatingAdmissionPolicyBinding")["spec"]["paramRef"].update(namespace="x")),
    ("self", "account x is made", lambda h: h.one("ServiceAccount")["metadata"].update(name="x")),
    ("self", "of 2 replicas 2 must stay", lambda h: h.one("PodDisruptionBudget")["spec"].update(minAvailable=2)),
    ("self", "has not one of", lambda h: h.one("PodDisruptionBudget")["spec"].update(minAvailable=1)),
    # certificates of others
    ("self", "asks openshift for its caBundle", lambda h: _config(h)["metadata"].update(annotations={OPENSHIFT: "true"})),
    ("openshift", "is given a caBundle by None", lambda h: _config(h)["metadata"]["annotations"].clear()),
    ("openshift", "OpenShift writes Secret None", lambda h: h.one("Service")["metadata"]["annotations"].clear()),
    ("openshift", "isn't told where its certificate is", lambda h: h.container["env"].remove(_env(h, "DPDK_WEBHOOK_TLS_KEY"))),
    (
        "cert-manager",
        "is given a caBundle by x/y",
        lambda h: _config(h)["metadata"]["annotations"].update({CERT_MANAGER: "x/y"}),
    ),
    (
        "cert-manager",
        "the certificate is for ['x']",
        lambda h: _certificate(h, "dpdk-webhook-serving")["spec"].update(dnsNames=["x"]),
    ),
    (
        "cert-manager",
        "0 Certificates are for Secret",
        lambda h: _certificate(h, "dpdk-webhook-serving")["spec"].update(secretName="x"),
    ),
    (
        "cert-manager",
        "is of Issuer x, which isn't there",
        lambda h: _certificate(h, "dpdk-webhook-ca")["spec"]["issuerRef"].update(name="x"),
    ),
    (
        "cert-manager",
        "which no CA is in",
        lambda h: _certificate(h, "dpdk-webhook-ca")["spec"].update(isCA=False),
    ),
]
OPENSHIFT = "service.beta.openshift.io/inject-cabundle"
CERT_MANAGER = "cert-manager.io/inject-ca-from"


def _lease(here: Installation) -> Object:
    metadata = deepcopy(here.one("Service")["metadata"])
    return {"kind": "Lease", "metadata": metadata}


def test_there_is_nothing_to_find_in_what_fits(fitting: dict[str, list[Object]]) -> None:
    assert {mode: problems(objects) for mode, objects in fitting.items()} == {mode: [] for mode in fitting}


@pytest.mark.parametrize(("mode", "said", "damage"), DAMAGES, ids=[f"{mode}: {said}" for mode, said, _ in DAMAGES])
def test_what_does_not_fit_is_told(fitting: dict[str, list[Object]], mode: str, said: str, damage: Damage) -> None:
    objects = deepcopy(fitting[mode])
    damage(Installation(objects))
    found = problems(objects)
    assert any(said in sentence for sentence in found), found


def test_an_object_that_is_there_twice_is_told(fitting: dict[str, list[Object]]) -> None:
    objects = [*fitting["self"], Installation(fitting["self"]).one("Lease")]
    assert problems(objects) == ["Key(kind='Lease', namespace='dpdk-webhook', name='dpdk-webhook') is there twice"]
