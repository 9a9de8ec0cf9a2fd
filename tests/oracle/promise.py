"""C1 to C6: what an admitted, annotated pod promises, judged on the stored pod alone."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations
from typing import Any, Final

from tests.oracle.pod import (
    HUGEPAGES,
    MEDIUM,
    NO_HUGE_DIR,
    SIDES,
    Container,
    Mount,
    Raw,
    Site,
    amount,
    annotations,
    asks,
    canonical_size,
    command_words,
    containers,
    depends,
    dpdk_containers,
    drops_ipc_lock,
    eal_env,
    env_words,
    has_ipc_lock,
    holds_eal_option,
    huge_dirs,
    hugepage_mounts,
    hugepage_resources,
    hugepage_volumes,
    is_promised,
    items,
    member,
    named_in_option,
    named_sizes,
    nested,
    page_size,
    same_path,
    sizes,
    volume_size,
)
from tests.oracle.quantity import UnreadableError, canonical_bytes

SINGULAR: Final = {"requests": "request", "limits": "limit"}


def violations(pod: Raw, *, settings: Site = Site(), before: Raw | None = None) -> list[str]:  # noqa: B008 (frozen)
    """Every way in which an admitted, annotated pod breaks C1 to C6, as sentences; empty when it keeps the promise.

    `before` is the pod as the user sent it. It settles who wrote what: a volume shared on purpose, a size limit, a
    --huge-dir of the user's own. Without it the user gets the benefit of the doubt. A mirror pod is kept as it is and
    promises nothing; a pod that never opted in is a mistake of the caller's: ValueError.
    """
    if annotations(pod).get("dpdk") != "true":
        raise ValueError('the pod is not annotated dpdk: "true", so nothing was promised')
    if not is_promised(pod):
        return []
    chosen = {c.path for c in dpdk_containers(pod if before is None else before)}
    dpdk = [c for c in containers(pod) if c.path in chosen]
    return [
        *_choice(pod, dpdk),
        *_guaranteed(pod),
        *_whole_cpus(pod, dpdk, settings),
        *_hugepages(pod, dpdk),
        *_volumes(pod, dpdk, before),
        *_mounts(pod, dpdk, before),
        *_eal(pod, dpdk, settings, before),
        *_ipc_lock(pod, dpdk, settings),
    ]


def _choice(pod: Raw, dpdk: list[Container]) -> Iterator[str]:
    """The contract rejects a pod whose DPDK containers cannot be told."""
    everyone = {c.name: c for c in containers(pod)}
    named = named_in_option(pod)
    for name in named or []:
        container = everyone.get(name)
        if container is None:
            yield f"DPDK: dpdk/containers names {name!r}, which is no container of the pod"
        elif container.is_init and not container.is_sidecar:
            yield f"DPDK: dpdk/containers names {name!r}, which is a plain init container ({container.path})"
    if named is None and not dpdk:
        yield "DPDK: no container can be told to be the DPDK container"


def _read(container: Container, side: str, resource: str) -> Fraction | None:
    """The amount where it can be read and is set."""
    try:
        return amount(container, side, resource) or None
    except UnreadableError:
        return None


def _both_sides(code: str, container: Container, resource: str) -> Iterator[str]:
    """A request and a limit, both above zero and the same."""
    sound = True
    for side in SIDES:
        where = f"({container.path}.resources.{side}.{resource})"
        raw = member(container.raw, "resources", side).get(resource)
        thing = f"{resource} {SINGULAR[side]}"
        problem = None
        try:
            value = amount(container, side, resource)
            if value is None:
                problem = f"has no {thing}"
            elif value <= 0:
                problem = f"has {thing} {raw}, not above zero"
        except UnreadableError:
            problem = f"has {thing} {raw!r}, which is no quantity"
        if problem is not None:
            sound = False
            yield f"{code}: container {container.name} {problem} {where}"
    if sound and amount(container, "requests", resource) != amount(container, "limits", resource):
        request, limit = (member(container.raw, "resources", side)[resource] for side in SIDES)
        yield (
            f"{code}: container {container.name} has {resource} request {request} and limit {limit}, not the same "
            f"({container.path}.resources)"
        )


def _guaranteed(pod: Raw) -> Iterator[str]:
    """C1."""
    if member(pod, "spec").get("resources") is not None:
        yield "C1: the pod has resources of its own, which decide its QoS (spec.resources)"
    for container in containers(pod):
        for resource in ("cpu", "memory"):
            yield from _both_sides("C1", container, resource)


def _whole_cpus(pod: Raw, dpdk: list[Container], settings: Site) -> Iterator[str]:
    """C2."""
    everywhere = settings.whole_cpus_all or annotations(pod).get("dpdk/whole-cpus") == "all"
    for container in containers(pod) if everywhere else dpdk:
        cpus = _read(container, "limits", "cpu")
        if cpus is not None and cpus % settings.cpu_step != 0:
            raw = container.raw["resources"]["limits"]["cpu"]
            yield (
                f"C2: container {container.name} has {raw} CPUs, no multiple of {settings.cpu_step} "
                f"({container.path}.resources.limits.cpu)"
            )


def _hugepages(pod: Raw, dpdk: list[Container]) -> Iterator[str]:
    """C3; the amount is owed by DPDK containers, a sound name and amount by whoever asks."""
    for container in containers(pod):
        for resource in hugepage_resources(container):
            size = resource.removeprefix(HUGEPAGES)
            canonical, pages = canonical_size(size), page_size(size)
            where = f"({container.path}.resources)"
            if canonical != size:
                instead = f", write {HUGEPAGES}{canonical}" if canonical else ""
                yield f"C3: container {container.name} asks for {resource}, which no node has{instead} {where}"
            elif pages is not None and pages & (pages - 1):
                yield f"C3: container {container.name} asks for {resource}, whose size is no power of two {where}"
            if not asks(container, resource):
                continue
            yield from _both_sides("C3", container, resource)
            limit = _read(container, "limits", resource)
            if pages is not None and limit is not None and limit % pages != 0:
                raw = container.raw["resources"]["limits"][resource]
                yield f"C3: container {container.name} asks for {raw} of {resource}, not whole pages {where}"
    for container in dpdk:
        if not any(asks(container, resource) for resource in hugepage_resources(container)):
            yield f"C3: container {container.name} asks for no hugepages ({container.path}.resources)"


def _volumes(pod: Raw, dpdk: list[Container], before: Raw | None) -> Iterator[str]:
    """C4, on volumes: media that the kubelet can mount, nothing of ours shared or limited."""
    named = named_sizes(pod)
    written = [] if before is None else [v.get("name") for v in items(member(before, "spec"), "volumes")]
    for name, source in hugepage_volumes(pod).items():
        medium = source["medium"]
        if medium == MEDIUM and len(named) != 1:
            listed = " and ".join(canonical_bytes(size) for size in sorted(named)) or "none"
            yield f"C4: volume {name} has medium {medium}, but the pod's page sizes are {listed} (spec.volumes)"
        elif volume_size(pod, source) not in named:
            yield f"C4: volume {name} has medium {medium}, which no container requests (spec.volumes)"
        if before is None:
            continue
        if source.get("sizeLimit") is not None and name not in written:
            yield f"C4: volume {name} has a sizeLimit that the user did not write (spec.volumes)"
        sharing = _mounting(dpdk, name)
        if len(sharing) > 1 and not sharing.keys() <= _mounting(containers(before), name).keys():
            yield f"C4: volume {name} is shared by {' and '.join(sharing.values())}, which the user did not write"


def _mounting(candidates: list[Container], volume: str) -> dict[str, str]:
    """Path and name of each container that mounts the volume."""
    return {c.path: c.name for c in candidates if any(m.get("name") == volume for m in items(c.raw, "volumeMounts"))}


def _mounts(pod: Raw, dpdk: list[Container], before: Raw | None) -> Iterator[str]:
    """C4, on mounts: each size that a DPDK container requests, read-write, not shadowed."""
    for container in dpdk:
        where = f"({container.path}.volumeMounts)"
        mounts = hugepage_mounts(pod, container)
        for size in sizes(container):
            # A volume of no definite size was already reported with the volumes.
            if not any(mount.size in (size, None) for mount in mounts):
                yield f"C4: container {container.name} mounts no hugepage volume of {canonical_bytes(size)} {where}"
        for mount in mounts:
            if mount.read_only:
                yield f"C4: container {container.name} mounts {mount.volume} read-only at {mount.path} {where}"
        yield from _shadows(container, mounts, _written_mounts(container, before))


def _written_mounts(container: Container, before: Raw | None) -> list[Any]:
    twin = _twin(container, before)
    return items(container.raw if before is None else twin, "volumeMounts")


def _shadows(container: Container, mounts: list[Mount], written: list[Any]) -> Iterator[str]:
    """Two mounts on one path, and mounts of ours in, over or under another."""
    hugepages = {(mount.volume, mount.path) for mount in mounts}
    user = {(m.get("name"), m.get("mountPath")) for m in written}
    everything = [(m.get("name"), str(m.get("mountPath"))) for m in items(container.raw, "volumeMounts")]
    for left, right in combinations(everything, 2):
        ours = [m for m in (left, right) if m in hugepages and m not in user]
        clash = nested(left[1], right[1]) if ours else same_path(left[1], right[1])
        if clash and (left in hugepages or right in hugepages):
            yield (
                f"C4: container {container.name} has mounts {left[1]} and {right[1]}, one over the other "
                f"({container.path}.volumeMounts)"
            )


def _eal(pod: Raw, dpdk: list[Container], settings: Site, before: Raw | None) -> Iterator[str]:
    """C5."""
    option = annotations(pod).get("dpdk/huge-size")
    wanted = None if option is None else page_size(str(option))
    if option is not None and not any(wanted in sizes(c) for c in dpdk):
        yield f"C5: dpdk/huge-size names {option!r}, which no DPDK container requests"
    for container in dpdk:
        name = eal_env(pod, settings)
        mounts = hugepage_mounts(pod, container)
        words = command_words(container, name)
        for path, _ in huge_dirs(words):
            if not depends(path) and not any(same_path(path, mount.path) for mount in mounts):
                yield (
                    f"C5: container {container.name} runs with --huge-dir {path}, which is no hugepage mount of its "
                    f"own ({container.path})"
                )
        if not holds_eal_option(words):
            chosen = wanted if wanted in sizes(container) else max(sizes(container), default=None)
            yield from _variable(container, name, mounts, chosen, None if before is None else _twin(container, before))


def _variable(container: Container, name: str, mounts: list[Mount], chosen: int | None, theirs: Raw | None) -> Iterator[str]:
    """One variable, literal, with one --huge-dir; ours is one token and names the chosen size."""
    where = f"({container.path}.env)"
    entries = _entries(container.raw, name)
    if len(entries) != 1:
        yield f"C5: container {container.name} has {len(entries)} variables {name}, not one {where}"
        return
    if entries[0].get("valueFrom") is not None:
        yield f"C5: container {container.name} takes {name} from elsewhere, where it cannot be read {where}"
        return
    words = env_words(container.raw, entries[0])
    found = list(huge_dirs(words))
    if not found and any(option in words for option in NO_HUGE_DIR):
        return
    if len(found) != 1:
        yield f"C5: container {container.name} has {len(found)} times --huge-dir in {name}, not once {where}"
        return
    path, one_token = found[0]
    named = [mount for mount in mounts if same_path(path, mount.path)]
    ours = theirs is not None and not any(any(huge_dirs(env_words(theirs, entry))) for entry in _entries(theirs, name))
    if not named and not depends(path):
        it = f"--huge-dir {path or 'without a path'}"
        yield f"C5: container {container.name} has {it} in {name}, no hugepage mount of its own {where}"
    elif ours and not any(mount.size == chosen for mount in named):
        size = "no size" if chosen is None else canonical_bytes(chosen)
        yield f"C5: container {container.name} has --huge-dir {path} in {name}, not its mount of {size} {where}"
    if ours and not one_token:
        yield f"C5: container {container.name} has --huge-dir in two tokens in {name} {where}"


def _entries(raw: Raw, name: str) -> list[Raw]:
    return [entry for entry in items(raw, "env") if entry.get("name") == name]


def _twin(container: Container, before: Raw | None) -> Raw:
    """The same container in the user's pod; containers keep their places."""
    return next((c.raw for c in containers(before or {}) if c.path == container.path), {})


def _ipc_lock(pod: Raw, dpdk: list[Container], settings: Site) -> Iterator[str]:
    """C6."""
    spec = member(pod, "spec")
    if member(spec, "os").get("name") == "windows":
        yield "C6: capabilities do not exist on windows (spec.os.name)"
    if spec.get("hostUsers") is False and not settings.allow_user_namespace:
        yield "C6: IPC_LOCK in a user namespace is not effective on the host (spec.hostUsers)"
    for container in dpdk:
        if not has_ipc_lock(container):
            where = f"({container.path}.securityContext.capabilities)"
            verb = "drops" if drops_ipc_lock(container) else "does not add"
            yield f"C6: container {container.name} {verb} IPC_LOCK {where}"
