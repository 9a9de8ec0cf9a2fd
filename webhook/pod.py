"""A read-only view of a raw pod: its containers with their paths, and which of them are DPDK containers.

The raw dict stays what it is: decoding it into typed models and back would drop fields newer than the model.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from webhook.edits import Reject
from webhook.options import ANNOTATION, Options, read_options
from webhook.path import Path, shown
from webhook.quantity import QuantityError, parse
from webhook.shape import check_shape

MIRROR = "kubernetes.io/config.mirror"
DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
HUGEPAGES = "hugepages-"

_NONE: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Container:
    """One entry of spec.containers or spec.initContainers."""

    raw: Mapping[str, Any]
    path: Path
    role: Literal["app", "sidecar", "init"]

    @property
    def name(self) -> str:
        """What messages call it."""
        return container_name(self.raw, self.path)

    def at(self, *parts: str | int) -> Path:
        """The path of a field of this container."""
        return (*self.path, *parts)

    @property
    def requests(self) -> Mapping[str, Any]:
        """resources.requests"""
        return (self.raw.get("resources") or _NONE).get("requests") or _NONE

    @property
    def limits(self) -> Mapping[str, Any]:
        """resources.limits"""
        return (self.raw.get("resources") or _NONE).get("limits") or _NONE

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
        for amounts in (self.requests, self.limits):
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
    """The view. `raw` must have passed `parse_pod`, or be a draft of a pod that did, whose `options` are known then: no rule
    writes annotations."""

    def __init__(self, raw: Mapping[str, Any], options: Options | None = None) -> None:
        self.raw = raw
        self.spec: Mapping[str, Any] = raw["spec"]
        self.annotations: Mapping[str, str] = (raw.get("metadata") or _NONE).get("annotations") or _NONE
        self._options = options

    @property
    def is_annotated(self) -> bool:
        """dpdk: "true", to the letter."""
        return self.annotations.get(ANNOTATION) == "true"

    @property
    def is_mirror(self) -> bool:
        """A static pod's reflection: the kubelet runs its file, whatever the object says."""
        return MIRROR in self.annotations

    @cached_property
    def options(self) -> Options:
        """What the dpdk/… annotations ask for."""
        return read_options(self.annotations) if self._options is None else self._options

    @cached_property
    def containers(self) -> tuple[Container, ...]:
        """App containers, then init containers and sidecars; ephemeral containers have no resources and count for nothing."""
        return tuple(self._containers())

    def _containers(self) -> Iterator[Container]:
        for index, raw in enumerate(self.spec["containers"]):
            yield Container(raw, ("spec", "containers", index), "app")
        for index, raw in enumerate(self.spec.get("initContainers") or ()):
            role: Literal["sidecar", "init"] = "sidecar" if raw.get("restartPolicy") == "Always" else "init"
            yield Container(raw, ("spec", "initContainers", index), role)

    @property
    def volumes(self) -> list[Mapping[str, Any]]:
        """spec.volumes"""
        return self.spec.get("volumes") or []

    @property
    def security_context(self) -> Mapping[str, Any]:
        """spec.securityContext"""
        return self.spec.get("securityContext") or _NONE

    @cached_property
    def dpdk_containers(self) -> tuple[Container, ...]:
        """The containers that run DPDK; none while `dpdk_containers_problem` stands."""
        return self._choice[0]

    @property
    def dpdk_containers_problem(self) -> Reject | None:
        """Why it can't be told which containers run DPDK."""
        return self._choice[1]

    @cached_property
    def _choice(self) -> tuple[tuple[Container, ...], Reject | None]:
        """CONTRACT: the named ones, else those asking for hugepages, else the only one, else the default container."""
        if self.options.containers is not None:
            return self._named(self.options.containers)
        apps = [container for container in self.containers if container.role == "app"]
        chosen = [container for container in apps if container.asks_for_hugepages()] or (apps if len(apps) == 1 else [])
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


def _listed(containers: list[Container]) -> str:
    names = [container.name for container in containers]
    return ", ".join(names if len(names) <= 8 else [*names[:8], f"{len(names) - 8} more"])


def parse_pod(raw: object, at: Path = ()) -> Pod:
    """The view of a pod from outside; Malformed, with the path below `at`, when a field that the rules read is mistyped."""
    return Pod(check_shape(raw, at))
