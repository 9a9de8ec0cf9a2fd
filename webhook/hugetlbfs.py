"""The hugepages that every container gets, and the hugetlbfs mount that each DPDK container reaches them by.

Two rules stand on this plan: one writes it, the other names a mount of it to EAL. It is computed from the pod alone and is
the same before and after either of them wrote, so that their order does not matter.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, count
from posixpath import normpath
from typing import Any

from webhook.edits import Reject, Warn
from webhook.options import mount_path_problem, whole_pages_problem
from webhook.pagesize import PageSize, PageSizeError, medium_size, page_size
from webhook.path import Path, shown
from webhook.pod import HUGEPAGES, Container, Pod
from webhook.quantity import Quantity, QuantityError, parse
from webhook.settings import Settings


@dataclass(frozen=True, slots=True)
class Pages:
    """So many bytes in pages of one size, for one container; `asked` where the container itself asks for them."""

    container: Container
    size: PageSize
    amount: Quantity
    asked: bool


@dataclass(frozen=True, slots=True)
class Mount:
    """The mount by which one DPDK container reaches its pages of one size."""

    container: Container
    size: PageSize
    path: str
    volume: str
    is_mounted: bool
    has_volume: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What there will be; a container that `problems` is about has no mount here."""

    pages: tuple[Pages, ...]
    mounts: tuple[Mount, ...]
    problems: tuple[Reject, ...]
    notes: tuple[Warn, ...]

    def of(self, container: Container) -> list[Mount]:
        """One DPDK container's mounts, smallest page size first, then in the container's order."""
        return [mount for mount in self.mounts if mount.container.path == container.path]


@dataclass(frozen=True, slots=True)
class _Volume:
    """An emptyDir whose medium is hugepages; size None is plain `HugePages`: whatever one size the pod requests."""

    name: str
    path: Path
    size: PageSize | None
    raw: dict[str, Any]


def plan(pod: Pod, settings: Settings) -> Plan:
    """Decide the amounts, then the mounts; the mounts only once every amount is known."""
    planner = _Planner(pod, settings)
    planner.decide_pages()
    if not planner.problems:
        planner.check_volumes()
        planner.decide_mounts()
    return Plan(tuple(planner.pages), tuple(planner.mounts), tuple(planner.problems), tuple(planner.notes))


