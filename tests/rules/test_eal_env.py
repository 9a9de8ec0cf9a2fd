"""eal_env: one environment variable tells EAL where its hugepages are mounted."""

from typing import Any

from tests.minimal import (
    ANNOTATIONS,
    APP,
    POINTER,
    REMOVE,
    SECOND,
    Case,
    add,
    becomes,
    both,
    dpdk_container,
    each,
    huge_volume,
    is_warned,
    other_container,
    refused,
    replace,
    stays,
)

ENV, VALUE, ARGS = f"{APP}.env", f"{APP}.env.0.value", f"{APP}.args"
OURS = {"name": "DPDK_EAL_ARGS", "value": "--huge-dir=/dev/hugepages"}
BIG = {"name": "big", "mountPath": "/dev/hugepages-1Gi"}
TWO_SIZES = {
    **both("hugepages-1Gi", "1Gi"),
    "spec.volumes.1": huge_volume("big", "HugePages-1Gi"),
    f"{APP}.volumeMounts.1": BIG,
}
TWO_MOUNTS = {f"{APP}.volumeMounts.1": {"name": "huge", "mountPath": "/mnt/huge"}}
RUN = {f"{APP}.command": ["fwd"], ENV: REMOVE}

NOOP = [
    Case("row 59: compliant", {}),
    Case("row 43: two words", {VALUE: "--huge-dir /dev/hugepages"}),
    Case("row 43: between other options", {VALUE: "-l 2-3 --huge-dir=/dev/hugepages -n 4"}),
    Case("row 43: in quotes", {VALUE: "--huge-dir='/dev/hugepages' -l 2"}),
    Case("row 43: with a trailing slash", {VALUE: "--huge-dir=/dev/hugepages/"}),
    Case("row 43: the mount itself with a trailing slash", {f"{APP}.volumeMounts.0.mountPath": "/dev/hugepages/"}),
    Case("row 43: any of the container's hugepage mounts", {**TWO_MOUNTS, VALUE: "--huge-dir=/mnt/huge"}),
    Case("row 43: the mount of the smaller size", TWO_SIZES),
    Case("row 43: the mount of the larger size", {**TWO_SIZES, VALUE: "--huge-dir=/dev/hugepages-1Gi"}),
    Case("row 46: on the command line instead", {**RUN, ARGS: ["--huge-dir", "/dev/hugepages"]}),
    Case("row 46: within a shell's line", {**RUN, ARGS: ["-c", "exec fwd --huge-dir=/dev/hugepages -l 2"]}),
    Case(
        "row 46: on the command line and in the variable",
        {ARGS: ["--huge-dir=/dev/hugepages"]},
        ["eal_env: container app, --huge-dir twice: DPDK_EAL_ARGS holds it as well, and EAL takes it once; keep one"],
    ),
    Case("row 46: --in-memory", {**RUN, ARGS: ["--in-memory"]}),
    Case("row 46: --no-huge in the variable", {VALUE: "-l 2 --no-huge"}),
    Case(
        "row 54: another container's variable", {"spec.containers.1": other_container(env=[{**OURS, "value": "--huge-dir=/x"}])}
    ),
    Case("another name, by annotation", {f"{ENV}.0.name": "ARGS", f"{ANNOTATIONS}.dpdk/eal-env": "ARGS"}),
    Case("another name, by the site", {f"{ENV}.0.name": "ARGS"}, settings={"eal_env": "ARGS"}),
]


@each(NOOP)
def test_noop(case: Case) -> None:
    stays(case)


def prepended(value: str, name: str = "DPDK_EAL_ARGS") -> list[dict[str, Any]]:
    return [add(f"{POINTER}/env/0", {"name": name, "value": value})]


def rewritten(value: str) -> list[dict[str, Any]]:
    return [replace(f"{POINTER}/env/0/value", value)]


OTHERS = [{"name": "CMD", "value": "fwd $(DPDK_EAL_ARGS)"}]

