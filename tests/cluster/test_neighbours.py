"""Beside other mutating webhooks: whatever one of them does, the stored pod keeps the promise or its author reads why not.

A webhook that comes after us is the reason for our reinvocationPolicy IfNeeded: the API server asks us once more when the
pod has changed since. It asks nobody a third time; what is then still wrong, the validating webhook refuses.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.mutator import AFTER_US, BEFORE_US, Change, Mutator, Pod
from tests.cluster.webhook import Webhook
from tests.oracle import unexpected_changes, violations

MUTATING, VALIDATING = "mutate.pods.dpdk-webhook", "validate.pods.dpdk-webhook"
IN_BOTH_ORDERS = pytest.mark.parametrize("name", [BEFORE_US, AFTER_US])


@pytest.fixture(scope="module")
def mutator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mutator]:
    with Mutator(tmp_path_factory.mktemp("mutator")) as running:
        yield running


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one `kubectl create`."""

    told: list[str]  # kubectl's stderr, by lines
    pod: Pod | None  # as it is stored
    calls: tuple[int, int]  # of our mutating and our validating webhook
    seen: list[Pod]  # each pod as it came to the neighbour


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace in which a neighbour is registered for one pod at a time."""

    cluster: Cluster
    mutator: Mutator
    name: str

    def create(self, pod: Pod, neighbour_name: str, change: Change, *, policy: str = "Never") -> Outcome:
        """Create the pod beside this neighbour; if it is stored, it keeps the promise and holds what the neighbour added."""
        path = f"/api/v1/namespaces/{self.name}/pods"
        with self.mutator.registered(self.cluster, self.name, neighbour_name, change, policy=policy) as neighbour:
            without_us = self.cluster.api("POST", f"{path}?dryRun=All", _not_asking(pod)).body
            neighbour.seen.clear()
            before = self._calls()
            created = self.cluster.kubectl("create", "-n", self.name, "-f", "-", input=json.dumps(pod), check=False)
            mutating, validating = (after - count for after, count in zip(self._calls(), before, strict=True))
        stored = self.cluster.api("GET", path).body["items"]
        assert len(stored) == (created.returncode == 0), created.stderr
        for each in stored:
            as_sent = _comparable({**without_us, "metadata": each["metadata"]})
            assert violations(each, before=as_sent) == []
            assert each["status"]["qosClass"] == "Guaranteed"
            assert unexpected_changes(as_sent, _comparable(each)) == []
        lines = created.stderr.splitlines()
        return Outcome(lines, stored[0] if stored else None, (mutating, validating), neighbour.seen)

    def _calls(self) -> list[int]:
        return [self.cluster.webhook_calls(name) for name in (MUTATING, VALIDATING)]


@pytest.fixture
def namespace(cluster: Cluster, webhook: Webhook, mutator: Mutator) -> Iterator[Namespace]:
    with cluster.namespace() as name:
        yield Namespace(cluster, mutator, name)


def _not_asking(pod: Pod) -> Pod:
    """The pod that shows what Kubernetes and the neighbour make of it when nobody calls us."""
    annotations = {**pod["metadata"].get("annotations", {}), "dpdk": "false"}
    return {**pod, "metadata": {**pod["metadata"], "annotations": annotations}}


def _comparable(pod: Pod) -> Pod:
    return {"metadata": {"annotations": pod["metadata"]["annotations"]}, "spec": pod["spec"]}


def manifest(**annotations: str) -> Pod:
    """A pod of whose own values nothing needs a warning."""
    resources = {"limits": {"cpu": "2", "memory": "1Gi", "hugepages-2Mi": "64Mi"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "fwd", "annotations": {"dpdk": "true", **annotations}},
        "spec": {
            "automountServiceAccountToken": False,  # a volume with a name of its own in every pod
            "containers": [{"name": "app", "image": "app", "resources": resources}],
        },
    }


def refused(webhook: str, *reasons: str) -> list[str]:
    """What kubectl prints of a refusal: nothing but the webhook's name and its reasons, a line each."""
    count = "1 reason" if len(reasons) == 1 else f"{len(reasons)} reasons"
    head = f'The request is invalid: error when creating "STDIN": admission webhook "{webhook}" denied the request: '
    verdict = "this pod can't run DPDK as it is"
    if webhook == VALIDATING:
        verdict = "another webhook changed this pod after dpdk-webhook's turn, and now it can't run DPDK"
    return [f"{head}{verdict} ({count}):", *reasons]


def nothing(pod: Pod) -> None:
    """Be called, and leave the pod as it is."""


