"""The dpdk/… annotations, read strictly: what can't be understood is a problem with its key, and counts as not given."""

from typing import Any

import pytest

from webhook.options import (
    KEYS,
    Options,
    chosen_path_problem,
    env_name_problem,
    mount_path_problem,
    read_options,
    whole_pages_problem,
)
from webhook.pagesize import PageSize
from webhook.path import dotted
from webhook.quantity import parse

MI2, GI1 = PageSize(2**21), PageSize(2**30)

UNDERSTOOD: list[tuple[str, dict[str, Any], Options]] = [
    ("no option at all", {"dpdk": "true", "dpdk.example/huge-dir": "x", "team": "net"}, Options()),
    ("one container", {"dpdk/containers": "app"}, Options(containers=("app",))),
    ("several containers, blanks or not", {"dpdk/containers": "app, fwd"}, Options(containers=("app", "fwd"))),
    ("an amount", {"dpdk/hugepages-2Mi": "1Gi"}, Options(hugepages=((MI2, parse("1Gi")),))),
    (
        "several amounts, the smallest pages first",
        {"dpdk/hugepages-1Gi": "2Gi", "dpdk/hugepages-2Mi": "4Mi"},
        Options(hugepages=((MI2, parse("4Mi")), (GI1, parse("2Gi")))),
    ),
    ("any size", {"dpdk/hugepages-64Ki": "64Ki"}, Options(hugepages=((PageSize(2**16), parse("64Ki")),))),
    ("a mount path", {"dpdk/huge-dir": "/mnt/huge"}, Options(huge_dir="/mnt/huge")),
    ("which size --huge-dir names", {"dpdk/huge-size": "1Gi"}, Options(huge_size=GI1)),
    ("the name of the variable", {"dpdk/eal-env": "EAL_ARGS"}, Options(eal_env="EAL_ARGS")),
    ("whole CPUs everywhere", {"dpdk/whole-cpus": "all"}, Options(whole_cpus=True)),
    ("whole CPUs for DPDK only", {"dpdk/whole-cpus": "dpdk"}, Options(whole_cpus=False)),
]


@pytest.mark.parametrize(("annotations", "expected"), [row[1:] for row in UNDERSTOOD], ids=[row[0] for row in UNDERSTOOD])
def test_understood(annotations: dict[str, str], expected: Options) -> None:
    assert read_options(annotations) == expected


KNOWN = "known are containers, eal-env, huge-dir, huge-size, hugepages-1Gi, hugepages-2Mi, whole-cpus"
SIZES = "known sizes are 64Ki, 2Mi, 32Mi, 512Mi, 1Gi"

# row 63
MISUNDERSTOOD: list[tuple[str, str | None, str, str]] = [
    ("dpdk/containers", "", "malformed option", "'' is not a list of container names, such as app,fwd"),
    ("dpdk/containers", None, "malformed option", "'' is not a list of container names, such as app,fwd"),
    ("dpdk/containers", "app,,fwd", "malformed option", "'app,,fwd' is not a list of container names, such as app,fwd"),
    ("dpdk/containers", "app,", "malformed option", "'app,' is not a list of container names, such as app,fwd"),
    ("dpdk/huge-dir", "x y", "malformed option", "'x y' is not an absolute path; write a path such as /dev/hugepages"),
    ("dpdk/huge-size", "2MB", "unknown page size", "no node advertises '2MB'; write 2Mi"),
    ("dpdk/huge-size", "huge", "unknown page size", f"no node advertises 'huge'; {SIZES}"),
    ("dpdk/eal-env", "EAL ARGS", "malformed option", "'EAL ARGS' is not a name that a shell can read, such as DPDK_EAL_ARGS"),
    ("dpdk/eal-env", "A\nB", "malformed option", "'A\\nB' is not a name that a shell can read, such as DPDK_EAL_ARGS"),
    ("dpdk/whole-cpus", "true", "malformed option", "'true' is neither all nor dpdk"),
    ("dpdk/hugepages-1G", "1Gi", "unknown page size", "no node advertises '1G'; write dpdk/hugepages-1Gi"),
    ("dpdk/hugepages-", "1Gi", "unknown page size", f"no node advertises ''; {SIZES}"),
    ("dpdk/hugepages-2Mi", "two", "malformed option", "'two' is not a quantity; write an amount such as 2Gi"),
    ("dpdk/hugepages-2Mi", "", "malformed option", "'' is not a quantity; write an amount such as 2Gi"),
    ("dpdk/hugepages-2Mi", "0", "malformed option", "0 is not an amount above 0"),
    ("dpdk/hugepages-2Mi", "-2Mi", "malformed option", "-2Mi is not an amount above 0"),
    ("dpdk/hugepages-2Mi", "3Mi", "malformed option", "3Mi is not a whole number of 2Mi pages; write 4Mi"),
    ("dpdk/hugepages-1Gi", "1G", "malformed option", "1G is not a whole number of 1Gi pages; write 1Gi"),
    ("dpdk/container", "app", "unknown option", "did you mean dpdk/containers?"),
    ("dpdk/hugepage-2Mi", "1Gi", "unknown option", "did you mean dpdk/hugepages-2Mi?"),
    ("dpdk/hugedir", "/mnt", "unknown option", "did you mean dpdk/huge-dir?"),
    ("dpdk/colour", "blue", "unknown option", KNOWN),
    ("dpdk/", "", "unknown option", KNOWN),
    ("dpdk/" + "z" * 1_000, "", "unknown option", KNOWN),
]


@pytest.mark.parametrize(("key", "value", "reason", "detail"), MISUNDERSTOOD)
def test_row_63_misunderstood(key: str, value: str, reason: str, detail: str) -> None:
    options = read_options({key: value})
    [problem] = options.problems
    assert problem.path == ("metadata", "annotations", key)
    assert (problem.reason, problem.detail) == (reason, detail)
    assert options == Options(problems=(problem,))


