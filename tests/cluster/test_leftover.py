"""What an uninstall leaves over is seen, whatever it is and wherever."""

import pytest

from tests.cluster import leftover
from tests.cluster.cluster import Cluster
from tests.cluster.leftover import Found, everything, left_over, lost, resources


def test_each_thing_that_is_left_is_named(cluster: Cluster) -> None:
    with cluster.namespace() as namespace, cluster.namespace() as others:
        before = everything(cluster, without={others})
        cluster.kubectl("create", "secret", "generic", "forgotten", "--namespace", namespace)
        cluster.kubectl("create", "clusterrole", "forgotten", "--verb=get", "--resource=pods")
        cluster.kubectl("create", "configmap", "not-ours", "--namespace", others)
        try:
            after = everything(cluster, without={others})
        finally:
            cluster.kubectl("delete", "clusterrole", "forgotten")
    assert left_over(before, after) == [
        "clusterroles.rbac.authorization.k8s.io forgotten",
        f"secrets {namespace}/forgotten",
    ]
    assert lost(before, after) == []


def test_what_was_made_anew_is_another_thing() -> None:
    before = frozenset({Found("secrets", "n", "tls", "1"), Found("nodes", "", "node", "2")})
    after = frozenset({Found("secrets", "n", "tls", "3")})
    assert left_over(before, after) == ["secrets n/tls"]
    assert lost(before, after) == ["nodes node", "secrets n/tls"]


def test_every_kind_that_an_installation_has_is_looked_through(cluster: Cluster) -> None:
    looked = set(resources(cluster))
    assert looked >= {
        "secrets",
        "services",
        "endpointslices.discovery.k8s.io",
        "replicasets.apps",
        "leases.coordination.k8s.io",
        "mutatingwebhookconfigurations.admissionregistration.k8s.io",
        "validatingadmissionpolicybindings.admissionregistration.k8s.io",
        "customresourcedefinitions.apiextensions.k8s.io",
    }
    assert not looked & {"events", "events.events.k8s.io", "bindings"}


def test_lists_of_many_pages_are_read_to_the_end(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = everything(cluster, without=frozenset())
    monkeypatch.setattr(leftover, "PAGE", 2)
    assert {found.resource for found in everything(cluster) ^ whole} <= {"leases.coordination.k8s.io"}
