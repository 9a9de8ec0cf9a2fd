"""Random cases reach every row of the table of decisions: what goes in, whatever should come out."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from typing import Any

import pytest

from tests.oracle.pod import (
    Container,
    amount,
    annotations,
    canonical_size,
    command_words,
    containers,
    dpdk_containers,
    eal_env,
    env_words,
    has_ipc_lock,
    huge_dirs,
    hugepage_mounts,
    hugepage_resources,
    hugepage_volumes,
    is_hugepages,
    is_promised,
    items,
    member,
    named_sizes,
    nested,
    same_path,
    sizes,
    volume_size,
)
from tests.oracle.promise import violations
from tests.oracle.quantity import UnreadableError, parse
from tests.soak.search import case
from tests.strategies import Case

Json = dict[str, Any]


class Met:
    """A case that opted in, as the rows speak of it; of `sides`, only what can be read."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.pod, self.site = case.pod, case.settings
        self.spec, self.notes = case.pod["spec"], annotations(case.pod)
        self.everyone = containers(case.pod)
        self.dpdk = dpdk_containers(case.pod)
        self.others = [c for c in self.everyone if c.path not in {d.path for d in self.dpdk}]
        self.volumes = hugepage_volumes(case.pod)
        self.eal = eal_env(case.pod, case.site)

    def amounts(self, who: list[Container], resource: str) -> Iterator[tuple[Any, Any]]:
        """(request, limit) of each that can be read; 0 where it is absent."""
        for container in who:
            with suppress(UnreadableError):
                yield amount(container, "requests", resource) or 0, amount(container, "limits", resource) or 0

    def any(self, who: list[Container], resource: str, wanted: Callable[[Any, Any], bool]) -> bool:
        return any(wanted(request, limit) for request, limit in self.amounts(who, resource))

    def written(self, who: list[Container], resource: str | None = None) -> list[Any]:
        """Every amount as it was written, of one resource or of all."""
        sides = [member(c.raw, "resources", side) for c in who for side in ("requests", "limits")]
        return [value for side in sides for name, value in side.items() if resource in (None, name)]

    def hugepages(self) -> Iterator[tuple[str, Container]]:
        """Each name of a hugepage resource and who has it."""
        return ((name, c) for c in self.everyone for name in hugepage_resources(c))

    def mounts(self) -> Iterator[tuple[Container, Json, bool]]:
        """Each mount of a DPDK container, and whether it is of hugepages."""
        return ((c, m, m["name"] in self.volumes) for c in self.dpdk for m in items(c.raw, "volumeMounts"))

    def entries(self) -> Iterator[tuple[Container, list[Json]]]:
        """Each DPDK container and its EAL variables."""
        return ((c, [e for e in items(c.raw, "env") if e["name"] == self.eal]) for c in self.dpdk)

    def said(self, holds: Callable[[list[str]], bool]) -> bool:
        """Whether some literal EAL variable has such words."""
        return any(len(e) == 1 and "valueFrom" not in e[0] and holds(env_words(c.raw, e[0])) for c, e in self.entries())

    def line(self, holds: Callable[[list[str]], bool]) -> bool:
        """Whether some DPDK container's command line has such words."""
        return any(holds(command_words(c, self.eal)) for c in self.dpdk)

    def added(self, side: str) -> list[list[str]]:
        """capabilities.add or drop of each DPDK container."""
        return [items(member(c.raw, "securityContext", "capabilities"), side) for c in self.dpdk]

    def reaches(self, path: str, mounts: list[Json]) -> bool:
        return any(same_path(path, mount["mountPath"]) for mount in mounts)


Row = Callable[[Met], object]


def _unreadable(value: object) -> bool:
    try:
        parse(value)
    except UnreadableError:
        return value is not None
    return False


def _huge_dir(words: list[str]) -> list[str]:
    return [path for path, _ in huge_dirs(words)]


def _free(m: Met) -> list[tuple[Container, int]]:
    """Each size that a DPDK container has and does not mount."""
    return [(c, size) for c in m.dpdk for size in sizes(c) if size not in {x.size for x in hugepage_mounts(m.pod, c)}]


