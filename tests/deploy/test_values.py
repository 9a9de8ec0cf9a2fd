"""A value that the chart doesn't know, or can't use, is refused with its path before anything is installed."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from scripts.manifests import CHART
from tests.deploy.consistent import Installation
from tests.deploy.matrix import CA, DIGEST
from tests.deploy.rendered import Installers, Refused, Values, read
from webhook.settings import Settings

SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
DEFAULTS: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
# what the chart sets itself, from its names and its mode; kubeconfig is for outside of a pod
SET = {
    "certificates",
    "kubeconfig",
    "lease",
    "namespace",
    "replica",
    "service",
    "tls_cert",
    "tls_key",
    "tls_secret",
    "webhook_configuration",
}
NOT_OURS = {"global", "enabled"}  # helm's, and that of a chart which contains this one


def _leaf(path: str, value: object) -> Values:
    for part in reversed(path.split(".")):
        value = {part: value}
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("replicaCout", 3, "additional properties 'replicaCout' not allowed"),
        ("image.tagg", "1", "at '/image': additional properties 'tagg' not allowed"),
        ("settings.cpu_stepp", 2, "at '/settings': additional properties 'cpu_stepp' not allowed"),
        ("settings.tls_secret", "mine", "at '/settings': additional properties 'tls_secret' not allowed"),
        ("webhook.objectSelector", {}, "at '/webhook': additional properties 'objectSelector' not allowed"),
        ("certificates.certManager.issuerRef.nam", "a", "at '/certificates/certManager/issuerRef': additional properties"),
        ("grafana.enabled", True, "at '/grafana': additional properties 'enabled' not allowed"),
        ("probes.readiness.httpGet", {}, "at '/probes/readiness': additional properties 'httpGet' not allowed"),
        ("replicaCount", "two", "at '/replicaCount': got string, want integer"),
        ("replicaCount", 1.5, "at '/replicaCount': got number, want integer"),
        ("networkPolicy.enabled", "yes", "at '/networkPolicy/enabled': got string, want boolean"),
        ("webhook.failurePolicy", "fail", "at '/webhook/failurePolicy': value must be one of 'Fail', 'Ignore'"),
        ("webhook.timeoutSeconds", 31, "at '/webhook/timeoutSeconds': maximum: got 31, want 30"),
        ("certificates.mode", "manual", "at '/certificates/mode': value must be one of"),
        ("certificates.secretName", "The_Secret", "at '/certificates/secretName': 'The_Secret' does not match pattern"),
        ("certificates.caBundle", "LS0tLS1CRUdJTi", "at '/certificates/caBundle'"),
        ("image.digest", "sha256:12", "at '/image/digest'"),
        ("fullnameOverride", "1st", "at '/fullnameOverride'"),
        ("fullnameOverride", "a" * 64, "at '/fullnameOverride'"),
        ("settings.tls_port", 0, "at '/settings/tls_port': minimum: got 0, want 1"),
        ("settings.whole_cpus", "some", "at '/settings/whole_cpus': value must be one of 'dpdk', 'all'"),
        ("commonLabels", {"app.kubernetes.io/name": "x"}, "invalid propertyName 'app.kubernetes.io/name'"),
        ("podLabels", {"a": 1}, "at '/podLabels/a': got number, want string"),
        ("replicaCount", None, "missing property 'replicaCount'"),
        ("certificates.mode", None, "at '/certificates': missing property 'mode'"),
        ("image.registry", "registry.example.com/", "at '/image/registry'"),
        ("image.repository", "dpdk-webhook:0.1.0", "at '/image/repository'"),
        ("networkPolicy.apiServerPorts", [], "at '/networkPolicy/apiServerPorts': minItems"),
        ("webhook.annotations", {"cert-manager.io/inject-ca-from": "a/b"}, "invalid propertyName"),
        ("extraEnv", [{"value": "x"}], "at '/extraEnv/0': missing property 'name'"),
        ("topologySpreadConstraints", [{"topologyKey": "a"}], "at '/topologySpreadConstraints/0': missing properties"),
        ("webhook.matchConditions", [{"name": "annotated", "expression": "true"}], "at '/webhook/matchConditions/0/name'"),
        ("podDisruptionBudget.minAvailable", "2", "at '/podDisruptionBudget/minAvailable': '2' does not match pattern"),
        ("podDisruptionBudget.minAvailable", "foo", "at '/podDisruptionBudget/minAvailable': 'foo' does not match pattern"),
        ("podDisruptionBudget.minAvailable", -1, "at '/podDisruptionBudget/minAvailable': minimum: got -1, want 0"),
        ("podDisruptionBudget.minAvailable", "101%", "at '/podDisruptionBudget/minAvailable': '101%' does not match pattern"),
        ("podDisruptionBudget.maxUnavailable", "-1%", "at '/podDisruptionBudget/maxUnavailable': '-1%' does not match pattern"),
        ("podDisruptionBudget.maxUnavailable", -1, "at '/podDisruptionBudget/maxUnavailable': minimum: got -1, want 0"),
        ("strategy.rollingUpdate.maxSurge", "foo", "at '/strategy/rollingUpdate/maxSurge': 'foo' does not match pattern"),
        ("strategy.rollingUpdate.maxSurge", -1, "at '/strategy/rollingUpdate/maxSurge': minimum: got -1, want 0"),
        ("strategy.rollingUpdate.maxUnavailable", "101%", "at '/strategy/rollingUpdate/maxUnavailable': '101%' does not match"),
        ("priorityClassName", "high\n      hostPID: true", "at '/priorityClassName'"),
        ("certificates.certManager.issuerRef.name", "a\nb", "at '/certificates/certManager/issuerRef/name'"),
        ("certificates.certManager.issuerRef.kind", "Issuer\n", "at '/certificates/certManager/issuerRef/kind'"),
        ("certificates.certManager.issuerRef.group", "a: b", "at '/certificates/certManager/issuerRef/group'"),
        ("prometheusRule.runbookUrl", "https://example.com/\n- a", "at '/prometheusRule/runbookUrl'"),
        ("prometheusRule.runbookUrl", "{}", "at '/prometheusRule/runbookUrl'"),
    ],
)
@pytest.mark.parametrize("program", ["helm", "helm3"])
def test_refused(installers: Installers, program: str, path: str, value: object, said: str) -> None:
    with pytest.raises(Refused) as refused:
        installers.helm(_leaf(path, value), program=program)
    assert said in refused.value.stderr


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"serviceAccount": {"create": False}}, "serviceAccount.create is false and serviceAccount.name is empty"),
        ({"extraEnv": [{"name": "dpdk_Webhook_cpu_step", "value": "2"}]}, "extraEnv: dpdk_Webhook_cpu_step is a setting"),
        ({"extraArgs": ["--config=/etc/settings.yaml"]}, "extraArgs: --config is for settings; write them under settings"),
        (
            {"certificates": {"mode": "files", "caBundle": CA + "-----BEGIN PRIVATE KEY-----"}},
            "certificates.caBundle holds a private key, which everybody could read",
        ),
        ({"podDisruptionBudget": {"minAvailable": 2}}, "minAvailable is 2 of 2 replicas: no node could be drained"),
        ({"podDisruptionBudget": {"minAvailable": "100%"}}, "minAvailable is 100% of 2 replicas: no node could be drained"),
        (
            {"replicaCount": 3, "podDisruptionBudget": {"minAvailable": "99%"}},  # Kubernetes rounds up
            "minAvailable is 99% of 3 replicas: no node could be drained",
        ),
        (
            {"replicaCount": 1, "podDisruptionBudget": {"minAvailable": "1%"}},
            "minAvailable is 1% of 1 replicas: no node could be drained",
        ),
        ({"podDisruptionBudget": {"maxUnavailable": 0}}, "podDisruptionBudget.maxUnavailable is 0: no node could be drained"),
        (
            {"podDisruptionBudget": {"maxUnavailable": "0%"}},
            "podDisruptionBudget.maxUnavailable is 0%: no node could be drained",
        ),
        ({"podDisruptionBudget": {"maxUnavailable": None}}, "podDisruptionBudget has neither minAvailable nor maxUnavailable"),
        (
            {"strategy": {"rollingUpdate": {"maxSurge": 0}}},
            "maxSurge and maxUnavailable are both 0: no replica could be replaced",
        ),
        (
            {"strategy": {"rollingUpdate": {"maxSurge": "0%", "maxUnavailable": "0%"}}},
            "maxSurge and maxUnavailable are both 0: no replica could be replaced",
        ),
        ({"settings": {"tls_port": 9443, "health_port": 9443}}, "settings.tls_port and settings.health_port are both 9443"),
        ({"settings": {"tls_port": 8080}}, "settings.tls_port and settings.health_port are both 8080"),
        ({"settings": {"health_port": 8443}}, "settings.tls_port and settings.health_port are both 8443"),
        ({"settings": {"drain_seconds": 21}}, "terminationGracePeriodSeconds is 30: a drain takes 21 seconds"),
        (
            {"certificates": {"mode": "cert-manager", "secretName": "dpdk-webhook-ca"}},
            "certificates.secretName is dpdk-webhook-ca, which is for the CA",
        ),
        ({"image": {"tag": "0.2.0", "digest": DIGEST}}, f"image.tag is 0.2.0 and image.digest is {DIGEST}; leave one of them"),
        ({"certificates": {"caBundle": CA}}, "certificates.caBundle is for mode files; in mode self another one writes it"),
    ],
)
def test_refused_together(installers: Installers, values: Values, said: str) -> None:
    with pytest.raises(Refused) as refused:
        installers.helm(values)
    assert said in refused.value.stderr


@pytest.mark.parametrize("release", ["1st", "with.dots"])
def test_a_release_whose_name_no_service_can_have_says_what_to_set(installers: Installers, release: str) -> None:
    with pytest.raises(Refused) as refused:
        installers.helm(release=release)
    assert f"no Service can be called {release}-dpdk-webhook; set fullnameOverride" in refused.value.stderr
    here = Installation(read(installers.helm({"fullnameOverride": "fine"}, release=release)))
    assert here.one("Service")["metadata"]["name"] == "fine"


def test_the_settings_are_those_of_the_webhook() -> None:
    known = set(SCHEMA["properties"]["settings"]["properties"])
    assert known | SET == set(Settings.model_fields)
    assert not known & SET


def _objects(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object that the chart itself reads keys of, by its path."""
    if "properties" in schema:
        yield path, schema
        for name, below in schema["properties"].items():
            yield from _objects(below, f"{path}.{name}".lstrip("."))
    if isinstance(schema.get("items"), dict):
        yield from _objects(schema["items"], f"{path}[]")


