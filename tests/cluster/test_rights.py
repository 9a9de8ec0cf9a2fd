"""The account of deploy/overlays/self may do what it needs, and nothing else."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster.play import Figures
from tests.cluster.rights import ACTS, Right, broken, rights
from tests.minimal import tweaked


def test_the_rights_of_the_manifests_are_enough_and_each_of_them_is_missed(scenario: Callable[..., Figures]) -> None:
    figures = scenario("rights")
    assert figures["broken"] == []
    assert len(figures["without"]) == figures["rights"] > 10


ROLE: dict[str, Any] = {
    "kind": "Role",
    "metadata": {"name": "webhook", "namespace": "here"},
    "rules": [
        {"apiGroups": [""], "resources": ["secrets", "configmaps"], "resourceNames": ["tls"], "verbs": ["get", "update"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
    ],
}


def test_every_verb_on_every_resource_of_every_role_is_a_right() -> None:
    others = {"kind": "RoleBinding", "metadata": {"name": "webhook"}}
    cluster = {"kind": "ClusterRole", "metadata": {"name": "c"}, "rules": [{"resources": ["nodes"], "verbs": ["get"]}]}
    assert [str(right) for right in rights([others, ROLE, cluster])] == [
        "Role webhook, rule 0: get secrets",
        "Role webhook, rule 0: update secrets",
        "Role webhook, rule 0: get configmaps",
        "Role webhook, rule 0: update configmaps",
        "Role webhook, rule 1: create secrets",
        "ClusterRole c, rule 0: get nodes",
    ]


def test_a_right_is_removed_and_all_others_stay() -> None:
    every = {(right.resource, right.verb, bool(ROLE["rules"][right.rule].get("resourceNames"))) for right in rights([ROLE])}
    for right in rights([ROLE]):
        assert right.path == "/apis/rbac.authorization.k8s.io/v1/namespaces/here/roles/webhook"
        role = right.removed()
        left = {
            (resource, verb, "resourceNames" in rule)
            for rule in role["rules"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }
        assert every - left == {(right.resource, right.verb, right.rule == 0)}
        assert left < every


def test_the_api_server_is_asked_for_the_object_that_the_rule_names() -> None:
    attributes = Right(ROLE, 0, "secrets", "get").asked()["spec"]["resourceAttributes"]
    assert attributes == {"namespace": "here", "verb": "get", "group": "", "resource": "secrets", "name": "tls"}
    assert Right(ROLE, 1, "secrets", "create").asked()["spec"]["resourceAttributes"]["name"] == ""


DONE = {"done": list(ACTS), "ready": True, "forbidden": False, "cannot": []}
TRIED = DONE | {"done": [], "ready": True, "forbidden": True, "cannot": ["get secrets"], "verb": "get", "resource": "secrets"}
SEEN: Figures = {"with_all": DONE, "without": {"get": TRIED}}


@pytest.mark.parametrize("done", [[], ["installation"], list(ACTS)])
def test_a_right_is_missed_when_it_is_counted_and_logged_whatever_else_works(done: list[str]) -> None:
    assert broken(tweaked(SEEN, {"without.get.done": done})) == []


@pytest.mark.parametrize(
    "changes", [{"forbidden": False}, {"cannot": []}, {"cannot": ["get leases"]}, {"forbidden": False, "done": []}]
)
def test_a_right_that_nobody_misses_is_named(changes: dict[str, Any]) -> None:
    figures = tweaked(SEEN, {f"without.get.{key}": value for key, value in changes.items()})
    assert broken(figures) == ["nobody misses get"]


@pytest.mark.parametrize(("key", "value"), [("done", ["installation"]), ("forbidden", True)])
def test_rights_that_are_not_enough_are_named(key: str, value: object) -> None:
    [sentence] = broken(tweaked(SEEN, {f"with_all.{key}": value}))
    assert sentence.startswith("the rights of deploy/overlays/self are not enough: ")