def _user(m: Met) -> Iterator[tuple[Any, Any]]:
    """(runAsUser or runAsNonRoot, fsGroup) of each DPDK container that is not root."""
    pod = member(m.spec, "securityContext")
    for container in m.dpdk:
        own = member(container.raw, "securityContext")
        user = own.get("runAsUser") if own.get("runAsUser") is not None else pod.get("runAsUser")
        if user or (user is None and (own.get("runAsNonRoot") or pod.get("runAsNonRoot"))):
            yield user, pod.get("fsGroup")


def _above(resource: str) -> Row:
    return lambda m: m.any(m.everyone, resource, lambda request, limit: request > limit > 0)


def _spelled(amount: object) -> Row:
    return lambda m: any(type(v) is type(amount) and v == amount for v in m.written(m.dpdk, "cpu"))


def _odd(kind: type) -> Row:
    return lambda m: any(isinstance(v, kind) and _unreadable(v) for v in m.written(m.everyone))


def _names(resource: str) -> Row:
    return lambda m: any(name == resource for name, _ in m.hugepages())


def _placed(relation: Callable[[str, str], bool]) -> Row:
    return lambda m: any(
        not huge and relation(mount["mountPath"].rstrip("/"), "/dev/hugepages") for _, mount, huge in m.mounts()
    )


def _how_mounted(field: str) -> Row:
    return lambda m: any(is_huge and field in mount for _, mount, is_huge in m.mounts())


def _noted(key: str, value: str) -> Row:
    return lambda m: m.notes.get(f"dpdk/{key}") == value


def _capability(side: str, name: str) -> Row:
    return lambda m: any(name in names for names in m.added(side))


def _has(field: str) -> Row:
    return lambda m: any(isinstance(c.raw.get(field), dict) for c in m.dpdk)


def _in_spec(field: str) -> Row:
    return lambda m: field in m.spec