class _Planner:
    def __init__(self, pod: Pod, settings: Settings) -> None:
        self.pod = pod
        self.settings = settings
        self.pages: list[Pages] = []
        self.mounts: list[Mount] = []
        self.problems: list[Reject] = []
        self.notes: list[Warn] = []
        self._shared: set[str] = set()  # volumes already spoken of

    # --- amounts

    def decide_pages(self) -> None:
        dpdk = {container.path for container in self.pod.dpdk_containers}
        for container in self.pod.containers:
            known = len(self.problems)
            asked = list(self._asked(container))
            self.pages += asked
            if container.path not in dpdk:
                continue
            if asked or len(self.problems) > known:
                self._note_unused_amounts(container, asked)
                continue
            given = self.pod.options.hugepages or self.settings.default_page_amounts
            self.pages += [Pages(container, size, amount, asked=False) for size, amount in given]
            if not given and not self.pod.options.hugepages_misread:
                self.problems.append(
                    Reject(
                        container.at("resources", "limits"),
                        "no hugepages",
                        'an amount can\'t be guessed; annotate the pod, such as dpdk/hugepages-2Mi: "1Gi"',
                    )
                )

    def _asked(self, container: Container) -> Iterator[Pages]:
        requests, limits = container.requests, container.limits
        for resource in dict.fromkeys([*limits, *requests]):
            if not resource.startswith(HUGEPAGES):
                continue
            side = "limits" if limits.get(resource) is not None else "requests"
            path = container.at("resources", side, resource)
            try:
                size = page_size(resource.removeprefix(HUGEPAGES))
                request, limit = (_amount(requests.get(resource)), _amount(limits.get(resource)))
            except PageSizeError as error:
                meant = f"write {HUGEPAGES}{error.canonical}" if error.canonical else "write a size such as hugepages-2Mi"
                self.problems.append(
                    Reject(path, "unknown page size", f"no node advertises {shown(resource)} by that name; {meant}")
                )
                continue
            except QuantityError as error:
                self.problems.append(Reject(path, "not a quantity", f"{error.problem}; write an amount such as 2Gi"))
                continue
            amount = limit if limit is not None else request
            if amount is None:
                continue
            if request is not None and limit is not None and request != limit:
                detail = f"the request {request} is not the limit {limit}; write one amount on both sides"
                self.problems.append(
                    Reject(container.at("resources", "requests", resource), "hugepages request is not the limit", detail)
                )
            elif amount.millis:
                problem = whole_pages_problem(size, amount)
                if problem:
                    self.problems.append(Reject(path, "not whole pages", problem))
                else:
                    yield Pages(container, size, amount, asked=True)

    def _note_unused_amounts(self, container: Container, asked: list[Pages]) -> None:
        have = {page.size: page.amount for page in asked}
        for size, amount in self.pod.options.hugepages:
            if have.get(size) != amount and asked:
                self.notes.append(
                    Warn(
                        ("metadata", "annotations", f"dpdk/{size.resource}"),
                        "option not used",
                        f"container {container.name} asks for hugepages itself; its own amount stands",
                    )
                )

    # --- volumes and mounts

    @property
    def sizes(self) -> set[PageSize]:
        """Every size that any container of the pod asks for: the kubelet sums them up pod-wide."""
        return {page.size for page in self.pages}

    @property
    def volumes(self) -> Iterator[_Volume]:
        for index, raw in enumerate(self.pod.volumes):
            empty_dir = raw.get("emptyDir") or {}
            medium = empty_dir.get("medium") or ""
            if medium.startswith("HugePages"):
                size = None if medium == "HugePages" else medium_size(medium)
                yield _Volume(raw.get("name") or "", ("spec", "volumes", index, "emptyDir", "medium"), size, empty_dir)

    def _named(self) -> set[str]:
        """The page sizes that the kubelet counts for a plain `HugePages` medium: by name, amounts of 0 included."""
        amounts = [amounts for container in self.pod.containers for amounts in (container.requests, container.limits)]
        named = {name.removeprefix(HUGEPAGES) for each in amounts for name in each if name.startswith(HUGEPAGES)}
        return named | {str(size) for size in self.sizes}

    def check_volumes(self) -> None:
        """A volume that fits nothing leaves the pod in FailedMount for ever."""
        wanted = ", ".join(str(size) for size in sorted(self.sizes))
        for volume in self.volumes:
            medium = volume.raw["medium"]
            if medium == "HugePages" and len(self._named()) > 1:
                names = ", ".join(sorted(self._named()))
                detail = f"volume {shown(volume.name, 63)} can't say which of {names} it holds; write medium HugePages-<size>"
                self.problems.append(Reject(volume.path, "medium without a size", detail))
            elif medium != "HugePages" and volume.size not in self.sizes and self.sizes:
                detail = f"volume {shown(volume.name, 63)} is {shown(medium)}, and the pod's containers ask for {wanted} only"
                self.problems.append(Reject(volume.path, "volume of a size that nobody requests", detail))
            if volume.raw.get("sizeLimit") is not None:
                self.notes.append(
                    Warn(
                        (*volume.path[:-1], "sizeLimit"),
                        "sizeLimit on hugepages",
                        f"volume {shown(volume.name, 40)}: it does not size the mount; the container's limit does",
                    )
                )

    def decide_mounts(self) -> None:
        fitting = {(volume.name, volume.size) for volume in self.volumes}
        for container in self.pod.dpdk_containers:
            for page in sorted((page for page in self.pages if page.container.path == container.path), key=lambda p: p.size):
                names = {name for name, size in fitting if size in (page.size, None)}
                mounted = [(index, mount) for index, mount in enumerate(container.mounts) if (mount.get("name") or "") in names]
                if mounted:
                    self._keep(container, page.size, mounted)
                else:
                    self._add(container, page.size, names)

    def _keep(self, container: Container, size: PageSize, mounted: list[tuple[int, Mapping[str, Any]]]) -> None:
        for index, mount in mounted:
            self._keep_one(container, size, mount, container.at("volumeMounts", index))
        base = self.pod.options.huge_dir
        if base is not None and mounted[0][1].get("mountPath") not in (base, f"{base}-{size}"):
            detail = f"container {container.name} has hugepages mounted already; that mount stands"
            self.notes.append(Warn(("metadata", "annotations", "dpdk/huge-dir"), "option not used", detail))

    def _keep_one(self, container: Container, size: PageSize, mount: Mapping[str, Any], path: Path) -> None:
        name, directory = mount.get("name") or "", mount.get("mountPath") or ""
        # a trailing slash is the only oddity that EAL overlooks
        unusable = mount_path_problem(directory.rstrip("/"))
        if mount.get("readOnly"):
            detail = f"EAL creates files in {shown(directory)}; remove readOnly"
            self.problems.append(Reject((*path, "readOnly"), "hugepages mounted read-only", detail))
            return
        if unusable:
            detail = f"'{shown(directory)}' {unusable}; write a path such as /dev/hugepages"
            self.problems.append(Reject((*path, "mountPath"), "mount path that EAL can't use", detail))
            return
        self.mounts.append(Mount(container, size, directory, name, is_mounted=True, has_volume=True))
        for field in ("subPath", "subPathExpr"):
            if mount.get(field):
                detail = "EAL's files land in a directory below its root"
                self.notes.append(Warn((*path, field), "hugepages mounted by subPath", detail))
        sharing = [other.name for other in self.pod.dpdk_containers if any(m.get("name") == name for m in other.mounts)]
        if len(sharing) > 1 and name not in self._shared:
            self._shared.add(name)
            detail = f"volume {shown(name, 40)}: give each DPDK process its own --file-prefix"
            self.notes.append(Warn((*path, "name"), "hugepage volume shared", detail))

    def _add(self, container: Container, size: PageSize, fitting: set[str]) -> None:
        base = self.pod.options.huge_dir or self.settings.huge_dir
        path = base if len(self.sizes) == 1 else f"{base}-{size}"
        for index, mount in enumerate(container.mounts):
            relation = _overlap(path, mount.get("mountPath") or "")
            if relation:
                detail = (
                    f"hugepages go to {path}, and volume {shown(mount.get('name') or '', 63)} is mounted {relation}; "
                    f'choose another path, such as dpdk/huge-dir: "/mnt/huge"'
                )
                self.problems.append(Reject(container.at("volumeMounts", index, "mountPath"), "mount path taken", detail))
                return
        unmounted = sorted(fitting - {mount.get("name") for other in self.pod.containers for mount in other.mounts})
        if unmounted and len(self.pod.dpdk_containers) == 1:
            self.mounts.append(Mount(container, size, path, unmounted[0], is_mounted=False, has_volume=True))
        else:
            self.mounts.append(Mount(container, size, path, self._free_name(size), is_mounted=False, has_volume=False))

    def _free_name(self, size: PageSize) -> str:
        """A DNS label; a mount of a volume that does not exist must stay the API's to refuse, so its name is taken too."""
        taken = {volume.get("name") for volume in self.pod.volumes} | {mount.volume for mount in self.mounts}
        taken |= {mount.get("name") for container in self.pod.containers for mount in container.mounts}
        base = f"{HUGEPAGES}{size}".lower()
        return next(name for name in chain((base,), (f"{base}-{number}" for number in count(2))) if name not in taken)


def _amount(value: object) -> Quantity | None:
    return None if value is None else parse(value)


def _overlap(ours: str, theirs: str) -> str | None:
    """How another mount hides ours or is hidden by it, or None."""
    parts, others = _parts(ours), _parts(theirs)
    if parts == others:
        return "there"
    shorter = min(len(parts), len(others))
    if parts[:shorter] != others[:shorter]:
        return None
    return f"above it, at {shown(theirs)}" if len(others) < len(parts) else f"below it, at {shown(theirs)}"


def _parts(path: str) -> list[str]:
    return [part for part in normpath(f"/{path}").split("/") if part]
