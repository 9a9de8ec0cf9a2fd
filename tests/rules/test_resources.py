"""resources: requests equal limits, and DPDK containers get whole CPUs."""

from typing import Any

from tests.minimal import ANNOTATIONS, APP, POINTER, REMOVE, Case, add, becomes, both, each, other_container, replace, stays

REQUESTS, LIMITS = f"{APP}.resources.requests", f"{APP}.resources.limits"
LOG = "spec.containers.1"
WITH_LOG = {LOG: other_container()}


def log(**resources: Any) -> dict[str, Any]:
    """Beside the DPDK container another one, with these resources."""
    return {LOG: other_container(resources=resources)}


NOOP = [
    Case("row 59: compliant", {}),
    *(
        Case(f"row 16: {amount!r} CPUs are whole and equal", both("cpu", amount))
        for amount in ("2000m", 2, 2.0, "2e0", "+2", "2.")
    ),
    Case("row 16: two spellings of one number", {f"{REQUESTS}.cpu": 2, f"{LIMITS}.cpu": "2000m"}),
    Case("row 16: two spellings of one amount", {f"{REQUESTS}.memory": "1024Mi", f"{LIMITS}.memory": 1073741824}),
    Case("a multiple of the step", both("cpu", "4"), settings={"cpu_step": 2}),
    Case("row 17: as many CPUs as the site allows", both("cpu", "1024")),
    Case("row 13: another container's fraction", WITH_LOG),
    Case("row 14: another container's whole number", log(requests={"cpu": 2, "memory": 1}, limits={"cpu": 2, "memory": 1})),
    Case("row 57: an init container's fraction", {"spec.initContainers": [other_container()]}),
    Case("row 56: a sidecar's fraction", {"spec.initContainers": [other_container(restartPolicy="Always")]}),
    Case(
        "row 13: the pod takes back what the site says",
        {**WITH_LOG, f"{ANNOTATIONS}.dpdk/whole-cpus": "dpdk"},
        settings={"whole_cpus": "all"},
    ),
    Case("row 58: devices", both("nic", "1")),
    Case(
        "another resource's request below its limit is the API's business",
        {f"{REQUESTS}.ephemeral-storage": "1Gi", f"{LIMITS}.ephemeral-storage": "2Gi"},
    ),
    Case("ephemeral containers have no resources", {"spec.ephemeralContainers": [{"name": "debug"}]}),
]


@each(NOOP)
def test_noop(case: Case) -> None:
    stays(case)


AT = f"{POINTER}/resources"
LOG_AT = "/spec/containers/1/resources"

