"""What the contract's words mean on a raw pod: containers, DPDK containers, hugepage volumes and mounts, EAL options.

Null is absent everywhere, as it is to the API server.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import takewhile
from typing import Any, Final

from tests.oracle.quantity import UnreadableError, canonical_bytes, parse

Raw = Mapping[str, Any]
SIDES: Final = ("requests", "limits")
HUGEPAGES: Final = "hugepages-"
MEDIUM: Final = "HugePages"
NO_HUGE_DIR: Final = ("--in-memory", "--no-huge")  # EAL options that leave nothing for --huge-dir to say


@dataclass(frozen=True, slots=True)
class Site:
    """The settings of a site that decide whether an admitted pod keeps the promise."""

    cpu_step: int = 1
    whole_cpus_all: bool = False
    eal_env: str = "DPDK_EAL_ARGS"
    allow_user_namespace: bool = False


@dataclass(frozen=True, slots=True)
class Container:
    """One app or init container, with its place in the pod."""

    raw: Raw
    path: str
    is_init: bool

    @property
    def name(self) -> str:
        return str(self.raw.get("name"))

    @property
    def is_sidecar(self) -> bool:
        return self.is_init and self.raw.get("restartPolicy") == "Always"


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount of a hugepage volume; `size` in bytes, None where the medium names none that can be read."""

    path: str
    volume: str
    size: int | None
    read_only: bool


def member(raw: Raw, *keys: str) -> Raw:
    """The object under the keys, empty where one is missing or null."""
    for key in keys:
        raw = raw.get(key) or {}
    return raw


def items(raw: Raw, key: str) -> list[Any]:
    """The list under the key, empty where it is missing or null."""
    return list(raw.get(key) or [])


def annotations(pod: Raw) -> Raw:
    return member(pod, "metadata", "annotations")


def is_promised(pod: Raw) -> bool:
    """Opted in, and not a mirror of a file that only the kubelet reads."""
    return annotations(pod).get("dpdk") == "true" and "kubernetes.io/config.mirror" not in annotations(pod)


def containers(pod: Raw) -> list[Container]:
    """App containers, then init containers; ephemeral containers don't count."""
    spec = member(pod, "spec")
    return [
        Container(raw, f"spec.{key}[{index}]", is_init=key == "initContainers")
        for key in ("containers", "initContainers")
        for index, raw in enumerate(items(spec, key))
    ]


def amount(container: Container, side: str, resource: str) -> Fraction | None:
    """Requested or limited amount, None when absent; raises UnreadableError."""
    value = member(container.raw, "resources", side).get(resource)
    return None if value is None else parse(value)


def hugepage_resources(container: Container) -> list[str]:
    """Names of the hugepage resources that the container writes, of whatever amount."""
    return sorted({name for side in SIDES for name in member(container.raw, "resources", side) if is_hugepages(name)})


def is_hugepages(resource: str) -> bool:
    return resource.startswith(HUGEPAGES)


def asks(container: Container, resource: str) -> bool:
    """Whether a request or limit is set; 0 counts as unset, what cannot be read as set."""
    for side in SIDES:
        try:
            if amount(container, side, resource):
                return True
        except UnreadableError:
            return True
    return False


def page_size(text: str) -> int | None:
    """Bytes of a page size such as `2Mi`, None when it is none."""
    try:
        size = parse(text)
    except UnreadableError:
        return None
    return int(size) if size > 0 and size.denominator == 1 else None


def canonical_size(text: str) -> str | None:
    """The spelling of a page size that a node advertises, None when it is none."""
    size = page_size(text)
    return None if size is None else canonical_bytes(size)


def sizes(container: Container) -> list[int]:
    """Page sizes, in bytes, that the container asks for."""
    named = (page_size(r.removeprefix(HUGEPAGES)) for r in hugepage_resources(container) if asks(container, r))
    return sorted({size for size in named if size is not None})


def named_sizes(pod: Raw) -> set[int]:
    """Page sizes that the pod's containers name, of whatever amount.

    The kubelet goes by the names when it mounts a volume (emptydir `getPageSizeMountOption`): `hugepages-1Gi: 0` is a
    second size to plain `HugePages`.
    """
    named = (page_size(r.removeprefix(HUGEPAGES)) for c in containers(pod) for r in hugepage_resources(c))
    return {size for size in named if size is not None}


def named_in_option(pod: Raw) -> list[str] | None:
    """Container names in `dpdk/containers`, None when the option is absent."""
    option = annotations(pod).get("dpdk/containers")
    return None if option is None else [name.strip() for name in str(option).split(",")]


def dpdk_containers(pod: Raw) -> list[Container]:
    """The DPDK containers, by the first of the contract's four ways that applies; empty when none does."""
    everyone = containers(pod)
    apps = [c for c in everyone if not c.is_init]
    named = named_in_option(pod)
    if named is not None:
        return [c for c in everyone if c.name in named and (c.is_sidecar or not c.is_init)]
    asking = [c for c in apps if any(asks(c, resource) for resource in hugepage_resources(c))]
    if asking or len(apps) == 1:
        return asking or apps
    default = annotations(pod).get("kubectl.kubernetes.io/default-container")
    return [c for c in apps if c.name == default]


