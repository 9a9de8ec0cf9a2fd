"""C7: between the pod as sent and the pod as stored, nothing differs that the contract does not ask for."""

import json
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import zip_longest
from typing import Any, Final

from tests.oracle.pod import (
    HUGEPAGES,
    MEDIUM,
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
    is_hugepages,
    is_promised,
    items,
    member,
    resolved_value,
    sizes,
    volume_size,
)
from tests.oracle.quantity import UnreadableError, canonical_bytes, parse

MISSING: Final = object()
PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
DNS_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
JUDGED: Final = ("resources", "volumeMounts", "env", "securityContext")  # fields that may change in a container


def unexpected_changes(before: Raw, after: Raw, *, settings: Site = Site()) -> list[str]:  # noqa: B008 (frozen)
    """Every difference that the contract does not ask for, as sentences that begin with its path.

    Both pods must have gone through the same defaulting. In a pod that did not opt in, or a mirror pod, every
    difference is unexpected.
    """
    if not is_promised(before):
        return list(differences(before, after, ""))
    dpdk = {c.path for c in dpdk_containers(before)}
    spec, stored = member(before, "spec"), member(after, "spec")
    judged = ("containers", "initContainers", "volumes", "resources")
    return [
        *differences(_without(before, ("spec",)), _without(after, ("spec",)), ""),
        *differences(_without(spec, judged), _without(stored, judged), "spec"),
        *_pod_resources(spec, stored),
        *_volumes(spec, after, [c for c in containers(after) if c.path in dpdk]),
        *_containers(before, after, dpdk, settings, "containers"),
        *_containers(before, after, dpdk, settings, "initContainers"),
    ]


def differences(expected: object, found: object, path: str) -> Iterator[str]:
    """Every place where two JSON values differ; 2, 2.0, "2" and True are four values."""
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        for key in [*expected, *(key for key in found if key not in expected)]:
            yield from differences(expected.get(key, MISSING), found.get(key, MISSING), _under(path, str(key)))
    elif isinstance(expected, list) and isinstance(found, list):
        for index, (left, right) in enumerate(zip_longest(expected, found, fillvalue=MISSING)):
            yield from differences(left, right, f"{path}[{index}]")
    elif expected is MISSING and found is not MISSING:
        yield f"{path}: {_text(found)} is not expected"
    elif found is MISSING and expected is not MISSING:
        yield f"{path}: {_text(expected)} is missing"
    elif type(expected) is not type(found) or expected != found:
        yield f"{path}: {_text(found)} instead of {_text(expected)}"


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _under(path: str, key: str) -> str:
    if not PLAIN_KEY.fullmatch(key):
        return f"{path}[{_text(key)}]"
    return f"{path}.{key}" if path else key


def _without(raw: Raw, keys: tuple[str, ...]) -> Raw:
    return {key: value for key, value in raw.items() if key not in keys}


def _field(raw: Raw, key: str, stored: Raw, path: str) -> Iterator[str]:
    """The field as the user wrote it, and nothing else."""
    yield from differences(raw.get(key, MISSING), stored.get(key, MISSING), f"{path}.{key}")


def _pod_resources(spec: Raw, stored: Raw) -> Iterator[str]:
    """Only spec.resources without content may go."""
    resources = spec.get("resources")
    hollow = resources is not None and not any(resources.values())
    if not hollow or "resources" in stored:
        yield from _field(spec, "resources", stored, "spec")


def _volumes(spec: Raw, after: Raw, dpdk: list[Container]) -> Iterator[str]:
    """Only hugepage volumes that a DPDK container mounts may follow the user's volumes."""
    old, new = items(spec, "volumes"), items(member(after, "spec"), "volumes")
    if len(new) <= len(old):
        yield from _field(spec, "volumes", member(after, "spec"), "spec")
        return
    yield from differences(old, new[: len(old)], "spec.volumes")
    media = {f"{MEDIUM}-{canonical_bytes(size)}" for container in dpdk for size in sizes(container)}
    mounted = {mount.volume for container in dpdk for mount in hugepage_mounts(after, container)}
    taken = {volume.get("name") for volume in old}
    for index, volume in enumerate(new[len(old) :], start=len(old)):
        name, medium = str(volume.get("name")), member(volume, "emptyDir").get("medium")
        bare = volume == {"name": name, "emptyDir": {"medium": medium}}
        needed = medium in media and name in mounted and name not in taken and DNS_LABEL.fullmatch(name)
        if not (bare and needed):
            yield f"spec.volumes[{index}]: {_text(volume)} is no hugepage volume that a DPDK container needs"
        taken.add(name)


def _containers(before: Raw, after: Raw, dpdk: set[str], settings: Site, key: str) -> Iterator[str]:
    """The same containers in the same order, judged pair by pair."""
    spec, stored = member(before, "spec"), member(after, "spec")
    if len(items(spec, key)) != len(items(stored, key)) or not items(spec, key):
        yield from _field(spec, key, stored, "spec")
        return
    theirs = {c.path: c for c in containers(before)}
    for now in containers(after):
        if now.path.startswith(f"spec.{key}["):
            yield from _container(before, theirs[now.path], after, now, now.path in dpdk, settings)


def _container(before: Raw, was: Container, after: Raw, now: Container, is_dpdk: bool, settings: Site) -> Iterator[str]:
    yield from differences(_without(was.raw, JUDGED), _without(now.raw, JUDGED), was.path)
    yield from _resources(before, was, now, is_dpdk, settings)
    if not is_dpdk:
        for key in JUDGED[1:]:
            yield from _field(was.raw, key, now.raw, was.path)
        return
    yield from _volume_mounts(was, after, now)
    name = eal_env(before, settings)
    tokens = [f"--huge-dir={mount.path}" for mount in hugepage_mounts(after, now)]
    yield from _nearest(_envs(was, name, tokens), now, "env")
    yield from _nearest(_security_contexts(was), now, "securityContext")


