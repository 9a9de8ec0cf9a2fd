"""Whatever is chosen together, the objects fit each other, and the replicas would start with the settings that they get."""

import re
from typing import Any

import pytest

from tests.deploy.consistent import Installation, problems
from tests.deploy.matrix import CHOICES, RELEASES, Row, rows, title, values
from tests.deploy.rendered import ENABLED, MODES, Installers, Object, by_key, read
from webhook.settings import PREFIX, load

ROWS = rows()


@pytest.mark.parametrize("row", ROWS, ids=title)
def test_the_objects_fit_each_other(installers: Installers, row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    release, namespace = RELEASES[row["release"]]
    chosen = values(row)
    text = installers.helm(chosen, release=release, namespace=namespace)
    assert installers.helm(chosen, release=release, namespace=namespace) == text
    objects = read(text)
    third = installers.helm(chosen, program="helm3", release=release, namespace=namespace)
    assert by_key(read(third)) == by_key(objects)
    assert problems(objects) == []
    here = Installation(objects)
    assert here.namespace == namespace
    assert {name: choice for name, choice in _seen(here).items() if choice != row[name]} == {}
    for name, value in here.settings.items():
        monkeypatch.setenv(PREFIX + name.upper(), value)
    assert load().certificates == chosen.get("certificates", {}).get("mode", "self")


def _seen(here: Installation) -> dict[str, int]:
    """Which choices can be told from the objects."""
    pod, labels, service = here.pod, here.template["metadata"]["labels"], here.one("Service")["metadata"]["name"]
    modes = ["self", "cert-manager", "openshift", "files"]
    account = pod["serviceAccountName"]
    failure = {entry["failurePolicy"] for name, entry in here.entries() if not name.startswith("warn.")}
    further = [each["name"] for each in next(here.entries())[1]["matchConditions"]][1:]
    monitors = [each["metadata"]["labels"].get("release") for each in here.named("ServiceMonitor")]
    return {
        "mode": modes.index(here.settings["certificates"]),
        "names": 2 if service == "w" * 63 else int(labels["app.kubernetes.io/name"] == "hugepages"),
        "image": 1 if here.container["image"].startswith("registry.") else 2 * ("@sha256:" in here.container["image"]),
        "replicas": {2: 0, 1: 1, 3: 2, 5: 3}[here.one("Deployment")["spec"]["replicas"]],
        "account": int(account == "runner"),
        "place": 1 if "zone" in pod["nodeSelector"] else 2 * (pod["topologySpreadConstraints"][0]["maxSkew"] == 2),
        "network": 1 if pod.get("hostNetwork") else 2 * (pod.get("dnsPolicy") == "Default"),
        "labels": int(labels.get("team") == "b"),
        "webhook": 1 if failure == {"Ignore"} else 2 * (further == ["not-exempt"]),
        "settings": 1 if "cpu_step" in here.settings else 2 * ("client_ca" in here.settings),
        "further": 0 if not monitors else 1 + (monitors == ["p"]),
        "policy": int(not here.named("ValidatingAdmissionPolicy", service)),
        "resources": int(pod["terminationGracePeriodSeconds"] == 60),
    }


def test_every_two_choices_meet() -> None:
    sizes = {"release": len(RELEASES), **{name: len(choices) for name, choices in CHOICES.items()}}
    assert len(ROWS) >= 25
    for one, count in sizes.items():
        for other, others in sizes.items():
            if one != other:
                assert len({(row[one], row[other]) for row in ROWS}) == count * others, (one, other)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, {"maxUnavailable": 1}),
        ({"replicaCount": 1}, {"maxUnavailable": 1}),
        ({"podDisruptionBudget": {"maxUnavailable": "1%"}}, {"maxUnavailable": "1%"}),  # rounded up: one
        ({"podDisruptionBudget": {"minAvailable": 1}}, {"minAvailable": 1}),
        ({"podDisruptionBudget": {"minAvailable": 0}}, {"minAvailable": 0}),
        ({"podDisruptionBudget": {"minAvailable": "50%"}}, {"minAvailable": "50%"}),
        ({"replicaCount": 4, "podDisruptionBudget": {"minAvailable": "75%"}}, {"minAvailable": "75%"}),
        ({"replicaCount": 0, "podDisruptionBudget": {"minAvailable": 1}}, {"minAvailable": 1}),  # nothing to drain
    ],
)
def test_a_budget_says_one_thing(installers: Installers, values: dict[str, Any], expected: Object) -> None:
    spec = Installation(read(installers.helm(values))).one("PodDisruptionBudget")["spec"]
    assert {key: spec[key] for key in ("minAvailable", "maxUnavailable") if key in spec} == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"kubernetes.io/os": "linux"}),
        ({"zone": "a"}, {"kubernetes.io/os": "linux", "zone": "a"}),
        ({"kubernetes.io/os": None}, None),
    ],
)
def test_replicas_run_on_linux_unless_the_site_says_otherwise(
    installers: Installers, given: dict[str, str | None], expected: dict[str, str] | None
) -> None:
    assert Installation(read(installers.helm({"nodeSelector": given}))).pod.get("nodeSelector") == expected