def hugepage_volumes(pod: Raw) -> dict[str, Raw]:
    """The emptyDir sources of a hugepage medium, by volume name."""
    volumes = {str(v.get("name")): member(v, "emptyDir") for v in items(member(pod, "spec"), "volumes")}
    return {name: source for name, source in volumes.items() if is_hugepage_medium(source.get("medium"))}


def is_hugepage_medium(medium: object) -> bool:
    return isinstance(medium, str) and (medium == MEDIUM or medium.startswith(f"{MEDIUM}-"))


def volume_size(pod: Raw, source: Raw) -> int | None:
    """Page size of a hugepage volume; plain `HugePages` takes the pod's only size."""
    if source["medium"] != MEDIUM:
        return page_size(source["medium"].removeprefix(f"{MEDIUM}-"))
    named = named_sizes(pod)
    return next(iter(named)) if len(named) == 1 else None


def hugepage_mounts(pod: Raw, container: Container) -> list[Mount]:
    """The container's mounts of hugepage volumes."""
    volumes = hugepage_volumes(pod)
    return [
        Mount(str(m.get("mountPath")), m["name"], volume_size(pod, volumes[m["name"]]), bool(m.get("readOnly")))
        for m in items(container.raw, "volumeMounts")
        if m.get("name") in volumes
    ]


def same_path(left: str, right: str) -> bool:
    return left.rstrip("/") == right.rstrip("/")


def nested(left: str, right: str) -> bool:
    """Whether two paths are the same, or one holds the other."""
    left, right = f"{left.rstrip('/')}/", f"{right.rstrip('/')}/"
    return left.startswith(right) or right.startswith(left)


def eal_env(pod: Raw, settings: Site) -> str:
    """Name of the variable that carries the EAL options."""
    return str(annotations(pod).get("dpdk/eal-env") or settings.eal_env)


def command_words(container: Container, ours: str) -> list[str]:
    """The words of command and args that are EAL's: up to a lone `--`, also those inside one argument to a shell.

    Other variables are resolved; the reference to ours is no word that the user wrote.
    """
    known = _values([entry for entry in items(container.raw, "env") if entry.get("name") != ours])
    words: list[str] = []
    before = ""
    for part in [_resolved(str(part), known) for key in ("command", "args") for part in items(container.raw, key)]:
        if part == "--":
            break
        script = part.split() != [part] or (before.startswith("-") and before.endswith("c"))
        words += _of_eal(re.sub(r"[;&|()<>]", " ", re.sub(r"[\"'\\]", "", part)).split() if script else [part])
        before = part
    return words


def env_words(raw: Raw, entry: Raw) -> list[str]:
    """EAL's words in a variable of the container, with the quotes that a shell leaves in what a variable brings."""
    return _of_eal(resolved_value(raw, entry).split())


def resolved_value(raw: Raw, entry: Raw) -> str:
    """The variable's value with those of the entries before it; what can't be known stays as it is written."""
    before = list(takewhile(lambda other: other is not entry, items(raw, "env")))
    return _resolved(str(entry.get("value") or ""), _values(before))


def _values(env: list[Raw]) -> dict[str, str]:
    known: dict[str, str] = {}
    for entry in env:
        name = str(entry.get("name"))
        unknown = entry.get("valueFrom") is not None
        known[name] = f"$({name})" if unknown else _resolved(str(entry.get("value") or ""), known)
    return known


def _resolved(text: str, known: Mapping[str, str]) -> str:
    return re.sub(r"\$\$|\$\(([^)]*)\)", lambda m: "$" if m[0] == "$$" else known.get(m[1], m[0]), text)


def _of_eal(words: list[str]) -> list[str]:
    return words[: words.index("--")] if "--" in words else words


def depends(path: str) -> bool:
    """Whether the path waits for a value that only the node, or a shell, will know."""
    return "$" in path or "`" in path


def huge_dirs(words: list[str]) -> Iterator[tuple[str, bool]]:
    """Each path that `--huge-dir` names, and whether it is one token with its option."""
    for index, word in enumerate(words):
        if word.startswith("--huge-dir="):
            yield word.removeprefix("--huge-dir="), True
        elif word == "--huge-dir":
            yield (words[index + 1] if index + 1 < len(words) else ""), False


def holds_eal_option(words: list[str]) -> bool:
    """Whether the words leave nothing to inject: a --huge-dir, or an option that does without one."""
    return any(huge_dirs(words)) or any(option in words for option in NO_HUGE_DIR)


def has_ipc_lock(container: Container) -> bool:
    """Whether IPC_LOCK is effective: privileged, or added by its plain name and not dropped."""
    security = member(container.raw, "securityContext")
    if security.get("privileged") is True:
        return True
    added = {str(name).upper() for name in items(member(security, "capabilities"), "add")}
    if drops_ipc_lock(container):
        return False
    # A runtime applies drop: [ALL] over add: [ALL]; only a capability added by name survives it.
    return "IPC_LOCK" in added or ("ALL" in added and "ALL" not in dropped(container))


def dropped(container: Container) -> set[str]:
    return {str(name).upper() for name in items(member(container.raw, "securityContext", "capabilities"), "drop")}


def drops_ipc_lock(container: Container) -> bool:
    return bool(dropped(container) & {"IPC_LOCK", "CAP_IPC_LOCK"})
