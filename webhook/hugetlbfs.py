"""The plan of a pod's hugepages: how much each container gets, and the mount by which each DPDK container reaches it.

Two rules stand on this plan: one writes it, the other names a mount of it to EAL. It is computed from the pod alone and is
the same before and after either of them wrote, so that their order does not matter.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, count
from posixpath import normpath
from typing import Any, Final

from msgspec import Struct

from webhook.edits import Reject, Warn
from webhook.options import mount_path_problem
from webhook.pages import Pages, pages
from webhook.pagesize import PageSize, medium_size
from webhook.path import Path, shown
from webhook.pod import HUGEPAGES, Container, Pod
from webhook.settings import Settings

_SIZES: Final = 16  # in one pod; an architecture has four at most


class Mount(Struct, frozen=True):
    """The mount by which one DPDK container reaches its pages of one size."""

    container: Container
    size: PageSize
    path: str
    volume: str
    is_mounted: bool
    has_volume: bool


class Plan(Struct, frozen=True):
    """What there will be; a container that `problems` is about has no mount here."""

    pages: list[Pages]
    mounts: Mapping[Path, list[Mount]]  # by the container's path: smallest page size first, then in the container's order
    problems: list[Reject]
    notes: list[Warn]

    def of(self, container: Container) -> list[Mount]:
        """One DPDK container's mounts."""
        return self.mounts.get(container.path, [])


class _Volume(Struct, frozen=True):
    """An emptyDir whose medium is hugepages; size None is plain `HugePages`: whatever one size the pod requests."""

    name: str
    path: Path
    size: PageSize | None
    raw: dict[str, Any]


def plan(pod: Pod, settings: Settings) -> Plan:
    """Decide the amounts, then the mounts; the mounts only once every amount is known. Worked out once for a pod."""
    known: tuple[Settings, Plan] | None = pod.kept.get("plan")
    if known is None or known[0] is not settings:
        known = pod.kept["plan"] = (settings, _plan(pod, settings))
    return known[1]


def _plan(pod: Pod, settings: Settings) -> Plan:
    result = Plan([], defaultdict(list), [], [])
    for each in pages(pod, settings):
        match each:
            case Pages():
                result.pages.append(each)
            case Reject():
                result.problems.append(each)
            case _:
                result.notes.append(each)
    sizes = {page.size for page in result.pages}
    if len(sizes) > _SIZES:
        # each of them is looked for among all mounts
        detail = f"the pod asks for {len(sizes)}, and no node has more than a few; write those that it needs"
        result.problems.append(Reject(("spec", "containers"), "too many page sizes", detail))
    if not result.problems:
        planner = _Planner(pod, settings, result, sizes)
        if planner.volumes:
            planner.check_volumes()
        planner.decide_mounts()
    return result