def test_neighbours_are_called_in_the_order_of_their_configurations_names(namespace: Namespace) -> None:
    for name, capabilities in ((BEFORE_US, None), (AFTER_US, {"add": ["IPC_LOCK"]})):
        outcome = namespace.create(manifest(), name, nothing)
        [seen] = outcome.seen
        assert seen["spec"]["containers"][0].get("securityContext", {}).get("capabilities") == capabilities
        assert outcome.calls == (1, 1), "who changes nothing costs no second call"
        namespace.cluster.api("DELETE", f"/api/v1/namespaces/{namespace.name}/pods/fwd?gracePeriodSeconds=0")


# A sidecar is injected


def injects(resources: Pod) -> Change:
    def change(pod: Pod) -> None:
        sidecar = {"name": "proxy", "image": "proxy", "restartPolicy": "Always", "resources": resources}
        pod["spec"]["initContainers"] = [sidecar]

    return change


FRACTIONAL = {"limits": {"cpu": "100m", "memory": "128Mi"}}
LIKE_ISTIO = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}}
WHOLE = {"limits": {"cpu": "1", "memory": "128Mi"}}


@IN_BOTH_ORDERS
@pytest.mark.parametrize(
    ("asked", "amounts", "told"),
    [
        pytest.param(FRACTIONAL, {"cpu": "100m", "memory": "128Mi"}, [], id="a fraction of a CPU"),
        pytest.param(
            {},
            {"cpu": "100m", "memory": "128Mi"},
            [
                "Warning: resources: container proxy, no cpu: it gets 100m; write what it needs",
                "Warning: resources: container proxy, no memory: it gets 128Mi; write what it needs",
            ],
            id="no amounts",
        ),
        pytest.param(
            LIKE_ISTIO,
            {"cpu": "2", "memory": "1Gi"},
            [
                "Warning: resources: container proxy, whole CPUs beside DPDK: it takes 2 exclusive CPUs; "
                "1900m stays in the shared pool"
            ],
            id="requests below limits",
        ),
        pytest.param(
            WHOLE,
            {"cpu": "1", "memory": "128Mi"},
            [
                "Warning: resources: container proxy, whole CPUs beside DPDK: it takes 1 exclusive CPU; "
                "900m stays in the shared pool"
            ],
            id="a whole CPU",
        ),
    ],
)
def test_a_sidecar_becomes_part_of_a_guaranteed_pod(
    namespace: Namespace, name: str, asked: Pod, amounts: Pod, told: list[str]
) -> None:
    outcome = namespace.create(manifest(), name, injects(asked))
    assert outcome.told == told
    assert outcome.pod is not None
    assert outcome.pod["spec"]["initContainers"][0]["resources"] == {"limits": amounts, "requests": amounts}
    assert outcome.calls == ((2, 1) if name == AFTER_US else (1, 1))


def test_what_we_say_in_both_rounds_reaches_the_author_once(namespace: Namespace) -> None:
    pod = manifest()
    pod["spec"]["securityContext"] = {"runAsUser": 1000, "fsGroup": 1000}
    warning = "ipc_lock: container app, not root: IPC_LOCK is in the bounding set only: the binary needs file capabilities"
    outcome = namespace.create(pod, AFTER_US, injects(FRACTIONAL))
    assert outcome.calls == (2, 1)
    assert outcome.told == [f"Warning: {warning}"]
    with namespace.mutator.registered(namespace.cluster, namespace.name, AFTER_US, injects(FRACTIONAL)):
        pod["metadata"]["name"] = "again"
        answer = namespace.cluster.api("POST", f"/api/v1/namespaces/{namespace.name}/pods", pod)
    assert answer.warnings == [warning], "it is the API server that drops the repetition, and not kubectl"


def test_a_line_about_several_containers_comes_again_when_a_sidecar_joins_them(namespace: Namespace) -> None:
    pod = manifest()
    pod["spec"]["containers"].append({"name": "log", "image": "log", "resources": {"limits": {"cpu": "2", "memory": "1Gi"}}})
    told = "whole CPUs beside DPDK: it takes 2 exclusive CPUs; 1900m stays in the shared pool"
    assert namespace.create(pod, AFTER_US, injects(LIKE_ISTIO)).told == [
        f"Warning: resources: container log, {told}",
        f"Warning: resources: containers log and proxy, {told}",
    ]


