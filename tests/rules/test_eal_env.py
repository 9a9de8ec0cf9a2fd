"""eal_env: one environment variable tells EAL where its hugepages are mounted."""

from typing import Any

from tests.minimal import (
    ANNOTATIONS,
    APP,
    MINIMAL,
    POINTER,
    REMOVE,
    SECOND,
    Case,
    add,
    asking,
    becomes,
    both,
    decide,
    dpdk_container,
    each,
    huge_volume,
    is_warned,
    other_container,
    refused,
    replace,
    stays,
    tweaked,
    warned,
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
FROM = {"name": "MORE", "value": "--huge-dir=/dev/hugepages"}
DIR = {"name": "D", "value": "/dev/hugepages"}
POD_DIR = {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['dir']"}}}
SMALL_FWD = {  # a second container, with pages of 2Mi alone beside the first one's two sizes
    **TWO_SIZES,
    "spec.containers.1": dpdk_container("fwd", "huge-fwd"),
    "spec.volumes.2": huge_volume("huge-fwd"),
}

NOOP = [
    Case("row 59: compliant", {}),
    Case("row 43: two words", {VALUE: "--huge-dir /dev/hugepages"}),
    Case("row 43: between other options", {VALUE: "-l 2-3 --huge-dir=/dev/hugepages -n 4"}),
    Case("row 43: from a variable before it", {ENV: [FROM, {**OURS, "value": "-l 1 $(MORE)"}]}),
    Case("row 43: its path from a variable before it", {ENV: [DIR, {**OURS, "value": "--huge-dir=$(D)"}]}),
    Case("row 43: its path from a variable that no file here holds", {ENV: [POD_DIR, {**OURS, "value": "--huge-dir=$(D)"}]}),
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
    ),
    Case("row 46: in a shell's quotes", {**RUN, ARGS: ["-c", "exec fwd --huge-dir='/dev/hugepages' \"--file-prefix=x\""]}),
    Case("row 46: on a line of its own", {**RUN, ARGS: ["-ec", "exec fwd -l 2 \\\n  --huge-dir \\\n  /dev/hugepages\n"]}),
    *(
        Case(f"row 46: in front of a shell's {mark}", {**RUN, ARGS: ["-c", f"(fwd --huge-dir=/dev/hugepages{mark} sleep 1)"]})
        for mark in (";", "&", "|", "<", ">", ")&&")
    ),
    Case("row 46: from a variable", {f"{APP}.command": ["fwd"], ENV: [FROM], ARGS: ["$(MORE)"]}),
    Case("row 46: its path from a variable", {f"{APP}.command": ["fwd"], ENV: [DIR], ARGS: ["--huge-dir", "$(D)"]}),
    Case(
        "row 46: its path from variables that follow one another",
        {
            ENV: [{"name": "ROOT", "value": "/dev"}, {"name": "D", "value": "$(ROOT)/hugepages"}],
            ARGS: ["-c", "exec fwd --huge-dir=$(D)"],
        },
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


OPTION = "--huge-dir=/dev/hugepages"
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
    Case(
        "row 42: in front of a -- that a variable brings",
        {ENV: [{"name": "MORE", "value": "-n 4 -- -i"}, {**OURS, "value": "-l 2 $(MORE)"}]},
        [replace(f"{POINTER}/env/1/value", "--huge-dir=/dev/hugepages -l 2 $(MORE)")],
    ),
    Case(
        "row 42: beside a variable that holds another option",
        {ENV: [{"name": "MORE", "value": "-n 4"}, {**OURS, "value": "-l 2 $(MORE)"}]},
        [replace(f"{POINTER}/env/1/value", "-l 2 $(MORE) --huge-dir=/dev/hugepages")],
    ),
    Case(
        "row 42: a variable that follows is no reference yet",
        {ENV: [{**OURS, "value": "-l 2 $(MORE)"}, FROM]},
        rewritten("-l 2 $(MORE) --huge-dir=/dev/hugepages"),
    ),
    Case(
        "row 42: $$ is no reference",
        {ENV: [FROM, {**OURS, "value": "-l 2 $$(MORE)"}]},
        [replace(f"{POINTER}/env/1/value", "-l 2 $$(MORE) --huge-dir=/dev/hugepages")],
    ),
    Case(
        "row 46: an application's own option",
        {**RUN, ARGS: ["-l", "2", "--", "--huge-dir=/x"]},
        [add(f"{POINTER}/env", [OURS])],
    ),
    Case(
        "row 46: another command's option behind an application's",
        {**RUN, ARGS: ["-c", "fwd $DPDK_EAL_ARGS -- -i; other --huge-dir=/x"]},
        [add(f"{POINTER}/env", [OURS])],
    ),
    Case("row 46: a variable that uses ours is not another", {ENV: OTHERS, ARGS: ["$(CMD)"]}, prepended(OPTION)),
    Case(
        "row 29: the annotated size where the container has it, else its largest",
        {**SMALL_FWD, VALUE: "", "spec.containers.1.env": REMOVE, f"{ANNOTATIONS}.dpdk/huge-size": "1Gi"},
        [
            replace(f"{POINTER}/env/0/value", "--huge-dir=/dev/hugepages-1Gi"),
            add("/spec/containers/1/env", [OURS]),
        ],
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


def quoted(field: str, path: str, instead: str) -> list[str]:
    return [f"eal_env: --huge-dir elsewhere {where(field)}: {path} holds quotes, which stay; write {instead}"]


NO_SIZE = "eal_env: page size not requested (metadata.annotations[dpdk/huge-size])"

REJECTS = [
    Case("row 44: another path", {VALUE: "--huge-dir=/x"}, elsewhere("env[0].value", "/x", OPTION)),
    Case("row 44: a path below the mount", {VALUE: f"{OPTION}/sub"}, elsewhere("env[0].value", "/dev/hugepages/sub", OPTION)),
    Case("row 44: another path in two words", {VALUE: "--huge-dir /x"}, elsewhere("env[0].value", "/x", OPTION)),
    Case("row 44: no path", {VALUE: "-l 2 --huge-dir"}, elsewhere("env[0].value", "it", OPTION)),
    Case("row 44: a mount that holds no hugepages", {VALUE: "--huge-dir=/data",
         f"{APP}.volumeMounts.1": {"name": "data", "mountPath": "/data"}}, elsewhere("env[0].value", "/data", OPTION)),
    Case("row 44: another path, from a variable", {ENV: [{**DIR, "value": "/x"}, {**OURS, "value": "--huge-dir=$(D)"}]},
         elsewhere("env[1].value", "/x", OPTION)),
    Case("row 44: what looks like a reference", {VALUE: "--huge-dir=$$(D)"}, elsewhere("env[0].value", "$(D)", OPTION)),
    Case("row 44: the path in quotes", {VALUE: '--huge-dir="/dev/hugepages" -l 2'},
         quoted("env[0].value", '"/dev/hugepages"', OPTION)),
    Case("row 44: the whole option in quotes", {VALUE: "'--huge-dir=/dev/hugepages -l 2'"},
         quoted("env[0].value", "'/dev/hugepages", OPTION)),
    Case("row 44: twice", {VALUE: f"{OPTION} {OPTION}"},
         [f"eal_env: --huge-dir twice {where('env[0].value')}: "
          "a second one is fatal from DPDK 25.11 on; keep --huge-dir=/dev/hugepages"]),
    Case("row 44: twice, one from a variable", {ENV: [FROM, {**OURS, "value": f"{OPTION} $(MORE)"}]},
         [f"eal_env: --huge-dir twice {where('env[1].value')}: "
          "a second one is fatal from DPDK 25.11 on; keep --huge-dir=/dev/hugepages"]),
    Case("row 44: from elsewhere", {f"{ENV}.0": {"name": "DPDK_EAL_ARGS", "valueFrom": {"configMapKeyRef": {"name": "eal"}}}},
         [f"eal_env: DPDK_EAL_ARGS from elsewhere {where('env[0].valueFrom')}: "
          "what it will hold can't be read here; write the value, or set another name with dpdk/eal-env"]),
    Case("row 44: set twice", {f"{ENV}.1": {"name": "A"}, f"{ENV}.2": OURS},
         [f"eal_env: variable set twice {where('env[2]')}: DPDK_EAL_ARGS is set 2 times and the last one wins; keep one"]),
    Case("row 46: elsewhere, in args", {ARGS: ["--huge-dir=/x"]}, elsewhere("args", "/x", "/dev/hugepages")),
    Case("row 46: elsewhere, in command", {f"{APP}.command": ["fwd", "--huge-dir", "/x"]},
         elsewhere("command", "/x", "/dev/hugepages")),
    Case("row 46: elsewhere, in a shell's line", {ARGS: ["-c", "(fwd --huge-dir=/x; sleep 1)&"]},
         elsewhere("args", "/x", "/dev/hugepages")),
    Case("row 46: elsewhere, from a variable", {ENV: [{**DIR, "value": "/x"}], ARGS: ["--huge-dir=$(D)"]},
         elsewhere("args", "/x", "/dev/hugepages")),
    Case("row 46: quotes that no shell takes away", {ARGS: ["--huge-dir='/dev/hugepages'"]},
         quoted("args", "'/dev/hugepages'", "/dev/hugepages")),
    Case("row 46: elsewhere, though --in-memory", {ARGS: ["--in-memory", "--huge-dir=/x"]},
         elsewhere("args", "/x", "/dev/hugepages")),
    Case("row 29: a size that the container does not ask for", {f"{ANNOTATIONS}.dpdk/huge-size": "1Gi"},
         [f"{NO_SIZE}: no DPDK container has 1Gi pages; write 2Mi"]),
    Case("row 29: a size beside two others", {**TWO_SIZES, f"{ANNOTATIONS}.dpdk/huge-size": "64Ki"},
         [f"{NO_SIZE}: no DPDK container has 64Ki pages; write 2Mi or 1Gi"]),
    Case("row 29: a size that none of two containers asks for, said once",
         {**SMALL_FWD, f"{ANNOTATIONS}.dpdk/huge-size": "64Ki"},
         [f"{NO_SIZE}: no DPDK container has 64Ki pages; write 2Mi or 1Gi"]),
]  # fmt: skip


@each(REJECTS)
def test_rejects(case: Case) -> None:
    refused(case)


SILENT = [
    Case(
        "row 22: no container has hugepages", {**both("hugepages-2Mi", REMOVE), f"{ANNOTATIONS}.dpdk/huge-size": "1Gi", ENV: []}
    ),
    Case("row 37: the mount is read-only", {f"{APP}.volumeMounts.0.readOnly": True, ENV: []}),
    Case("row 37: that of one of two containers is", {**SECOND, f"{APP}.volumeMounts.0.readOnly": True, ENV: []}),
]


@each(SILENT)
def test_the_rule_is_silent_where_there_is_no_mount_to_name(case: Case) -> None:
    decision = case.decide()
    assert {finding.rule for finding in (*decision.rejections, *decision.warnings)} == {"hugepages"}
    assert decision.patch == []


LINE = "eal_env: container app, --huge-dir in the command line: "
ONCE = LINE + "DPDK_EAL_ARGS is not injected: EAL takes one"
DEPENDS = "it depends on a variable; name a hugepage mount"
NO_FILES = "no files: DPDK_EAL_ARGS gets no --huge-dir"
NO_PAGES = "no hugepages: DPDK_EAL_ARGS gets no --huge-dir"
ONE_WORD = ["eal_env: container app, one word on the command line: write sh -c 'exec app $DPDK_EAL_ARGS'"]
REFERENCE = ["eal_env: container app, reference in DPDK_EAL_ARGS: can't be read here; a second --huge-dir is fatal"]
UNSET = "eal_env: container app, $(DPDK_EAL_ARGS) in the command line: unset, so EAL gets this text; remove it"
BEHIND = "behind a lone --: read as the application's; EAL's go in front"
GROWING = [{"name": f"A{number}", "value": f"$(A{number - 1})" * 9} for number in range(1, 90)]
ALONE = {ARGS: ["-l", "2", "$(DPDK_EAL_ARGS)"]}
SEVERAL = "several page sizes: --huge-dir names that of 1Gi; choose with dpdk/huge-size"

WARNS = [
    Case("row 59: compliant", {}, []),
    Case("row 29: several sizes, and the author chose", TWO_SIZES, []),
    Case("row 29: several sizes", {**TWO_SIZES, VALUE: "-l 2"}, [f"eal_env: container app, {SEVERAL}"]),
    Case("row 29: several sizes, one of them annotated", {**TWO_SIZES, f"{ANNOTATIONS}.dpdk/huge-size": "2Mi"}, []),
    Case("row 29: several sizes, and the annotated one is another container's",
         {**TWO_SIZES, VALUE: "", f"{ANNOTATIONS}.dpdk/huge-size": "64Ki",
          "spec.containers.1": {**dpdk_container("fwd", "huge-fwd"),
                                "resources": asking(cpu="2", memory="1Gi", **{"hugepages-64Ki": "1Mi"})},
          "spec.volumes.2": huge_volume("huge-fwd", "HugePages-64Ki")},
         [f"eal_env: container app, {SEVERAL}"]),
    Case("row 29: one size, and the annotated one is another container's",
         {**SMALL_FWD, "spec.containers.1.env": REMOVE, f"{ANNOTATIONS}.dpdk/huge-size": "1Gi"}, []),
    Case("row 29: two mounts of one size are not several sizes", TWO_MOUNTS, []),
    Case("row 41: one word on the command line", {**ALONE, ENV: REMOVE}, []),
    Case("row 42: one word on the command line", {**ALONE, VALUE: ""}, []),
    Case("row 42: several words on the command line", {**ALONE, VALUE: "-l 2-3"}, ONE_WORD),
    Case("row 42: several words, once a variable is in its place",
         {**ALONE, ENV: [{"name": "MORE", "value": "-n 4"}, {**OURS, "value": "$(MORE)"}]}, ONE_WORD),
    Case("row 43: several words on the command line", {**ALONE, VALUE: "--huge-dir /dev/hugepages"}, ONE_WORD),
    Case("row 43: several words of a variable's",
         {**ALONE, ENV: [{**FROM, "value": f"-l 2 {OPTION}"}, {**OURS, "value": "$(MORE)"}]}, ONE_WORD),
    Case("row 43: a blank behind it on the command line", {**ALONE, VALUE: f"{OPTION} "}, ONE_WORD),
    Case("row 43: an application's words on the command line", {**ALONE, VALUE: f"{OPTION} -- -i"}, ONE_WORD),
    Case("row 42: several words, through another variable",
         {ENV: [{**OURS, "value": "-l 2"}, {"name": "ARGS", "value": "$(DPDK_EAL_ARGS)"}], ARGS: ["$(ARGS)"]}, ONE_WORD),
    Case("row 42: several words within a shell's line", {ARGS: ["-c", "exec fwd $(DPDK_EAL_ARGS) -- -i"], VALUE: "-l 2"}, []),
    Case("row 42: a variable that can't be read", {ENV: [POD_DIR, {**OURS, "value": "-l 1 $(D)"}]}, REFERENCE),
    Case("row 42: a variable that nobody knows", {VALUE: "$(X) -l 1"}, REFERENCE),
    Case("row 42: a part of a word that can't be read", {VALUE: "--file-prefix=$(POD)"}, []),
    Case("row 42: variables that grow beyond what an argument may hold",
         {ENV: [{"name": "A0", "value": "x" * 9000}, *GROWING, {**OURS, "value": "$(A89)"}]}, REFERENCE),
    Case("row 43: a path that depends on another variable", {VALUE: "--huge-dir=$(DIR)"},
         [f"eal_env: container app, --huge-dir in DPDK_EAL_ARGS: {DEPENDS}"]),
    Case("row 45: variables from elsewhere", {ENV: REMOVE, f"{APP}.envFrom": [{"configMapRef": {"name": "eal"}}]},
         ["eal_env: container app, variables from elsewhere: any DPDK_EAL_ARGS in there is overridden"]),
    Case("row 45: variables from elsewhere beside a variable that wins", {f"{APP}.envFrom": [{}]}, []),
    Case("row 46: on the command line", {**RUN, ARGS: ["--huge-dir=/dev/hugepages"]}, [ONCE]),
    Case("row 46: on the command line and in the variable", {ARGS: ["--huge-dir=/dev/hugepages"]},
         ["eal_env: container app, --huge-dir twice: DPDK_EAL_ARGS holds it too, and EAL takes it once; keep one"]),
    Case("row 46: on the command line beside other options", {ARGS: ["--huge-dir=/dev/hugepages"], VALUE: "-l 2"}, [ONCE]),
    *(Case(f"row 46: on the command line, from {what}", {**RUN, ARGS: ["-c", f"exec fwd --huge-dir={directory}"]},
           [LINE + DEPENDS, ONCE])
      for what, directory in (("a variable", "$(DIR)"), ("a shell's variable", "$DIR"), ("a part of it", "/dev/${DIR}"),
                              ("a command", "$(cat /dir)"), ("a command in back quotes", "`cat /dir`"))),
    Case("row 46: on the command line, beside a variable that is not set", {**RUN, ARGS: [OPTION, "$(DPDK_EAL_ARGS)"]},
         [ONCE, UNSET]),
    Case("row 46: --no-huge in a shell's line, beside a variable that is not set",
         {**RUN, ARGS: ["-c", "exec fwd --no-huge $(DPDK_EAL_ARGS)"]},
         [f"eal_env: container app, --no-huge in the command line: {NO_PAGES}", UNSET]),
    Case("row 46: on the command line, beside a variable that may be set elsewhere",
         {**RUN, f"{APP}.envFrom": [{}], ARGS: [OPTION, "$(DPDK_EAL_ARGS)"]}, [ONCE]),
    Case("row 46: an application's own option", {**RUN, ARGS: ["-l", "2", "--", "--huge-dir=/x"]},
         [f"eal_env: container app, --huge-dir {BEHIND}"]),
    Case("row 46: an option behind a launcher's --", {**RUN, f"{APP}.command": ["tini", "--"], ARGS: ["fwd", "--in-memory"]},
         [f"eal_env: container app, --in-memory {BEHIND}"]),
    Case("row 46: another command's option behind an application's",
         {**RUN, ARGS: ["-c", "fwd $DPDK_EAL_ARGS -- -i; other --huge-dir=/x"]},
         [f"eal_env: container app, --huge-dir {BEHIND}"]),
    Case("row 46: an application's option of another name", {**RUN, ARGS: ["-l", "2", "--", "-i"]}, []),
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


@each(WARNS)
def test_no_warning_is_cut_while_the_name_of_the_container_has_20_characters(case: Case) -> None:
    renamed = {**case.changes, f"{APP}.name": "a" * 20}
    assert not any("…" in sentence for sentence in warned(decide(tweaked(MINIMAL, renamed))))