class _Planner:
    """Whatever is looked up for every container or mount is gathered once: a pod has up to 3 MiB of them."""

    def __init__(self, pod: Pod, settings: Settings, result: Plan, sizes: set[PageSize]) -> None:
        self.pod = pod
        self.plan = result
        self.base = pod.options.huge_dir or settings.huge_dir
        self.sizes = sizes  # of the whole pod: the kubelet sums them up
        self.pages: dict[Path, list[Pages]] = defaultdict(list)
        for page in result.pages:
            self.pages[page.container.path].append(page)
        self.volumes = list(_volumes(pod))
        self.hugepage_volumes = {volume.name for volume in self.volumes}
        self.fitting = {size: {volume.name for volume in self.volumes if volume.size in (size, None)} for size in sizes}
        self.mounted = {mount.get("name") for container in pod.containers for mount in container.mounts}
        # a mount of a volume that does not exist must stay the API's to refuse, so its name is taken too
        self.taken = {volume.get("name") for volume in pod.volumes} | self.mounted
        self.names: dict[PageSize, Iterator[str]] = {}
        self.shared = _shared(pod.dpdk_containers) if self.volumes else set()

    def check_volumes(self) -> None:
        """A volume that fits nothing leaves the pod in FailedMount for ever."""
        wanted = ", ".join(str(size) for size in sorted(self.sizes))
        named = sorted(_named(self.pod) | {str(size) for size in self.sizes})
        for volume in self.volumes:
            medium, name = volume.raw["medium"], shown(volume.name, 63)
            if medium == "HugePages" and len(named) > 1:
                detail = f"volume {name} can't say which of {', '.join(named)} it holds; write medium HugePages-<size>"
                self.plan.problems.append(Reject(volume.path, "medium without a size", detail))
            elif medium != "HugePages" and volume.size not in self.sizes and self.sizes:
                detail = (
                    f"volume {name} is {shown(medium)}, and the pod's containers ask for {wanted} only; "
                    "remove it, or request its size"
                )
                self.plan.problems.append(Reject(volume.path, "volume of a size that nobody requests", detail))
            if volume.raw.get("sizeLimit") is not None:
                detail = f"volume {shown(volume.name, 20)}: the container's limit sizes the mount"
                self.plan.notes.append(Warn((*volume.path[:-1], "sizeLimit"), "sizeLimit on hugepages", detail))

    def decide_mounts(self) -> None:
        for container in self.pod.dpdk_containers:
            refused = self._check_mounts(container)
            for page in sorted(self.pages[container.path], key=lambda page: page.size):
                names = self.fitting[page.size]
                mounted = [(index, mount) for index, mount in enumerate(container.mounts) if (mount.get("name") or "") in names]
                if mounted:
                    self._keep(container, page.size, mounted, refused)
                else:
                    self._add(container, page.size)

    def _check_mounts(self, container: Container) -> set[int]:
        """Of any size, its own or not: what a DPDK container mounts of hugepages, EAL may take. The places of those refused."""
        refused: set[int] = set()
        if self.hugepage_volumes.isdisjoint([mount.get("name") or "" for mount in container.mounts]):
            return refused
        places: dict[str, list[int]] = defaultdict(list)
        for index, mount in enumerate(container.mounts):
            places[_normal(mount.get("mountPath") or "")].append(index)
        for index, mount in enumerate(container.mounts):
            if (mount.get("name") or "") not in self.hugepage_volumes:
                continue
            if mount.get("readOnly"):
                detail = f"EAL creates files in {shown(mount.get('mountPath') or '')}; remove readOnly"
                path = container.at("volumeMounts", index, "readOnly")
                self.plan.problems.append(Reject(path, "hugepages mounted read-only", detail))
                refused.add(index)
            # of the first two one is another: thousands in one place must not be compared with each other
            others = [other for other in places[_normal(mount.get("mountPath") or "")][:2] if other != index]
            if others:
                other = shown(container.mounts[others[0]].get("name") or "", 63)
                detail = f"volume {other} is mounted there as well; mount one of them elsewhere"
                path = container.at("volumeMounts", index, "mountPath")
                self.plan.problems.append(Reject(path, "mount path taken", detail))
                refused.add(index)
        return refused

    def _keep(
        self, container: Container, size: PageSize, mounted: list[tuple[int, Mapping[str, Any]]], refused: set[int]
    ) -> None:
        for index, mount in mounted:
            if index not in refused:
                self._keep_one(container, size, mount, container.at("volumeMounts", index))
        if self.pod.options.huge_dir and mounted[0][1].get("mountPath") not in (self.base, f"{self.base}-{size}"):
            detail = "dpdk/huge-dir: hugepages are mounted already, and that mount stands"
            self.plan.notes.append(Warn(container.at("volumeMounts", mounted[0][0]), "option not used", detail))

    def _keep_one(self, container: Container, size: PageSize, mount: Mapping[str, Any], path: Path) -> None:
        name, directory = mount.get("name") or "", mount.get("mountPath") or ""
        # a trailing slash is the only oddity that EAL overlooks
        unusable = mount_path_problem(directory.rstrip("/") or directory)
        if unusable:
            detail = f"'{shown(directory)}' {unusable}; write a path such as /dev/hugepages"
            self.plan.problems.append(Reject((*path, "mountPath"), "mount path that EAL can't use", detail))
            return
        self.plan.mounts[container.path].append(Mount(container, size, directory, name, is_mounted=True, has_volume=True))
        for field in ("subPath", "subPathExpr"):
            if mount.get(field):
                detail = "EAL's files land in a directory below its root"
                self.plan.notes.append(Warn((*path, field), "hugepages mounted by subPath", detail))
        if name in self.shared:
            self.shared.remove(name)  # said once
            detail = f"volume {shown(name, 20)}: each process needs its own --file-prefix"
            self.plan.notes.append(Warn((*path, "name"), "hugepage volume shared", detail))

    def _add(self, container: Container, size: PageSize) -> None:
        path = self.base if len(self.sizes) == 1 else f"{self.base}-{size}"
        place = _normal(path)
        for where, what, name, theirs in _places(container):
            relation = _overlap(place, theirs)
            if relation:
                what = what.format(shown(name or "", 63))
                detail = (
                    f'hugepages go to {path}, and {what} {relation}; choose another path, such as dpdk/huge-dir: "/mnt/huge"'
                )
                self.plan.problems.append(Reject(container.at(*where), "mount path taken", detail))
                return
        unmounted = self._unmounted(size) if len(self.pod.dpdk_containers) == 1 else None
        volume = self._free_name(size) if unmounted is None else unmounted
        mount = Mount(container, size, path, volume, is_mounted=False, has_volume=unmounted is not None)
        self.plan.mounts[container.path].append(mount)

    def _unmounted(self, size: PageSize) -> str | None:
        """A volume of this size that nobody mounts. Beside a second size a plain one is refused; mounting it for one of them
        would make it the other's as well."""
        usable = (size, None) if len(self.sizes) == 1 else (size,)
        names = {volume.name for volume in self.volumes if volume.size in usable}
        return min(names - self.mounted, default=None)

    def _free_name(self, size: PageSize) -> str:
        """A DNS label that no volume has."""
        base = f"{HUGEPAGES}{size}".lower()
        names = self.names.setdefault(size, chain((base,), (f"{base}-{number}" for number in count(2))))
        return next(name for name in names if name not in self.taken)