CHANGES = [
    Case("row 41: no variables", {ENV: REMOVE}, [add(f"{POINTER}/env", [OURS])]),
    Case("row 41: null", {ENV: None}, [add(f"{POINTER}/env", [OURS])]),
    Case("row 41: in front of the variables that may use it", {ENV: OTHERS}, prepended("--huge-dir=/dev/hugepages")),
    Case("row 41: an empty list", {ENV: []}, prepended("--huge-dir=/dev/hugepages")),
    Case(
        "row 41: under the annotated name",
        {f"{ANNOTATIONS}.dpdk/eal-env": "ARGS"},
        prepended("--huge-dir=/dev/hugepages", "ARGS"),
    ),
    Case(
        "row 41: the annotated name beats the site's",
        {f"{ANNOTATIONS}.dpdk/eal-env": "ARGS"},
        prepended("--huge-dir=/dev/hugepages", "ARGS"),
        {"eal_env": "EAL"},
    ),
    Case("row 41: under the site's name", {}, prepended("--huge-dir=/dev/hugepages", "EAL"), {"eal_env": "EAL"}),
    Case("row 42: behind the user's own options", {VALUE: "-l 2-3"}, rewritten("-l 2-3 --huge-dir=/dev/hugepages")),
    Case("row 42: an empty value", {VALUE: ""}, rewritten("--huge-dir=/dev/hugepages")),
    Case("row 42: no value", {VALUE: REMOVE}, [add(f"{POINTER}/env/0/value", "--huge-dir=/dev/hugepages")]),
    Case(
        "row 42: an option that merely begins alike",
        {VALUE: "--huge-dirs=/x --x--huge-dir=/x --no-hugepages"},
        rewritten("--huge-dirs=/x --x--huge-dir=/x --no-hugepages --huge-dir=/dev/hugepages"),
    ),
    Case(
        "row 45: a variable from elsewhere is overridden",
        {ENV: REMOVE, f"{APP}.envFrom": [{}]},
        [add(f"{POINTER}/env", [OURS])],
    ),
    Case(
        "row 42: in front of what is the application's own",
        {VALUE: "-l 2-3 -- -p 0x1"},
        rewritten("-l 2-3 --huge-dir=/dev/hugepages -- -p 0x1"),
    ),
    Case("row 42: nothing for EAL yet", {VALUE: "-- -p 0x1"}, rewritten("--huge-dir=/dev/hugepages -- -p 0x1")),
    Case(
        "row 42: an option of the application's is not EAL's",
        {VALUE: "-l 2 -- --huge-dir=/x"},
        rewritten("-l 2 --huge-dir=/dev/hugepages -- --huge-dir=/x"),
    ),
    Case("row 29: the largest size", {**TWO_SIZES, VALUE: "-l 2"}, rewritten("-l 2 --huge-dir=/dev/hugepages-1Gi")),
    Case(
        "row 29: the annotated size",
        {**TWO_SIZES, VALUE: "-l 2", f"{ANNOTATIONS}.dpdk/huge-size": "2Mi"},
        rewritten("-l 2 --huge-dir=/dev/hugepages"),
    ),
    Case(
        "row 32: the path of the mount that is there",
        {VALUE: "", f"{APP}.volumeMounts.0.mountPath": "/mnt/huge"},
        rewritten("--huge-dir=/mnt/huge"),
    ),
    Case("row 32: the first of two mounts", {**TWO_MOUNTS, VALUE: ""}, rewritten("--huge-dir=/dev/hugepages")),
    Case(
        "every DPDK container",
        {**SECOND, ENV: REMOVE, "spec.containers.1.env": REMOVE},
        [add(f"{POINTER}/env", [OURS]), add("/spec/containers/1/env", [OURS])],
    ),
]


@each(CHANGES)
def test_changes(case: Case) -> None:
    becomes(case)
    assert {change.why for change in case.decide().changes} == {
        "EAL finds its hugepages there, once the image passes the variable on"
    }


def where(field: str) -> str:
    return f"(container app, spec.containers[0].{field})"


def elsewhere(field: str, path: str, instead: str) -> list[str]:
    detail = f"{path} is not a hugepage mount of this container; write {instead}"
    return [f"eal_env: --huge-dir elsewhere {where(field)}: {detail}"]


OPTION = "--huge-dir=/dev/hugepages"