@pytest.mark.parametrize("selector", [{"matchLabels": {"team": "a"}}, {"matchExpressions": []}, {}])
def test_pods_that_are_named_to_spread_by_are_left_as_they_are(installers: Installers, selector: Object) -> None:
    spread = {"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}
    given = [spread | {"labelSelector": selector}, spread]
    here = Installation(read(installers.helm({"topologySpreadConstraints": given})))
    own = {"matchLabels": here.one("Service")["spec"]["selector"]}
    assert here.pod["topologySpreadConstraints"] == [spread | {"labelSelector": selector}, spread | {"labelSelector": own}]


@pytest.mark.parametrize("full", ["true", "null", "y"])
@pytest.mark.parametrize("mode", MODES)
def test_a_name_stays_a_text_whatever_yaml_takes_it_for(installers: Installers, mode: str, full: str) -> None:
    """Go's YAML and Python's don't take the same words for texts, so none may stand without quotation marks."""
    names = {
        "fullnameOverride": full,
        "serviceAccount": {"name": "123"},
        "priorityClassName": "0x7b",
        "certificates": {
            "mode": mode,
            "secretName": "1e3",
            "certManager": {"issuerRef": {"name": "456", "kind": "No", "group": "1.5"}},
        },
    }
    text = installers.helm({**ENABLED, **names})
    bare = "|".join(map(re.escape, (full, "123", "0x7b", "1e3", "456", "No", "1.5")))
    assert re.findall(rf"^ *(?:- )?(?:(?:\w*[nN]ame|value|kind|group): )?(?:{bare})(?: #.*)?$", text, re.MULTILINE) == []
    objects = read(text)
    assert problems(objects) == []
    here = Installation(objects)
    assert here.one("Service")["metadata"]["name"] == full
    assert (here.pod["serviceAccountName"], here.pod["priorityClassName"]) == ("123", "0x7b")
    if mode == "cert-manager":
        (certificate,) = here.named("Certificate")
        assert certificate["spec"]["issuerRef"] == {"name": "456", "kind": "No", "group": "1.5"}
        assert certificate["spec"]["secretName"] == "1e3"


def test_what_a_site_adds_takes_no_guard_away(installers: Installers) -> None:
    selector = {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["kube-system"]}]}
    added = {"name": "further", "expression": "true"}
    here = Installation(read(installers.helm({"webhook": {"namespaceSelector": selector, "matchConditions": [added]}})))
    for name, entry in here.entries():
        expressions = entry["namespaceSelector"]["matchExpressions"]
        assert expressions[0]["values"] == ["kube-system", "dpdk-webhook"], name
        assert selector["matchExpressions"][0] in expressions
        assert entry["matchConditions"][0]["name"] == "annotated"
        found = [each["expression"] for each in entry["matchConditions"] if each["name"] == added["name"]]
        guarded = f"!({' '.join(entry['matchConditions'][0]['expression'].split())}) || (\n{added['expression']}\n)"
        assert found == ([] if name.startswith("warn.") else [guarded]), "whoever isn't annotated pays for none of them"
    assert problems(here.objects) == []


def test_a_setting_comes_through_as_it_was_typed(installers: Installers) -> None:
    given = {
        "max_cpu": 1000000,
        "shed_after": 0.25,
        "default_cpu": "1500m",
        "default_memory": "",
        "default_hugepages": {"2Mi": "1Gi"},
        "client_subjects": ["a", "b:c"],
        "warn_workloads": False,
        "huge_dir": "/mnt/a b<\"'c",
    }
    settings = Installation(read(installers.helm({"settings": given}))).settings
    assert {name: settings[name] for name in given} == {
        "max_cpu": "1000000",
        "shed_after": "0.25",
        "default_cpu": "1500m",
        "default_memory": "",
        "default_hugepages": '{"2Mi":"1Gi"}',
        "client_subjects": "a,b:c",
        "warn_workloads": "false",
        "huge_dir": "/mnt/a b<\"'c",
    }
