"""A stream of creates tells apart what was refused, what passed by, and what nobody answered."""

import time
from types import SimpleNamespace

from scripts.throwaway import free_ports
from tests.cluster.cluster import Cluster
from tests.cluster.stream import NOBODY, UNREACHABLE, Made, Stream
from tests.cluster.tied import until


def test_without_a_webhook_plain_pods_are_well_and_annotated_ones_pass_by(cluster: Cluster) -> None:
    # kube-system is excluded, so that it does not matter whether another test has registered the webhook
    with Stream(cluster, "kube-system", rate=50) as stream:
        until(lambda: len(stream.made()) >= 24, seconds=20, waiting_for="some creates")
    creates = stream.made()
    assert not any(create.refused for create in creates)
    assert all(create.unmutated is create.annotated for create in creates)
    assert sum(not create.annotated for create in creates) >= 8
    assert all((create.version > 0) is create.stored for create in creates)
    assert sum(create.stored for create in creates) >= 6
    left = cluster.api("GET", f"/api/v1/namespaces/kube-system/pods?fieldSelector=spec.schedulerName%3D{NOBODY}")
    assert left.body["items"] == []


def test_creates_that_nobody_answers_are_counted(cluster: Cluster) -> None:
    nobody = SimpleNamespace(url=f"https://127.0.0.1:{free_ports(1)[0]}", administrator=cluster.administrator)
    with Stream(nobody, "default", rate=50) as stream:  # type: ignore[arg-type]
        time.sleep(0.3)
    creates = stream.made()
    assert len(creates) > 5
    assert all(create.refused and create.problem.startswith(UNREACHABLE) for create in creates)


def test_what_is_told_of_a_plain_pod_is_never_that_it_passed_by() -> None:
    lacking = Made(annotated=False, stored=True, due=0, seconds=0, problem="no hugepages", version=1)
    assert not lacking.unmutated
    assert not lacking.refused