ROWS: dict[str, Row] = {
    "2 an update": lambda m: m.case.operation == "UPDATE",
    "3 a mirror pod": lambda m: "kubernetes.io/config.mirror" in m.notes,
    "4 windows": lambda m: member(m.spec, "os").get("name") == "windows",
    "5 a user namespace": lambda m: m.spec.get("hostUsers") is False and not m.site.allow_user_namespaces,
    "5 a user namespace where they are allowed": lambda m: m.spec.get("hostUsers") is False and m.site.allow_user_namespaces,
    "6 pod resources": lambda m: any(member(m.spec, "resources").values()),
    "7 hollow pod resources": lambda m: "resources" in m.spec and not any(member(m.spec, "resources").values()),
    "8 no cpu": lambda m: m.any(m.dpdk, "cpu", lambda request, limit: request == limit == 0),
    "8 no cpu, and no default": lambda m: (
        not m.site.default_cpu and m.any(m.dpdk, "cpu", lambda request, limit: request == limit == 0)
    ),
    "8 cpu 0": lambda m: any(v is not None and not _unreadable(v) and parse(v) == 0 for v in m.written(m.dpdk, "cpu")),
    "9 no cpu in another": lambda m: m.any(m.others, "cpu", lambda request, limit: request == limit == 0),
    "10 a request alone": lambda m: m.any(m.dpdk, "cpu", lambda request, limit: request > limit == 0),
    "10 a limit alone": lambda m: m.any(m.others, "cpu", lambda request, limit: limit > request == 0),
    "11 a request below its limit": lambda m: m.any(m.dpdk, "cpu", lambda request, limit: 0 < request < limit),
    "12 a fraction": lambda m: m.any(m.dpdk, "cpu", lambda request, limit: limit % 1),
    "12 whole, and no multiple of the step": lambda m: m.any(
        m.dpdk, "cpu", lambda request, limit: limit and not limit % 1 and limit % m.site.cpu_step
    ),
    "13 a fraction in another": lambda m: m.any(m.others, "cpu", lambda request, limit: limit % 1),
    "13 a fraction in another, whole CPUs for all": lambda m: (
        m.site.whole_cpus == "all" and m.any(m.others, "cpu", lambda request, limit: limit % 1)
    ),
    "13 a pod that wants whole CPUs for all": lambda m: m.notes.get("dpdk/whole-cpus") == "all",
    "14 another that ends up whole": lambda m: m.any(m.others, "cpu", lambda request, limit: request < limit and not limit % 1),
    **{
        f"15 a {name} request above its limit": _above(name) for name in ("cpu", "memory", "hugepages-2Mi", "ephemeral-storage")
    },
    **{f"16 {value!r}": _spelled(value) for value in ("2", 2, "2000m", 2.0, "2e0", "+2", "2.")},
    "17 more CPUs than there are": lambda m: m.any(
        m.everyone, "cpu", lambda request, limit: max(request, limit) > m.site.max_cpu
    ),
    "18 a negative amount": lambda m: any(
        m.any(m.everyone, name, lambda request, limit: min(request, limit) < 0) for name in ("cpu", "memory")
    ),
    **{
        f"18 an amount that is {what}": _odd(of)
        for what, of in {"no number": str, "a list": list, "a boolean": bool, "an object": dict}.items()
    },
    "19 no memory": lambda m: (
        not m.site.default_memory and m.any(m.dpdk, "memory", lambda request, limit: request == limit == 0)
    ),
    "19 no memory, and a default": lambda m: (
        m.site.default_memory and m.any(m.dpdk, "memory", lambda request, limit: request == limit == 0)
    ),
    "20 no memory in another": lambda m: m.any(m.others, "memory", lambda request, limit: request == limit == 0),
    "21 memory alone or unequal": lambda m: m.any(m.everyone, "memory", lambda request, limit: request < limit),
    "22 no hugepages": lambda m: any(not sizes(c) for c in m.dpdk) and "dpdk/hugepages-" not in str(m.notes),
    "22 no hugepages, and an annotation": lambda m: any(not sizes(c) for c in m.dpdk) and "dpdk/hugepages-2Mi" in m.notes,
    "22 no hugepages, and a default": lambda m: any(not sizes(c) for c in m.dpdk) and m.site.default_hugepages,
    "23 hugepages alone": lambda m: m.any(m.dpdk, "hugepages-2Mi", lambda request, limit: bool(request) != bool(limit)),
    "24 hugepages unequal": lambda m: m.any(m.dpdk, "hugepages-2Mi", lambda request, limit: 0 < request < limit),
    "25 not whole pages": lambda m: m.any(m.dpdk, "hugepages-2Mi", lambda request, limit: limit % (2 << 20)),
    **{f"26 hugepages-{size}": _names(f"hugepages-{size}") for size in ("1024Mi", "1G", "2MB", "2mi", "3Mi")},
    **{f"27 hugepages-{size}": _names(f"hugepages-{size}") for size in ("64Ki", "32Mi", "512Mi", "16Mi", "16Gi")},
    "28 several sizes in the pod": lambda m: len(named_sizes(m.pod)) > 1 and all(len(sizes(c)) < 2 for c in m.dpdk),
    "29 several sizes in one container": lambda m: any(len(sizes(c)) > 1 for c in m.dpdk),
    "29 several sizes, one annotated": lambda m: any(len(sizes(c)) > 1 for c in m.dpdk) and "dpdk/huge-size" in m.notes,
    "30 a plain medium beside two sizes": lambda m: (
        len(named_sizes(m.pod)) > 1 and any(source["medium"] == "HugePages" for source in m.volumes.values())
    ),
    "31 a medium that nobody requests": lambda m: any(
        volume_size(m.pod, s) not in named_sizes(m.pod) for s in m.volumes.values()
    ),
    "32 mounted already": lambda m: any(is_huge and not mount.get("readOnly") for _, mount, is_huge in m.mounts()),
    "33 a volume and no mount": lambda m: (
        len(m.dpdk) == 1 and any(volume_size(m.pod, source) == size for source in m.volumes.values() for _, size in _free(m))
    ),
    "34 two DPDK containers": lambda m: len(m.dpdk) > 1,
    "34 two DPDK containers and one volume": lambda m: (
        len([1 for _, _, is_huge in m.mounts() if is_huge])
        > len({mount["name"] for _, mount, is_huge in m.mounts() if is_huge})
    ),
    "35 a name that is taken": lambda m: (
        _free(m) and {"hugepages-2mi", "hugepages-1gi"} & {v["name"] for v in items(m.spec, "volumes")}
    ),
    **{
        f"36 a path {what}": _placed(holds)
        for what, holds in {
            "that is taken": lambda theirs, ours: theirs == ours,
            "below": lambda theirs, ours: theirs.startswith(f"{ours}/"),
            "above": lambda theirs, ours: ours.startswith(f"{theirs}/"),
        }.items()
    },
    "36 a device in the way": lambda m: any(
        nested(d["devicePath"], "/dev/hugepages") for c in m.dpdk for d in items(c.raw, "volumeDevices")
    ),
    "36 the termination message in the way": lambda m: any(
        nested(c.raw.get("terminationMessagePath") or "/x", "/dev/hugepages") for c in m.dpdk
    ),
    "37 read-only": lambda m: any(is_huge and mount.get("readOnly") for _, mount, is_huge in m.mounts()),
    **{f"38 {field}": _how_mounted(field) for field in ("subPath", "subPathExpr")},
    **{
        f"39 the path {path!r}": _noted("huge-dir", path)
        for path in (
            "huge",
            "/",
            "x y",
            "/a:b",
            "/mnt/../huge",
            "/huge/",
            "/proc/huge",
            "/dev",
            "",
            "/run/huge",
            "/mnt/ключ-日本",
        )
    },
    "39 a path of the site's": lambda m: m.site.huge_dir == "/mnt/huge",
    "40 a size limit": lambda m: any("sizeLimit" in source for source in m.volumes.values()),
    "41 no variable": lambda m: any(not entries for _, entries in m.entries()),
    "42 a variable without --huge-dir": lambda m: m.said(lambda words: bool(words) and not _huge_dir(words)),
    "42 an empty variable": lambda m: m.said(lambda words: not words),
    "43 a variable with its own mount": lambda m: any(
        m.reaches(path, items(c.raw, "volumeMounts"))
        for c, e in m.entries()
        if len(e) == 1
        for path in _huge_dir(env_words(c.raw, e[0]))
    ),
    "44 a variable with another path": lambda m: m.said(lambda words: "/elsewhere" in _huge_dir(words)),
    "44 a variable from elsewhere": lambda m: any("valueFrom" in entry for _, entries in m.entries() for entry in entries),
    "44 a variable that is there twice": lambda m: any(len(entries) > 1 for _, entries in m.entries()),
    "44 --huge-dir twice": lambda m: m.said(lambda words: len(_huge_dir(words)) > 1),
    "45 envFrom": lambda m: any(c.raw.get("envFrom") and not entries for c, entries in m.entries()),
    "46 --in-memory": lambda m: m.line(lambda words: "--in-memory" in words),
    "46 --no-huge": lambda m: m.line(lambda words: "--no-huge" in words),
    "46 --huge-dir elsewhere": lambda m: m.line(lambda words: "/elsewhere" in _huge_dir(words)),
    "46 --huge-dir of a mount": lambda m: any(
        m.reaches(path, items(c.raw, "volumeMounts")) for c in m.dpdk for path in _huge_dir(command_words(c, m.eal))
    ),
    "47 no security context": lambda m: any(c.raw.get("securityContext") is None for c in m.dpdk),
    "47 no capabilities": lambda m: any(member(c.raw, "securityContext").get("capabilities", 0) is None for c in m.dpdk),
    "47 no added capability": lambda m: (
        any("add" in member(c.raw, "securityContext", "capabilities") for c in m.dpdk) and [] in m.added("add")
    ),
    **{
        f"48, 49 {name} added": _capability("add", name)
        for name in ("IPC_LOCK", "ipc_lock", "All", "CAP_IPC_LOCK", "Cap_Ipc_Lock", "CAP_ALL")
    },
    **{
        f"50, 51 {name} dropped": _capability("drop", name)
        for name in ("IPC_LOCK", "Cap_Ipc_Lock", "CAP_IPC_LOCK", "ALL", "all")
    },
    "52 privileged": lambda m: any(member(c.raw, "securityContext").get("privileged") for c in m.dpdk),
    "53 not root": lambda m: any(group is None for _, group in _user(m)),
    "53 not root, with a group": lambda m: any(group is not None for _, group in _user(m)),
    "53 not root by runAsNonRoot": lambda m: any(user is None for user, _ in _user(m)),
    "53 root in a pod that is not": lambda m: (
        member(m.spec, "securityContext").get("runAsUser")
        and any(member(c.raw, "securityContext").get("runAsUser") == 0 for c in m.dpdk)
    ),
    "54 another with capabilities": lambda m: any(member(c.raw, "securityContext", "capabilities") for c in m.others),
    "54 another with a hugepage volume": lambda m: any(hugepage_mounts(m.pod, c) for c in m.others),
    **{f"55 {field}": _has(field) for field in ("livenessProbe", "readinessProbe", "startupProbe", "lifecycle")},
    "56 a sidecar": lambda m: any(c.is_sidecar for c in m.others),
    "56 a sidecar that runs DPDK": lambda m: any(c.is_sidecar for c in m.dpdk),
    "57 a plain init container": lambda m: any(c.is_init and not c.is_sidecar for c in m.others),
    "57 a plain init container that asks for hugepages": lambda m: any(
        sizes(c) for c in m.others if c.is_init and not c.is_sidecar
    ),
    **{
        f"58 {field}": _in_spec(field)
        for field in (
            "runtimeClassName",
            "overhead",
            "schedulingGates",
            "nodeName",
            "hostNetwork",
            "tolerations",
            "ephemeralContainers",
        )
    },
    "58 a device": lambda m: "example.com/nic" in str(m.pod),
    "58 the downward API": lambda m: "fieldRef" in str(m.pod),
    "59 compliant": lambda m: is_promised(m.pod) and not violations(m.pod, settings=m.case.site),
    **{
        f"63 {key}: {value}": _noted(key, value)
        for key, value in (
            *(("containers", "app,ghost"), ("containers", ""), ("containers", "app,,fwd"), ("containers", "setup-0")),
            *(("hugepages-2Mi", "much"), ("hugepages-2Mi", "3Mi"), ("hugepages-2Mi", "0"), ("hugepages-2Mi", "-2Mi")),
            *(("hugepages-2MB", "1Gi"), ("hugepages-2mi", "1Gi"), ("huge-size", "4Mi"), ("huge-size", "1024Mi")),
            *(("eal-env", "1 A=B"), ("eal-env", "PATH"), ("eal-env", "a-b"), ("eal-env", "_a1"), ("whole-cpus", "yes")),
            *(("container", "app"), ("hugepage-2Mi", "1Gi"), ("Huge-Dir", "1Gi"), ("", "1Gi"), ("x" * 99, "1Gi")),
        )
    },
    "the container that is named": lambda m: "dpdk/containers" in m.notes and m.dpdk,
    "the default container": lambda m: (
        len(m.dpdk) == 1 < len([c for c in m.everyone if not c.is_init])
        and "kubectl.kubernetes.io/default-container" in m.notes
    ),
    "no container that can be told": lambda m: not m.dpdk and "dpdk/containers" not in m.notes,
    "limits that a LimitRange gave": lambda m: "kubernetes.io/limit-ranger" in m.notes,
    "IPC_LOCK that is there and not effective": lambda m: (
        any("ALL" in names for names in m.added("add")) and not all(has_ipc_lock(c) for c in m.dpdk)
    ),
    "18 an amount and a line break": lambda m: "2\n" in m.written(m.everyone),
    "another name for the variable": lambda m: m.eal != "DPDK_EAL_ARGS" and any(entries for _, entries in m.entries()),
    "a resource that only the API knows": lambda m: any(
        not is_hugepages(n) and n not in ("cpu", "memory") for c in m.everyone for n in member(c.raw, "resources", "limits")
    ),
    "a size that is spelled as no node does": lambda m: any(
        canonical_size(name.removeprefix("hugepages-")) != name.removeprefix("hugepages-") for name, _ in m.hugepages()
    ),
}


@cache
def reached() -> set[str]:
    """The rows that the first cases meet, and no more of them than it takes."""
    met: set[str] = set()
    for number in range(20_000):
        drawn = case(0, number)
        if annotations(drawn.pod).get("dpdk") == "true":
            view = Met(drawn)
            met.update(row for row, holds in ROWS.items() if row not in met and holds(view))
        if len(met) == len(ROWS):
            break
    return met


@pytest.mark.parametrize("row", ROWS)
def test_every_row_is_reached(row: str) -> None:
    assert row in reached()