def _volumes(pod: Pod) -> Iterator[_Volume]:
    for index, raw in enumerate(pod.volumes):
        empty_dir = raw.get("emptyDir") or {}
        medium = empty_dir.get("medium") or ""
        if medium.startswith("HugePages"):
            size = None if medium == "HugePages" else medium_size(medium)
            yield _Volume(raw.get("name") or "", ("spec", "volumes", index, "emptyDir", "medium"), size, empty_dir)


def _named(pod: Pod) -> set[str]:
    """The page sizes that the kubelet counts for a plain `HugePages` medium: by name, amounts of 0 included."""
    amounts = [amounts for container in pod.containers for amounts in container.amounts]
    return {name.removeprefix(HUGEPAGES) for each in amounts for name in each if name.startswith(HUGEPAGES)}


def _shared(containers: Iterable[Container]) -> set[str]:
    """The volumes that more than one of these containers mounts."""
    users: dict[str, set[Path]] = defaultdict(set)
    for container in containers:
        for mount in container.mounts:
            users[mount.get("name") or ""].add(container.path)
    return {name for name, paths in users.items() if len(paths) > 1}


def _places(container: Container) -> Iterator[tuple[Path, str, str | None, str]]:
    """(where it is written, what it is, its name, the path) of everything that stands in a container's file system."""
    for index, mount in enumerate(container.mounts):
        where = ("volumeMounts", index, "mountPath")
        yield where, "volume {} is mounted", mount.get("name"), mount.get("mountPath") or ""
    for index, device in enumerate(container.raw.get("volumeDevices") or ()):
        where = ("volumeDevices", index, "devicePath")
        yield where, "the device of volume {} is", device.get("name"), device.get("devicePath") or ""
    message = container.raw.get("terminationMessagePath") or "/dev/termination-log"
    yield ("terminationMessagePath",), "the termination message is", None, message


def _overlap(ours: str, theirs: str) -> str | None:
    """How another path hides ours, which is in normal form, or is hidden by it, or None."""
    mine, other = f"{ours}/", f"{_normal(theirs).rstrip('/')}/"
    if mine == other:
        return "there"
    if mine.startswith(other):
        return f"above it, at {shown(theirs)}"
    return f"below it, at {shown(theirs)}" if other.startswith(mine) else None


def _normal(path: str) -> str:
    is_normal = path[:1] == "/" != path[-1:] and "//" not in path and "/." not in path
    return path if is_normal else normpath(f"/{path.lstrip('/')}")
