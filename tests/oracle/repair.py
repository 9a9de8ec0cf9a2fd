"""The plainest way to keep the promise, written from the contract: it shows that oracle and random pods can be satisfied.

It asks no questions and rejects nothing, so it is only of use on pods that hold nothing to reject.
"""

import copy
from fractions import Fraction
from typing import Any

from tests.oracle.pod import (
    HUGEPAGES,
    SIDES,
    Container,
    Raw,
    Site,
    amount,
    annotations,
    asks,
    command_words,
    containers,
    dpdk_containers,
    eal_env,
    env_words,
    has_ipc_lock,
    holds_eal_option,
    hugepage_mounts,
    hugepage_resources,
    hugepage_volumes,
    items,
    page_size,
    resolved_value,
    sizes,
    volume_size,
)
from tests.oracle.quantity import canonical_bytes


def repaired(pod: Raw, *, settings: Site = Site()) -> dict[str, Any]:  # noqa: B008 (frozen)
    """A copy that keeps the promise, with the contract's default amounts."""
    after = copy.deepcopy(dict(pod))
    chosen = {c.path for c in dpdk_containers(pod)}
    dpdk = [c for c in containers(after) if c.path in chosen]
    if after["spec"].get("resources") is not None:
        del after["spec"]["resources"]
    everywhere = settings.whole_cpus_all or annotations(pod).get("dpdk/whole-cpus") == "all"
    for container in containers(after):
        is_dpdk = container.path in chosen
        _resources(container, is_dpdk, settings.cpu_step if is_dpdk or everywhere else None, annotations(pod))
    for container in dpdk:
        _mounts(after, container, alone=len(dpdk) == 1)
        _environment(after, container, eal_env(pod, settings))
        if not has_ipc_lock(container):
            capabilities = _object(_object(container.raw, "securityContext"), "capabilities")
            capabilities["add"] = [*items(capabilities, "add"), "IPC_LOCK"]
    return after


def _object(raw: Any, key: str) -> dict[str, Any]:
    """The object under the key, made where it is missing or null."""
    if raw.get(key) is None:
        raw[key] = {}
    made: dict[str, Any] = raw[key]
    return made


def _resources(container: Container, is_dpdk: bool, step: int | None, notes: Raw) -> None:
    _both(container, "cpu", "1" if is_dpdk or step else "100m", step)
    _both(container, "memory", "128Mi", None)
    for resource in hugepage_resources(container):
        if asks(container, resource):
            _both(container, resource, None, None)
    if is_dpdk and not sizes(container):
        for key in [key for key in notes if key.startswith(f"dpdk/{HUGEPAGES}")]:
            _both(container, key.removeprefix("dpdk/"), notes[key], None)


def _both(container: Container, resource: str, default: Any, step: int | None) -> None:
    """Request and limit to the larger of the two, rounded up to the step; sides that are right keep their spelling."""
    written = [amount(container, side, resource) or Fraction(0) for side in SIDES]
    due, value = max(written), default
    if due:
        side = SIDES[written.index(due)]
        value = container.raw["resources"][side][resource]
    if step and due % step:
        due = -(-due // step) * Fraction(step)
        value = int(due)
    elif step and not due:
        value = step
    for side, has in zip(SIDES, written, strict=True):
        if not due or has != due:
            _object(_object(container.raw, "resources"), side)[resource] = value


def _mounts(pod: dict[str, Any], container: Container, *, alone: bool) -> None:
    raw: Any = container.raw
    for size in sizes(container):
        if any(mount.size == size for mount in hugepage_mounts(pod, container)):
            continue
        fitting = [name for name, source in hugepage_volumes(pod).items() if volume_size(pod, source) == size]
        name = fitting[0] if fitting and alone else _volume(pod, size)
        base = annotations(pod).get("dpdk/huge-dir", "/dev/hugepages")
        path = base if len(sizes(container)) == 1 else f"{base}-{canonical_bytes(size).lower()}"
        raw["volumeMounts"] = [*items(raw, "volumeMounts"), {"name": name, "mountPath": path}]


def _volume(pod: dict[str, Any], size: int) -> str:
    spec = pod["spec"]
    taken = [volume["name"] for volume in items(spec, "volumes")]
    base = f"hugepages-{canonical_bytes(size).lower()}"
    name = next(name for name in (base, *(f"{base}-{index}" for index in range(2, 99))) if name not in taken)
    volume = {"name": name, "emptyDir": {"medium": f"HugePages-{canonical_bytes(size)}"}}
    spec["volumes"] = [*items(spec, "volumes"), volume]
    return name


def _environment(pod: Raw, container: Container, name: str) -> None:
    raw: Any = container.raw
    entries = [entry for entry in items(raw, "env") if entry["name"] == name]
    written = [word for entry in entries for word in env_words(raw, entry)]
    if holds_eal_option(command_words(container, name)) or holds_eal_option(written):
        return
    wanted = page_size(str(annotations(pod).get("dpdk/huge-size")))
    chosen = wanted if wanted in sizes(container) else max(sizes(container))
    path = next(mount.path for mount in hugepage_mounts(pod, container) if mount.size == chosen)
    token = f"--huge-dir={path}"
    if not entries:
        raw["env"] = [{"name": name, "value": token}, *items(raw, "env")]
    else:
        value = entries[0].get("value") or ""
        head, end, rest = value.partition(" -- ")
        hidden = not end and "--" in resolved_value(raw, entries[0]).split()
        entries[0]["value"] = f"{token} {value}" if hidden else f"{head} {token}{end}{rest}".lstrip()