def test_a_sidecar_that_a_limit_range_gives_its_amounts_is_raised_in_the_second_round(namespace: Namespace) -> None:
    """The API server's own defaulting runs again as well, in front of us."""
    limits = {"type": "Container", "default": {"cpu": "500m", "memory": "256Mi"}, "defaultRequest": {"cpu": "250m"}}
    path = f"/api/v1/namespaces/{namespace.name}/limitranges"
    assert namespace.cluster.api("POST", path, {"metadata": {"name": "site"}, "spec": {"limits": [limits]}}).status == 201
    outcome = namespace.create(manifest(), AFTER_US, injects({}))
    assert outcome.told == [
        "Warning: resources: container proxy, LimitRange: its cpu 250m becomes 500m; "
        "the max and the quota are judged afterwards"
    ]
    assert outcome.pod is not None
    amounts = {"cpu": "500m", "memory": "256Mi"}
    assert outcome.pod["spec"]["initContainers"][0]["resources"] == {"limits": amounts, "requests": amounts}


def injects_an_app_container(pod: Pod) -> None:
    pod["spec"]["containers"].append({"name": "proxy", "image": "proxy", "resources": FRACTIONAL})


def by_annotation(**annotations: str) -> Pod:
    """A pod whose application asks for its hugepages by annotation: it runs DPDK because it is the only container."""
    pod = manifest(**{"dpdk/hugepages-2Mi": "64Mi"}, **annotations)
    del pod["spec"]["containers"][0]["resources"]["limits"]["hugepages-2Mi"]
    return pod


def test_a_second_app_container_in_front_of_us_makes_it_unclear_which_one_runs_dpdk(namespace: Namespace) -> None:
    assert namespace.create(by_annotation(), BEFORE_US, injects_an_app_container).told == [
        *refused(
            MUTATING,
            "options: unclear which container runs DPDK (metadata.annotations): "
            'none of app, proxy asks for hugepages; name one: dpdk/containers: "app"',
        ),
    ]


@IN_BOTH_ORDERS
def test_an_author_who_names_the_container_need_not_care_who_joins_it(namespace: Namespace, name: str) -> None:
    outcome = namespace.create(by_annotation(**{"dpdk/containers": "app"}), name, injects_an_app_container)
    assert outcome.told == []
    assert outcome.pod is not None


# What we gave is taken back


def loses_the_capability(pod: Pod) -> None:
    pod["spec"]["containers"][0]["securityContext"] = {"capabilities": {"add": ["NET_ADMIN"]}}


def unmounts_the_hugepages(pod: Pod) -> None:
    pod["spec"]["containers"][0]["volumeMounts"] = []


def removes_the_volume_too(pod: Pod) -> None:
    unmounts_the_hugepages(pod)
    pod["spec"]["volumes"] = []


def sets_the_variable(pod: Pod) -> None:
    pod["spec"]["containers"][0]["env"] = [{"name": "DPDK_EAL_ARGS", "value": "-l 2-3"}]


def lowers_the_cpus(pod: Pod) -> None:
    for side in ("limits", "requests"):
        pod["spec"]["containers"][0]["resources"][side]["cpu"] = "1500m"


APP = "container app, spec.containers[0]"
CAPABILITY = "pages are locked so that devices can reach them"
MOUNT = f"hugepages: {APP}.volumeMounts lacks hugepages-2mi /dev/hugepages: EAL creates its files in this hugetlbfs mount"
UNDOING: list[tuple[Change, list[str]]] = [
    (
        loses_the_capability,
        [f"ipc_lock: {APP}.securityContext.capabilities.add lacks IPC_LOCK: {CAPABILITY}"],
    ),
    (unmounts_the_hugepages, [MOUNT]),
    (
        removes_the_volume_too,
        ["hugepages: spec.volumes lacks hugepages-2mi: DPDK maps its memory from this volume", MOUNT],
    ),
    (
        sets_the_variable,
        [
            f"eal_env: {APP}.env[0].value is -l 2-3 and must be -l 2-3 --huge-dir=/dev/hugepages: "
            "EAL finds its hugepages there, once the image passes the variable on"
        ],
    ),
    (
        lowers_the_cpus,
        [
            f"resources: {APP}.resources.{side}.cpu is 1500m and must be 2: a polling core cannot be shared; "
            "rounded up to whole CPUs"
            for side in ("limits", "requests")
        ],
    ),
]


@pytest.mark.parametrize("undoes", [change for change, _ in UNDOING], ids=lambda change: change.__name__)
def test_what_is_undone_once_is_mended_without_a_word(namespace: Namespace, undoes: Change) -> None:
    outcome = namespace.create(manifest(), AFTER_US, undoes)
    assert outcome.told == []
    assert outcome.pod is not None
    assert outcome.calls == (2, 1)


@pytest.mark.parametrize(("undoes", "reasons"), UNDOING, ids=[change.__name__ for change, _ in UNDOING])
def test_a_neighbour_that_insists_gets_two_rounds_and_the_pod_is_refused_with_the_field(
    namespace: Namespace, undoes: Change, reasons: list[str]
) -> None:
    outcome = namespace.create(manifest(), AFTER_US, undoes, policy="IfNeeded")
    assert outcome.told == refused(VALIDATING, *reasons)
    assert outcome.calls == (2, 1)
    assert len(outcome.seen) == 2