def test_no_object_of_ours_takes_other_keys() -> None:
    found = dict(_objects(SCHEMA))
    assert len(found) > 20
    assert [path for path, schema in found.items() if schema.get("additionalProperties") is not False] == []
    for path, schema in found.items():
        assert [name for name, below in schema["properties"].items() if "description" not in below] == [], path


def test_every_key_stands_in_values_yaml_with_its_default() -> None:
    """But for those within an object that comes whole from whoever chooses it."""
    assert set(DEFAULTS) == set(SCHEMA["properties"]) - NOT_OURS
    chosen_whole = ("settings", "webhook.namespaceSelector", "strategy", "probes.")
    for path, schema in _objects(SCHEMA):
        if not path or "[]" in path or path.startswith(chosen_whole):
            continue
        values: Any = DEFAULTS
        for part in path.split("."):
            values = values[part]
        assert set(values) == set(schema["properties"]), path


def test_every_key_is_read_by_a_template() -> None:
    text = "\n".join(path.read_text() for path in sorted((CHART / "templates").iterdir()))
    read_whole = ("settings", "probes.", "strategy", "webhook.namespaceSelector", "certificates.certManager")
    for path, schema in _objects(SCHEMA):
        if "[]" in path or path.startswith(read_whole):
            continue
        for name in schema["properties"]:
            if path or name not in NOT_OURS:
                assert f".Values.{path}.{name}".replace("..", ".") in text, f"{path}.{name}"