CHANGES = [
    Case("row 8: no cpu at all", both("cpu", REMOVE), [add(f"{AT}/limits/cpu", "1"), add(f"{AT}/requests/cpu", "1")]),
    Case("row 8: 0 counts as unset", both("cpu", "0"), [replace(f"{AT}/limits/cpu", "1"), replace(f"{AT}/requests/cpu", "1")]),
    Case("row 8: null counts as unset", both("cpu", None), [add(f"{AT}/limits/cpu", "1"), add(f"{AT}/requests/cpu", "1")]),
    Case("row 8: the default is rounded up to the step", both("cpu", REMOVE),
         [add(f"{AT}/limits/cpu", "2"), add(f"{AT}/requests/cpu", "2")], {"cpu_step": 2}),
    Case("row 8: the site's own default", both("cpu", REMOVE),
         [add(f"{AT}/limits/cpu", "4"), add(f"{AT}/requests/cpu", "4")], {"default_cpu": "3500m"}),
    Case("row 10: only a limit", {f"{REQUESTS}.cpu": REMOVE}, [add(f"{AT}/requests/cpu", "2")]),
    Case("row 10: only a request", {f"{LIMITS}.cpu": REMOVE}, [add(f"{AT}/limits/cpu", "2")]),
    Case("row 10: a request of 0 beside a limit", {f"{REQUESTS}.cpu": 0}, [replace(f"{AT}/requests/cpu", "2")]),
    Case("row 10: no requests at all", {REQUESTS: {"hugepages-2Mi": "512Mi"}},
         [add(f"{AT}/requests/cpu", "2"), add(f"{AT}/requests/memory", "1Gi")]),
    Case("row 11: a request below its limit", {f"{REQUESTS}.cpu": "1"}, [replace(f"{AT}/requests/cpu", "2")]),
    Case("row 12: a fraction is rounded up to whole CPUs", both("cpu", "1500m"),
         [replace(f"{AT}/limits/cpu", "2"), replace(f"{AT}/requests/cpu", "2")]),
    Case("row 12: the smallest fraction", both("cpu", "0.0005"),
         [replace(f"{AT}/limits/cpu", "1"), replace(f"{AT}/requests/cpu", "1")]),
    Case("row 12: a whole number is rounded up to the step", both("cpu", "3"),
         [replace(f"{AT}/limits/cpu", "4"), replace(f"{AT}/requests/cpu", "4")], {"cpu_step": 4}),
    Case("rows 11 and 12: the limit is rounded up, and the request follows", {f"{REQUESTS}.cpu": "1", f"{LIMITS}.cpu": "1.5"},
         [replace(f"{AT}/limits/cpu", "2"), replace(f"{AT}/requests/cpu", "2")]),
    Case("rows 10 and 12: a lone request is rounded up", {f"{REQUESTS}.cpu": "1.5", f"{LIMITS}.cpu": REMOVE},
         [add(f"{AT}/limits/cpu", "2"), replace(f"{AT}/requests/cpu", "2")]),
    Case("row 19: the site's memory for a DPDK container", both("memory", REMOVE),
         [add(f"{AT}/limits/memory", "2Gi"), add(f"{AT}/requests/memory", "2Gi")], {"default_memory": "2048Mi"}),
    Case("row 19: 0 counts as unset", both("memory", 0),
         [replace(f"{AT}/limits/memory", "2Gi"), replace(f"{AT}/requests/memory", "2Gi")], {"default_memory": "2Gi"}),
    Case("row 21: only a memory limit", {f"{REQUESTS}.memory": REMOVE}, [add(f"{AT}/requests/memory", "1Gi")]),
    Case("row 21: only a memory request", {f"{LIMITS}.memory": REMOVE}, [add(f"{AT}/limits/memory", "1Gi")]),
    Case("row 21: a memory request below its limit", {f"{REQUESTS}.memory": "5Mi"}, [replace(f"{AT}/requests/memory", "1Gi")]),
    Case("rows 9 and 20: another container without resources", {LOG: {"name": "log"}}, [
        add(LOG_AT, {"limits": {"cpu": "100m"}}),
        add(f"{LOG_AT}/requests", {"cpu": "100m"}),
        add(f"{LOG_AT}/limits/memory", "128Mi"),
        add(f"{LOG_AT}/requests/memory", "128Mi"),
    ]),
    Case("rows 9 and 20: zeros", log(limits={"cpu": "0", "memory": 0}), [
        replace(f"{LOG_AT}/limits/cpu", "50m"),
        add(f"{LOG_AT}/requests", {"cpu": "50m"}),
        replace(f"{LOG_AT}/limits/memory", "64Mi"),
        add(f"{LOG_AT}/requests/memory", "64Mi"),
    ], {"other_cpu": "50m", "other_memory": "64Mi"}),
    Case("rows 11 and 13: another container's request becomes its limit",
         log(requests={"cpu": "100m", "memory": "64Mi"}, limits={"cpu": "1500m", "memory": "128Mi"}),
         [replace(f"{LOG_AT}/requests/cpu", "1500m"), replace(f"{LOG_AT}/requests/memory", "128Mi")]),
    Case("row 13: whole CPUs everywhere, says the site", WITH_LOG,
         [replace(f"{LOG_AT}/limits/cpu", "1"), replace(f"{LOG_AT}/requests/cpu", "1")], {"whole_cpus": "all"}),
    Case("row 13: whole CPUs everywhere, says the pod", {**WITH_LOG, f"{ANNOTATIONS}.dpdk/whole-cpus": "all"},
         [replace(f"{LOG_AT}/limits/cpu", "2"), replace(f"{LOG_AT}/requests/cpu", "2")], {"cpu_step": 2}),
    Case("row 57: an init container without resources", {"spec.initContainers": [{"name": "setup", "resources": None}]}, [
        add("/spec/initContainers/0/resources", {"limits": {"cpu": "100m"}}),
        add("/spec/initContainers/0/resources/requests", {"cpu": "100m"}),
        add("/spec/initContainers/0/resources/limits/memory", "128Mi"),
        add("/spec/initContainers/0/resources/requests/memory", "128Mi"),
    ]),
]  # fmt: skip


@each(CHANGES)
def test_changes(case: Case) -> None:
    becomes(case)


EQUAL = "exclusive CPUs need requests equal to limits in every container"
DEFAULT = "exclusive CPUs need it in every container; this site's default"
WHOLE = "a polling core cannot be shared; rounded up to whole CPUs"

REASONS = [
    Case("a default", both("cpu", REMOVE), [DEFAULT, DEFAULT]),
    Case("a default that the step rounds up", both("cpu", REMOVE), [DEFAULT, DEFAULT], {"cpu_step": 2}),
    Case("a copy", {f"{REQUESTS}.cpu": REMOVE}, [EQUAL]),
    Case("a copy of what is rounded up", {f"{REQUESTS}.cpu": REMOVE, f"{LIMITS}.cpu": "1500m"}, [WHOLE, EQUAL]),
    Case("a request that is raised", {f"{REQUESTS}.cpu": "1"}, [EQUAL]),
    Case("a fraction", both("cpu", "1500m"), [WHOLE, WHOLE]),
    Case("a step", both("cpu", "1"), [f"{WHOLE}, in steps of 2"] * 2, {"cpu_step": 2}),
    Case("memory", {f"{REQUESTS}.memory": "1"}, [EQUAL]),
]


@each(REASONS)
def test_reasons(case: Case) -> None:
    assert [change.why for change in case.decide().changes] == case.expected
