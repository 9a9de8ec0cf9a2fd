"""Of what was stored and what was deleted, the versions tell the order, whenever somebody heard of it."""

import time

from tests.cluster.cluster import Cluster
from tests.cluster.configured import MUTATING, PATH, POLICIES, Configured
from tests.cluster.tied import until

METADATA = {"metadata": {"name": "configured.example.com"}}
POLICY = METADATA | {
    "spec": {
        "matchConstraints": {
            "resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["nodes"]}]
        },
        "validations": [{"expression": "true"}],
    }
}


def test_a_configuration_comes_before_what_is_stored_with_it_and_goes_after_that(cluster: Cluster) -> None:
    began = time.monotonic()
    with cluster.namespace() as namespace, Configured(cluster) as configured:
        kinds = {MUTATING: "mutatingwebhookconfigurations", POLICIES[0]: "validatingadmissionpolicies"}
        for kind, resource in kinds.items():
            made = cluster.api("POST", f"{PATH}/{resource}", POLICY if kind in POLICIES else METADATA)
            assert made.status == 201, made.body
        stored = cluster.api("POST", f"/api/v1/namespaces/{namespace}/configmaps", {"metadata": {"name": "between"}})
        for resource in kinds.values():
            cluster.api("DELETE", f"{PATH}/{resource}/configured.example.com")

        def told() -> bool:
            return len(configured.since(began, "DELETED")) == len(kinds)

        until(told, seconds=10, waiting_for="both to be deleted")
        added, deleted = (configured.since(began, what) for what in ("ADDED", "DELETED"))
    version = int(stored.body["metadata"]["resourceVersion"])
    for kind in kinds:
        assert added[kind].version < version < deleted[kind].version
        assert began < added[kind].heard <= deleted[kind].heard
    assert configured.since(time.monotonic(), "ADDED") == {}


def test_it_goes_on_when_a_watch_ends(cluster: Cluster) -> None:
    began = time.monotonic()
    with Configured(cluster) as configured:
        time.sleep(2.5)  # each watch takes two seconds
        cluster.api("POST", f"{PATH}/mutatingwebhookconfigurations", METADATA)
        cluster.api("DELETE", f"{PATH}/mutatingwebhookconfigurations/configured.example.com")
        until(lambda: MUTATING in configured.since(began, "DELETED"), seconds=10, waiting_for="the end of it")
    assert [(event.kind, event.what) for event in configured.events] == [(MUTATING, "ADDED"), (MUTATING, "DELETED")]
