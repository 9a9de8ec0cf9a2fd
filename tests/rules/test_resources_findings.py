"""resources: what it refuses and what it warns of."""

from typing import Any

from tests.minimal import ANNOTATIONS, APP, REMOVE, Case, both, each, is_warned, other_container, refused

REQUESTS, LIMITS = f"{APP}.resources.requests", f"{APP}.resources.limits"
LOG = "spec.containers.1"
WITH_LOG = {LOG: other_container()}


def where(field: str, container: str = "app", place: str = "spec.containers[0]") -> str:
    return f"(container {container}, {place}.resources.{field})"


def unreadable(sentence: str, value: Any, problem: str) -> Case:
    detail = f"resources: not a quantity {where('limits.cpu')}: {problem} is not a quantity; write a number such as 2"
    return Case(f"row 18: {sentence}", {f"{LIMITS}.cpu": value}, [detail])


REJECTS = [
    Case(
        "row 8: no cpu, and the site has no default",
        both("cpu", REMOVE),
        [
            f"resources: no cpu {where('limits.cpu')}: "
            "this site sets no default; write how many cores the application polls on, such as 2"
        ],
        {"default_cpu": ""},
    ),
    Case(
        "row 15: a cpu request above its limit",
        {f"{REQUESTS}.cpu": "3"},
        [
            f"resources: request above limit {where('requests.cpu')}: "
            "the request 3 is more than the limit 2; write one amount on both sides"
        ],
    ),
    Case(
        "row 15: a request above a limit of 0",
        {f"{LIMITS}.memory": 0},
        [
            f"resources: request above limit {where('requests.memory')}: "
            "the request 1Gi is more than the limit 0; write one amount on both sides"
        ],
    ),
    Case(
        "row 15: any resource, any container",
        {LOG: {**WITH_LOG[LOG], "resources": {"requests": {"nic": 2}, "limits": {"nic": 1, "cpu": 1, "memory": 1}}}},
        [
            f"resources: request above limit {where('requests.nic', 'log', 'spec.containers[1]')}: "
            "the request 2 is more than the limit 1; write one amount on both sides"
        ],
    ),
    Case(
        "row 17: more CPUs than the site allows",
        both("cpu", "2k"),
        [f"resources: too many CPUs {where('limits.cpu')}: 2k is above this site's max_cpu 1024; write fewer"],
    ),
    Case(
        "row 17: rounded up beyond what the site allows",
        both("cpu", "3500m"),
        [f"resources: too many CPUs {where('limits.cpu')}: 4 is above this site's max_cpu 3; write fewer"],
        {"max_cpu": 3},
    ),
    unreadable("a word", "two", "'two'"),
    unreadable("a capital K", "1K", "'1K'"),
    unreadable("empty", "", "''"),
    unreadable("a boolean", True, "a boolean"),
    unreadable("a list", [2], "a list"),
    unreadable("an object", {}, "an object"),
    Case(
        "row 18: an exponent without end",
        {f"{REQUESTS}.memory": "1e41"},
        [
            f"resources: not a quantity {where('requests.memory')}: "
            "'1e41' has an exponent beyond ±40; write a number such as 2"
        ],
    ),
    Case(
        "row 18: negative",
        both("memory", "-1Gi"),
        [f"resources: negative amount {where('requests.memory')}: -1Gi is below 0; write what the container needs"],
    ),
    Case(
        "row 18: negative beside a positive one",
        {f"{LIMITS}.cpu": "-2"},
        [f"resources: negative amount {where('limits.cpu')}: -2 is below 0; write what the container needs"],
    ),
    Case(
        "row 18: unreadable amounts of other resources",
        {f"{LIMITS}.ephemeral-storage": "lots", "spec.initContainers": [other_container()],
         "spec.initContainers.0.resources.requests.example~1com": "-1"},
        [
            f"resources: not a quantity {where('limits.ephemeral-storage')}: "
            "'lots' is not a quantity; write a number such as 2",
            f"resources: negative amount {where('requests[example~1com]', 'log', 'spec.initContainers[0]')}: "
            "-1 is below 0; write what the container needs",
        ],
    ),
    Case(
        "row 19: no memory, and the site has no default",
        both("memory", REMOVE),
        [
            f"resources: no memory {where('limits.memory')}: a guess could kill the application when it runs out; "
            "write how much it needs beside hugepages, such as 1Gi"
        ],
    ),
    Case(
        "every problem at once",
        {**both("cpu", "two"), **both("memory", "0"), f"{LIMITS}.nic": "-1"},
        [
            f"resources: not a quantity {where('requests.cpu')}: 'two' is not a quantity; write a number such as 2",
            f"resources: no memory {where('limits.memory')}: a guess could kill the application when it runs out; "
            "write how much it needs beside hugepages, such as 1Gi",
            f"resources: negative amount {where('limits.nic')}: -1 is below 0; write what the container needs",
        ],
    ),
]  # fmt: skip


@each(REJECTS)
def test_rejects(case: Case) -> None:
    refused(case)


POLLING = "and testpmd for one needs 2; write how many"

WARNS = [
    Case("row 59: compliant", {}, []),
    Case("row 13: another container's fraction", WITH_LOG, []),
    Case("row 12: what is rounded up is a change, not a warning", both("cpu", "1500m"), []),
    Case("row 8: a DPDK container gets the default", both("cpu", REMOVE),
         [f"resources: container app, no cpu: it gets 1, {POLLING}"]),
    Case("row 8: the default, in steps", both("cpu", REMOVE), [f"resources: container app, no cpu: it gets 2, {POLLING}"],
         {"cpu_step": 2}),
    Case("row 19: the site's memory", both("memory", REMOVE),
         ["resources: container app, no memory: it gets 1Gi; write what it needs"], {"default_memory": "1Gi"}),
    Case("rows 9 and 20: another container's defaults", {LOG: {"name": "log"}}, [
        "resources: container log, no cpu: it gets 100m; write what it needs",
        "resources: container log, no memory: it gets 128Mi; write what it needs",
    ]),
    Case("row 14: another container ends up whole",
         {**WITH_LOG, f"{LOG}.name": "istio-proxy", f"{LOG}.resources.limits.cpu": 2},
         [
             "resources: container istio-proxy, whole CPUs beside DPDK: "
             "it takes 2 exclusive CPUs; 1900m stays in the shared pool"
         ]),
    Case("row 14: a sidecar is another container",
         {"spec.initContainers": [other_container(restartPolicy="Always")], **both("cpu", 1, "spec.initContainers.0")},
         ["resources: container log, whole CPUs beside DPDK: it takes 1 exclusive CPU; 900m stays in the shared pool"]),
    Case("row 14: whole, and not in the steps in which exclusive CPUs come",
         {**WITH_LOG, **both("cpu", 3, LOG)},
         [
             "resources: container log, whole CPUs beside DPDK: "
             "3 is no multiple of 2; 2900m stays in the shared pool"
         ], {"cpu_step": 2}),
    Case("row 14: not where whole CPUs are what the pod asked for",
         {**WITH_LOG, **both("cpu", 2, LOG), f"{ANNOTATIONS}.dpdk/whole-cpus": "all"}, []),
]  # fmt: skip


@each(WARNS)
def test_warns(case: Case) -> None:
    is_warned(case)