REJECTS = [
    Case("row 44: another path", {VALUE: "--huge-dir=/x"}, elsewhere("env[0].value", "/x", OPTION)),
    Case("row 44: a path below the mount", {VALUE: f"{OPTION}/sub"}, elsewhere("env[0].value", "/dev/hugepages/sub", OPTION)),
    Case("row 44: another path in two words", {VALUE: "--huge-dir /x"}, elsewhere("env[0].value", "/x", OPTION)),
    Case("row 44: no path", {VALUE: "-l 2 --huge-dir"}, elsewhere("env[0].value", "it", OPTION)),
    Case("row 44: a mount that holds no hugepages", {VALUE: "--huge-dir=/data",
         f"{APP}.volumeMounts.1": {"name": "data", "mountPath": "/data"}}, elsewhere("env[0].value", "/data", OPTION)),
    Case("row 44: a path that depends on another variable", {VALUE: "--huge-dir=$(DIR)"},
         elsewhere("env[0].value", "$(DIR)", OPTION)),
    Case("row 44: twice", {VALUE: f"{OPTION} {OPTION}"},
         [f"eal_env: --huge-dir twice {where('env[0].value')}: "
          "a second one is fatal from DPDK 25.11 on; keep --huge-dir=/dev/hugepages"]),
    Case("row 44: from elsewhere", {f"{ENV}.0": {"name": "DPDK_EAL_ARGS", "valueFrom": {"configMapKeyRef": {"name": "eal"}}}},
         [f"eal_env: DPDK_EAL_ARGS from elsewhere {where('env[0].valueFrom')}: "
          "what it will hold can't be read here; write the value, or set another name with dpdk/eal-env"]),
    Case("row 44: set twice", {f"{ENV}.1": {"name": "A"}, f"{ENV}.2": OURS},
         [f"eal_env: variable set twice {where('env[2]')}: DPDK_EAL_ARGS is set 2 times and the last one wins; keep one"]),
    Case("row 46: elsewhere, in args", {ARGS: ["--huge-dir=/x"]}, elsewhere("args", "/x", "/dev/hugepages")),
    Case("row 46: elsewhere, in command", {f"{APP}.command": ["fwd", "--huge-dir", "/x"]},
         elsewhere("command", "/x", "/dev/hugepages")),
    Case("row 46: elsewhere, though --in-memory", {ARGS: ["--in-memory", "--huge-dir=/x"]},
         elsewhere("args", "/x", "/dev/hugepages")),
    Case("row 29: a size that the container does not ask for", {f"{ANNOTATIONS}.dpdk/huge-size": "1Gi"},
         ["eal_env: page size not requested (metadata.annotations[dpdk/huge-size]): container app has pages of 2Mi only"]),
    Case("row 29: a size beside two others", {**TWO_SIZES, f"{ANNOTATIONS}.dpdk/huge-size": "64Ki"},
         ["eal_env: page size not requested (metadata.annotations[dpdk/huge-size]): container app has pages of 2Mi, 1Gi only"]),
]  # fmt: skip


@each(REJECTS)
def test_rejects(case: Case) -> None:
    refused(case)


ONCE = "eal_env: container app, --huge-dir in the command line: DPDK_EAL_ARGS is not injected: EAL takes the option once"
DEPENDS = "eal_env: container app, --huge-dir in the command line: it depends on a variable; check that it is a hugepage mount"
NO_FILES = "EAL then creates no files; DPDK_EAL_ARGS gets no --huge-dir"
NO_PAGES = "EAL then uses no hugepages; DPDK_EAL_ARGS gets no --huge-dir"

WARNS = [
    Case("row 59: compliant", {}, []),
    Case("row 29: several sizes, and the author chose", TWO_SIZES, []),
    Case("row 29: several sizes", {**TWO_SIZES, VALUE: "-l 2"},
         ["eal_env: container app, several page sizes: --huge-dir names the 1Gi mount; choose with dpdk/huge-size"]),
    Case("row 29: several sizes, one of them annotated", {**TWO_SIZES, f"{ANNOTATIONS}.dpdk/huge-size": "2Mi"}, []),
    Case("row 29: two mounts of one size are not several sizes", TWO_MOUNTS, []),
    Case("row 45: variables from elsewhere", {ENV: REMOVE, f"{APP}.envFrom": [{"configMapRef": {"name": "eal"}}]},
         ["eal_env: container app, variables from elsewhere: a DPDK_EAL_ARGS in there can't be read here and is overridden"]),
    Case("row 45: variables from elsewhere beside a variable that wins", {f"{APP}.envFrom": [{}]}, []),
    Case("row 46: on the command line", {**RUN, ARGS: ["--huge-dir=/dev/hugepages"]}, [ONCE]),
    Case("row 46: on the command line, from a variable", {**RUN, ARGS: ["--huge-dir=$(DIR)"]}, [DEPENDS, ONCE]),
    Case("row 46: --in-memory", {**RUN, ARGS: ["--in-memory"]},
         [f"eal_env: container app, --in-memory in the command line: {NO_FILES}"]),
    Case("row 46: --no-huge", {**RUN, ARGS: ["--no-huge"]},
         [f"eal_env: container app, --no-huge in the command line: {NO_PAGES}"]),
    Case("row 46: --in-memory in the variable", {VALUE: "--in-memory"},
         [f"eal_env: container app, --in-memory in DPDK_EAL_ARGS: {NO_FILES}"]),
    Case("row 46: each container for itself", {"spec.containers.1": dpdk_container("fwd", "huge-fwd"),
         "spec.volumes.1": huge_volume("huge-fwd"), "spec.containers.1.args": ["--no-huge"]},
         [f"eal_env: container fwd, --no-huge in the command line: {NO_PAGES}"]),
]  # fmt: skip


@each(WARNS)
def test_warns(case: Case) -> None:
    is_warned(case)
