"""Whoever compares what is installed with the manifests is told of each difference, and of none that there isn't."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.drift import differences, drift
from tests.cluster.installers import Installer

ROLE: dict[str, Any] = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "metadata": {"name": "drifting"},
    "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
}


class Role(Installer):
    """Installs a ClusterRole; `again` changes a label of it each time if `restless`."""

    restless = False

    def prepare(self) -> None:
        pass

    def install(self) -> None:
        self._apply(ROLE)

    def upgrade(self) -> None:
        pass

    def rollback(self) -> None:
        pass

    def uninstall(self) -> None:
        self.cluster.kubectl("delete", "clusterrole", "drifting")

    def rendered(self) -> list[dict[str, Any]]:
        return [ROLE]

    def again(self) -> None:
        self._apply(ROLE)
        if self.restless:
            self.cluster.kubectl("patch", "clusterrole", "drifting", "--type=json", "-p", json.dumps(CHANGE))

    def _apply(self, document: dict[str, Any]) -> None:
        self.cluster.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(document))


CHANGE = [{"op": "replace", "path": "/rules/0/verbs", "value": ["list"]}]


@pytest.mark.parametrize("restless", [False, True])
def test_what_changes_by_itself_is_named_and_nothing_else(cluster: Cluster, tmp_path: Path, restless: bool) -> None:
    installer = Role(cluster, tmp_path)
    installer.restless = restless
    installer.install()
    try:
        found = drift(installer, 1.5)
    finally:
        installer.uninstall()
    assert found["applied"] >= 1
    assert found["objects"] == 1
    assert found["changed"]["installed again"] == (["ClusterRole drifting"] if restless else [])
    assert found["changed"]["applied by argocd-controller"] == []
    for text in found["diffs"].values():
        assert ("-  - list" in text and "+  - get" in text) if restless else text == ""


def test_an_object_that_came_or_went_is_a_difference_as_well() -> None:
    assert differences({"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "4", "d": "5"}) == ["b", "c", "d"]