def drops_the_capability(pod: Pod) -> None:
    capabilities = pod["spec"]["containers"][0].setdefault("securityContext", {}).setdefault("capabilities", {})
    capabilities["drop"] = ["IPC_LOCK"]


def sets_another_huge_dir(pod: Pod) -> None:
    pod["spec"]["containers"][0]["env"] = [{"name": "DPDK_EAL_ARGS", "value": "--huge-dir=/mnt/huge"}]


@IN_BOTH_ORDERS
@pytest.mark.parametrize(
    ("contradicts", "reason"),
    [
        (
            drops_the_capability,
            f"ipc_lock: IPC_LOCK dropped ({APP}.securityContext.capabilities.drop[0]): drop beats add; remove it there",
        ),
        (
            sets_another_huge_dir,
            f"eal_env: --huge-dir elsewhere ({APP}.env[0].value): "
            "/mnt/huge is not a hugepage mount of this container; write --huge-dir=/dev/hugepages",
        ),
    ],
    ids=["drop", "huge-dir"],
)
def test_what_contradicts_the_promise_is_refused_whoever_wrote_it(
    namespace: Namespace, name: str, contradicts: Change, reason: str
) -> None:
    outcome = namespace.create(manifest(), name, contradicts)
    assert outcome.told == refused(MUTATING, reason)
    assert outcome.calls == ((2, 0) if name == AFTER_US else (1, 0)), "the first round knew nothing of it"


def test_what_a_neighbour_would_have_given_after_us_does_not_spare_the_pod_our_refusal(namespace: Namespace) -> None:
    def gives_memory(pod: Pod) -> None:
        for amounts in pod["spec"]["containers"][0]["resources"].values():
            amounts["memory"] = "1Gi"

    pod = manifest()
    del pod["spec"]["containers"][0]["resources"]["limits"]["memory"]
    outcome = namespace.create(pod, AFTER_US, gives_memory)
    assert outcome.calls == (1, 0)
    assert outcome.seen == [], "a refusal ends the round"
    assert outcome.told == refused(
        MUTATING,
        f"resources: no memory ({APP}.resources.limits.memory): a guess could kill the application when it runs out; "
        "write how much it needs beside hugepages, such as 1Gi",
    )
    assert namespace.create(pod, BEFORE_US, gives_memory).told == []


# The annotation is somebody else's


def opts_in(pod: Pod) -> None:
    pod["metadata"].setdefault("annotations", {})["dpdk"] = "true"


def silent() -> Pod:
    pod = manifest()
    del pod["metadata"]["annotations"]
    return pod


def test_an_annotation_that_comes_before_us_is_as_good_as_the_authors(namespace: Namespace) -> None:
    outcome = namespace.create(silent(), BEFORE_US, opts_in)
    assert outcome.told == []
    assert outcome.pod is not None
    assert outcome.calls == (1, 1)


def test_an_annotation_that_comes_after_us_comes_too_late(namespace: Namespace) -> None:
    """No reinvocation brings a webhook in that was not called before; what remains is to refuse what can't be mended."""
    outcome = namespace.create(silent(), AFTER_US, opts_in)
    assert outcome.calls == (0, 1)
    assert outcome.told == refused(
        VALIDATING,
        "hugepages: spec.volumes lacks hugepages-2mi: DPDK maps its memory from this volume",
        MOUNT,
        f"ipc_lock: {APP}.securityContext.capabilities.add lacks IPC_LOCK: {CAPABILITY}",
        f"eal_env: {APP}.env lacks DPDK_EAL_ARGS --huge-dir=/dev/hugepages: "
        "EAL finds its hugepages there, once the image passes the variable on",
    )


def test_an_annotation_that_comes_after_us_does_no_harm_to_a_pod_that_needs_nothing(namespace: Namespace) -> None:
    pod = silent()
    pod["spec"]["volumes"] = [{"name": "huge", "emptyDir": {"medium": "HugePages-2Mi"}}]
    pod["spec"]["containers"][0] |= {
        "env": [{"name": "DPDK_EAL_ARGS", "value": "--huge-dir=/dev/hugepages"}],
        "volumeMounts": [{"name": "huge", "mountPath": "/dev/hugepages"}],
        "securityContext": {"capabilities": {"add": ["IPC_LOCK"]}},
    }
    outcome = namespace.create(pod, AFTER_US, opts_in)
    assert outcome.told == []
    assert outcome.pod is not None
    assert outcome.calls == (0, 1)
