"""A read-only view of a raw pod: its containers with their paths, and which of them are DPDK containers.

The raw dict stays what it is: decoding it into typed models and back would drop fields newer than the model.
"""

from collections.abc import Iterator, Mapping
from operator import is_
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from webhook.edits import Reject
from webhook.options import ANNOTATION, PREFIX, Options, read_options
from webhook.path import Path, shown
from webhook.quantity import QuantityError, parse
from webhook.shape import check_shape

MIRROR = "kubernetes.io/config.mirror"
DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
LIMIT_RANGER = "kubernetes.io/limit-ranger"  # what the LimitRanger plugin writes beside the defaults that it gave
READ = frozenset((ANNOTATION, MIRROR, DEFAULT_CONTAINER, LIMIT_RANGER))  # the annotations that rules see, beside the options
HUGEPAGES = "hugepages-"

Role: TypeAlias = Literal["app", "sidecar", "init"]

_NONE: Mapping[str, Any] = {}


class Container(Struct, frozen=True):
    """One entry of spec.containers or spec.initContainers."""

    raw: Mapping[str, Any]
    path: Path
    role: Role

    @property
    def name(self) -> str:
        """What messages call it."""
        return container_name(self.raw, self.path)

    def now(self, raw: Mapping[str, Any]) -> "Container":
        """The same container as a rule left it."""
        return Container(raw, self.path, self.role)

    def at(self, *parts: str | int) -> Path:
        """The path of a field of this container."""
        return self.path + parts

    @property
    def amounts(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """resources.requests and resources.limits"""
        resources = self.raw.get("resources") or _NONE
        return resources.get("requests") or _NONE, resources.get("limits") or _NONE

    @property
    def requests(self) -> Mapping[str, Any]:
        """resources.requests"""
        return self.amounts[0]

    @property
    def limits(self) -> Mapping[str, Any]:
        """resources.limits"""
        return self.amounts[1]

    @property
    def security_context(self) -> Mapping[str, Any]:
        """securityContext"""
        return self.raw.get("securityContext") or _NONE

    @property
    def env(self) -> list[Mapping[str, Any]]:
        """env"""
        return self.raw.get("env") or []

    @property
    def mounts(self) -> list[Mapping[str, Any]]:
        """volumeMounts"""
        return self.raw.get("volumeMounts") or []

    @property
    def command_line(self) -> list[str]:
        """command and args, in the order in which they are run."""
        return [*(self.raw.get("command") or ()), *(self.raw.get("args") or ())]

    def asks_for_hugepages(self) -> bool:
        """A hugepages-<size> request or limit that is not 0; one that can't be read counts, so that a rule can name it."""
        for amounts in self.amounts:
            for resource, amount in amounts.items():
                if resource.startswith(HUGEPAGES) and amount is not None:
                    try:
                        if parse(amount).millis:
                            return True
                    except QuantityError:
                        return True
        return False


def container_name(raw: Mapping[str, Any], path: Path) -> str:
    """The container's name; its place in the list while the API server has not yet refused a missing one."""
    return shown(raw.get("name") or f"#{path[2]}", 63)


class Pod:
    """The view. `raw` must have passed `parse_pod`.

    `containers`: app containers, then init containers and sidecars; ephemeral containers have no resources and count for
    nothing. `options`: what the dpdk/… annotations ask for. `dpdk_containers`: those that run DPDK, and `dpdk_paths` where
    they stand; none while `dpdk_containers_problem` stands, which says why that can't be told. `kept`: what is worked out
    once for every view of this pod; only what no rule's edits can change may be kept there.
    """

    def __init__(self, raw: Mapping[str, Any], before: "Pod | None" = None) -> None:
        self.raw = raw
        self.spec: Mapping[str, Any] = raw["spec"]
        if before is None:
            # no more than what a remembered decision is known by: a rule that looked at anything else would find it nowhere
            self.annotations: Mapping[str, str] = relevant((raw.get("metadata") or _NONE).get("annotations") or _NONE)
            self.kept: dict[str, Any] = {}
            self.containers: tuple[Container, ...] = tuple(_containers(self.spec))
            self.options: Options = read_options(self.annotations)
            self.dpdk_containers, self.dpdk_containers_problem = self._choose()
            self.dpdk_paths = frozenset([container.path for container in self.dpdk_containers])
        else:
            self.annotations = before.annotations
            self.kept = before.kept
            then, now = before.containers, _raws(self.spec)
            self.containers = tuple([old if old.raw is new else old.now(new) for old, new in zip(then, now, strict=True)])
            self.options = before.options
            self.dpdk_paths = before.dpdk_paths
            self.dpdk_containers = tuple([container for container in self.containers if container.path in self.dpdk_paths])
            self.dpdk_containers_problem = before.dpdk_containers_problem

    def after(self, raw: Mapping[str, Any]) -> "Pod":
        """The view of this pod as a rule left it. Rules write neither annotations nor the order of containers, and which of
        them run DPDK was settled by what came in."""
        spec = raw["spec"]
        is_same = raw is self.raw and spec is self.spec
        # a draft copies an object once: what it writes into the copy afterwards is seen by a view that has it already
        is_seen = is_same and all(map(is_, _raws(spec), [container.raw for container in self.containers]))
        return self if is_seen else Pod(raw, self)

    @property
    def is_annotated(self) -> bool:
        """dpdk: "true", to the letter."""
        return self.annotations.get(ANNOTATION) == "true"

    @property
    def is_mirror(self) -> bool:
        """A static pod's reflection: the kubelet runs its file, whatever the object says."""
        return MIRROR in self.annotations

    @property
    def volumes(self) -> list[Mapping[str, Any]]:
        """spec.volumes"""
        return self.spec.get("volumes") or []

    @property
    def security_context(self) -> Mapping[str, Any]:
        """spec.securityContext"""
        return self.spec.get("securityContext") or _NONE

    def _choose(self) -> tuple[tuple[Container, ...], Reject | None]:
        """CONTRACT: the named ones, else those asking for hugepages, else the only one, else the default container."""
        if self.options.containers is not None:
            return self._named(self.options.containers)
        apps = [container for container in self.containers if container.role == "app"]
        asking = [container for container in apps if container.asks_for_hugepages()]
        chosen = asking or (apps if len(apps) == 1 else [])
        if not chosen:
            default = self.annotations.get(DEFAULT_CONTAINER)
            chosen = [container for container in apps if container.raw.get("name") == default is not None]
        if chosen:
            return tuple(chosen), None
        return (), Reject(
            ("metadata", "annotations"),
            "unclear which container runs DPDK",
            f'none of {_listed(apps)} asks for hugepages; name one: dpdk/containers: "{apps[0].name}"',
        )

    def _named(self, names: tuple[str, ...]) -> tuple[tuple[Container, ...], Reject | None]:
        path = ("metadata", "annotations", "dpdk/containers")
        runnable = [container for container in self.containers if container.role != "init"]
        known = {container.raw.get("name") for container in runnable}
        wanted = set(names)
        for name in names:
            if name not in known:
                detail = f"there is no container or sidecar '{shown(name, 63)}'; the pod has {_listed(runnable)}"
                return (), Reject(path, "unknown container", detail)
        return tuple(container for container in runnable if container.raw.get("name") in wanted), None


def relevant(annotations: Mapping[str, str]) -> dict[str, str]:
    """Those that rules see: the ones of READ, and every option."""
    return {key: value for key, value in annotations.items() if key in READ or key.startswith(PREFIX)}


def _containers(spec: Mapping[str, Any]) -> Iterator[Container]:
    for index, raw in enumerate(spec["containers"]):
        yield Container(raw, ("spec", "containers", index), "app")
    for index, raw in enumerate(spec.get("initContainers") or ()):
        role: Role = "sidecar" if raw.get("restartPolicy") == "Always" else "init"
        yield Container(raw, ("spec", "initContainers", index), role)


def _raws(spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*spec["containers"], *(spec.get("initContainers") or ())]


def _listed(containers: list[Container]) -> str:
    names = [container.name for container in containers]
    return ", ".join(names if len(names) <= 8 else [*names[:8], f"{len(names) - 8} more"])


def parse_pod(raw: object, at: Path = ()) -> Pod:
    """The view of a pod from outside; Malformed, with the path below `at`, when a field that the rules read is mistyped."""
    return Pod(check_shape(raw, at))