def test_every_problem_is_found_and_the_rest_is_still_read() -> None:
    options = read_options({"dpdk/huge-dir": "x", "dpdk/eal-env": "A", "dpdk/nothing": "", "dpdk/huge-size": "2Mi"})
    assert [dotted(problem.path) for problem in options.problems] == [
        "metadata.annotations[dpdk/huge-dir]",
        "metadata.annotations[dpdk/nothing]",
    ]
    assert (options.eal_env, options.huge_size, options.huge_dir) == ("A", MI2, None)


def test_an_amount_that_was_misread_is_known_to_have_been_meant() -> None:
    assert read_options({"dpdk/hugepages-2Mi": "lots"}).misread("dpdk/hugepages-")
    assert not read_options({"dpdk/huge-dir": "x"}).misread("dpdk/hugepages-")


def test_the_keys_that_a_near_miss_is_compared_with_are_options_themselves() -> None:
    valid = {"containers": "a", "eal-env": "A", "huge-dir": "/a", "huge-size": "2Mi", "whole-cpus": "all"}
    for key in KEYS:
        assert read_options({f"dpdk/{key}": valid.get(key, "1Gi")}).problems == ()


BLANK = "has a blank, a colon, a character that a shell reads, an empty part or a trailing slash"

# row 39
PATHS: list[tuple[str, str | None]] = [
    ("/dev/hugepages", None),
    ("/mnt/huge_1.0-a", None),
    ("/mnt/größe", None),
    ("/..huge", None),
    ("/a/...", None),
    ("", "is not an absolute path"),
    ("dev/hugepages", "is not an absolute path"),
    ("./huge", "is not an absolute path"),
    ("/", "is the root"),
    ("/mnt/my huge", BLANK),
    ("/mnt/huge ", BLANK),
    ("/mnt/\thuge", BLANK),
    ("/mnt/huge\n", BLANK),
    ("/mnt/\u00a0huge", BLANK),
    ("/mnt/\u202ehuge", BLANK),
    ("/mnt/a:b", BLANK),
    ("/mnt/it's", BLANK),
    ('/mnt/"huge"', BLANK),
    ("/mnt/$(NODE)", BLANK),
    ("/mnt/*", BLANK),
    ("/mnt/a;b", BLANK),
    ("/mnt/a`b`", BLANK),
    ("/mnt/a\\b", BLANK),
    ("/mnt//huge", BLANK),
    ("//mnt", BLANK),
    ("/mnt/huge/", BLANK),
    ("/mnt/../huge", "has a part . or .."),
    ("/mnt/./huge", "has a part . or .."),
    ("/..", "has a part . or .."),
]


@pytest.mark.parametrize(("path", "problem"), PATHS)
def test_row_39_mount_paths(path: str, problem: str | None) -> None:
    assert mount_path_problem(path) == problem


SYSTEM = "belongs to the system, which a mount there would hide"
CHOSEN: list[tuple[str, str | None]] = [
    ("/dev/hugepages", None),
    ("/mnt", None),
    ("/" + "a" * 254, None),
    ("/" + "a" * 255, "has more than 255 characters"),
    ("/dev", SYSTEM),
    ("/etc", SYSTEM),
    ("/proc/huge", SYSTEM),
    ("/sys/kernel", SYSTEM),
    ("/processes", None),
    ("mnt", "is not an absolute path"),
]


@pytest.mark.parametrize(("path", "problem"), CHOSEN)
def test_row_39_paths_that_a_pod_or_a_site_chooses(path: str, problem: str | None) -> None:
    assert chosen_path_problem(path) == problem


NO_NAME = "is not a name that a shell can read, such as DPDK_EAL_ARGS"
OTHERS_NAME = "means something else to the container; write a name such as DPDK_EAL_ARGS"
NAMES: list[tuple[str, str | None]] = [("DPDK_EAL_ARGS", None), ("_a1", None), ("A" * 63, None), ("PATHS", None)]
NAMES += [(name, NO_NAME) for name in ("A" * 64, "", "1A", "A-B", "A.B", "A B", "Ä", "A\n", "A=B")]
NAMES += [(name, OTHERS_NAME) for name in ("PATH", "LD_PRELOAD", "KUBERNETES_SERVICE_HOST")]


@pytest.mark.parametrize(("name", "problem"), NAMES)
def test_names_of_variables(name: str, problem: str | None) -> None:
    assert env_name_problem(name) == problem


def test_options_without_end_are_one_problem() -> None:
    options = read_options({f"dpdk/x{number}": "" for number in range(101)})
    assert [(dotted(problem.path), problem.reason, problem.detail) for problem in options.problems] == [
        ("metadata.annotations", "too many options", "there are 101 dpdk/… keys; write what is needed")
    ]
    assert options.misread("dpdk/containers"), "no second complaint about what was not read"


PAGES: list[tuple[PageSize, str, str | None]] = [
    (MI2, "2Mi", None),
    (MI2, "4194304", None),
    (MI2, "1", "1 is not a whole number of 2Mi pages; write 2Mi"),
    (MI2, "1500m", "1500m is not a whole number of 2Mi pages; write 2Mi"),
    (GI1, "1500Mi", "1500Mi is not a whole number of 1Gi pages; write 2Gi"),
    (GI1, "1e9", "1e9 is not a whole number of 1Gi pages; write 1Gi"),
    (GI1, "0", "0 is not an amount above 0"),
]


@pytest.mark.parametrize(("size", "amount", "problem"), PAGES)
def test_row_25_whole_pages(size: PageSize, amount: str, problem: str | None) -> None:
    assert whole_pages_problem(size, parse(amount)) == problem