def _nearest(outcomes: list[Any], now: Container, key: str) -> Iterator[str]:
    """How the field differs from the allowed outcome that is nearest; no word when it is one of them."""
    found = now.raw.get(key, MISSING)
    yield from min((list(differences(o, found, f"{now.path}.{key}")) for o in outcomes), key=len)


def _resources(before: Raw, was: Container, now: Container, is_dpdk: bool, settings: Site) -> Iterator[str]:
    """Only cpu, memory and hugepages may change, and only to what is due."""
    expected = was.raw.get("resources", MISSING)
    for side in SIDES:
        for resource, value in member(now.raw, "resources", side).items():
            if _is_due(before, was, side, resource, value, is_dpdk, settings):
                known = expected if isinstance(expected, Mapping) else {}
                expected = {**known, side: {**member(known, side), resource: value}}
    yield from differences(expected, now.raw.get("resources", MISSING), f"{was.path}.resources")


def _is_due(before: Raw, was: Container, side: str, resource: str, value: object, is_dpdk: bool, settings: Site) -> bool:
    """Whether the new value may stand where the user's stood: the due amount, and not theirs in another spelling."""
    if resource not in ("cpu", "memory") and not is_hugepages(resource):
        return False
    try:
        new, request, limit = parse(value), *(amount(was, s, resource) or Fraction(0) for s in SIDES)
    except UnreadableError:
        return False
    unset = not request and not limit
    unequal = request and limit and request != limit
    if min(new, request, limit) < 0 or new == 0 or (limit and request > limit):
        return False
    if is_hugepages(resource) and (unset or unequal):
        return bool(unset and is_dpdk and _is_wanted(before, was, resource, new))
    due = max(request, limit)
    if resource == "cpu" and (is_dpdk or _whole_everywhere(before, settings)):
        due = -(-due // settings.cpu_step) * Fraction(settings.cpu_step)
    return unset or new == due != (request if side == "requests" else limit)


def _whole_everywhere(before: Raw, settings: Site) -> bool:
    return settings.whole_cpus_all or annotations(before).get("dpdk/whole-cpus") == "all"


def _is_wanted(before: Raw, was: Container, resource: str, new: Fraction) -> bool:
    """Whether a DPDK container may be given these hugepages: it has none, and the annotations name these or none."""
    if any(asks(was, name) for name in hugepage_resources(was)):
        return False
    prefix = f"dpdk/{HUGEPAGES}"
    said = {key.removeprefix("dpdk/"): value for key, value in annotations(before).items() if key.startswith(prefix)}
    try:
        return not said or (resource in said and parse(said[resource]) == new)
    except UnreadableError:
        return False


def _volume_mounts(was: Container, after: Raw, now: Container) -> Iterator[str]:
    """Only mounts of hugepage volumes of a size that the container had not mounted may follow the user's mounts."""
    old, new = items(was.raw, "volumeMounts"), items(now.raw, "volumeMounts")
    if len(new) <= len(old):
        yield from _field(was.raw, "volumeMounts", now.raw, was.path)
        return
    yield from differences(old, new[: len(old)], f"{was.path}.volumeMounts")
    lacking = set(sizes(now)) - {mount.size for mount in hugepage_mounts(after, was)}
    volumes = hugepage_volumes(after)
    for index, mount in enumerate(new[len(old) :], start=len(old)):
        source = volumes.get(str(mount.get("name")))
        size = None if source is None else volume_size(after, source)
        # readOnly: false says what its absence says.
        bare = {key: value for key, value in mount.items() if (key, value) != ("readOnly", False)}
        if bare.keys() != {"name", "mountPath"} or size not in lacking:
            yield (f"{was.path}.volumeMounts[{index}]: {_text(mount)} is no hugepage mount that container {was.name} lacked")
        lacking.discard(size or 0)


def _envs(was: Container, name: str, tokens: list[str]) -> list[Any]:
    """The environments that the contract allows: the user's, or with --huge-dir prepended or appended to a value."""
    written = was.raw.get("env", MISSING)
    env = items(was.raw, "env")
    places = [index for index, entry in enumerate(env) if entry.get("name") == name]
    if holds_eal_option(command_words(was, name)) or len(places) > 1:
        return [written]
    if not places:
        return [written, *([{"name": name, "value": token}, *env] for token in tokens)]
    (place,) = places
    entry = env[place]
    if entry.get("valueFrom") is not None or holds_eal_option(env_words(was.raw, entry)):
        return [written]
    value = entry.get("value") or ""
    longer = [f"{value} {token}" for token in tokens] + ([] if value.strip() else tokens)
    if "--" in resolved_value(was.raw, entry).split():  # EAL reads no further
        head, end, rest = value.partition(" -- ")
        longer = [f"{head} {token}{end}{rest}" if end else f"{token} {value}" for token in tokens]
    return [written, *([*env[:place], {**entry, "value": v}, *env[place + 1 :]] for v in longer)]


def _security_contexts(was: Container) -> list[Any]:
    """The security contexts that the contract allows: the user's, or with IPC_LOCK added where it was not effective."""
    written = was.raw.get("securityContext", MISSING)
    if has_ipc_lock(was):
        return [written]
    security = member(was.raw, "securityContext")
    capabilities = member(security, "capabilities")
    more = {**capabilities, "add": [*items(capabilities, "add"), "IPC_LOCK"]}
    return [written, {**security, "capabilities": more}]
