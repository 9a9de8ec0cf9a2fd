"""Random pods as raw dicts: every axis of the contract, well-formed for the Kubernetes API, never the same object twice.

A pod is drawn calm or wild. A calm pod holds nothing that the contract rejects under default settings, though much that
it mutates; a wild one takes wrong values in about half of its parts, so that they meet sound ones.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.oracle.repair import repaired
from tests.strategies_values import (
    APPS,
    BROKEN,
    CHOICES,
    COMMANDS,
    COUNT,
    CPU_PAIRS,
    CPUS,
    DEVICE_PATHS,
    DPDK_PAIRS,
    EAL_FORMS,
    EAL_VALUES,
    ENV_PLACES,
    FEW,
    HOW_MOUNTED,
    HUGE,
    HUGE_PAIRS,
    KEYS,
    LEAVES,
    MEMORIES,
    MESSAGE_PATHS,
    METADATA,
    MOOD,
    MORE_OPTIONS,
    NO_ENV,
    NOT_OPTED_IN,
    NOT_WHOLE,
    NOTES,
    NOTHING,
    ODD_SIZES,
    OTHER_PAIRS,
    OTHER_PLACES,
    OTHER_SOURCES,
    PLACES,
    PROBES,
    SECURITY,
    SIZES,
    SPECS,
    TAKEN,
    VALUE_FROM,
    VOLUME_NAMES,
    ZERO,
    Draw,
    Json,
    chance,
    one_of,
)


def _pair(draw: Draw, form: str, amounts: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
    """Request and limit, each in a tuple of one, or an empty tuple where it is absent."""
    if form == "absent":
        return (), ()
    if form == "zero":
        return (draw(ZERO),), (draw(ZERO),)
    if form == "broken":
        sound, broken = (draw(one_of(*amounts[-1])),), (draw(BROKEN),)
        return draw(one_of((sound, broken), (broken, sound), (broken, broken)))
    if form == "parts":
        part = (draw(NOT_WHOLE),)
        return part, part
    index = draw(range(len(amounts) - (form in ("below", "above"))))
    low = (draw(one_of(*amounts[index])),)
    if form == "same":
        return low, (draw(one_of(*amounts[index])),)
    if form in ("below", "above"):
        high = (draw(one_of(*amounts[index + 1])),)
        return (low, high) if form == "below" else (high, low)
    return (low, ()) if form == "request" else ((), low)


def _resources(draw: Draw, calm: bool, is_dpdk: bool, sizes: Sequence[str]) -> Json:
    """Fields of a container that hold its resources."""
    pairs = {
        "cpu": _pair(draw, draw((CPU_PAIRS if is_dpdk else OTHER_PAIRS)[calm]), CPUS),
        "memory": _pair(draw, draw((DPDK_PAIRS if is_dpdk else OTHER_PAIRS)[calm]), MEMORIES),
    }
    for size in sizes:
        name = size if calm or not chance(draw, 15) else draw(ODD_SIZES)
        pairs[f"hugepages-{name}"] = _pair(draw, draw(HUGE_PAIRS[calm]), HUGE)
    if chance(draw, 10):
        pairs["ephemeral-storage"] = (("1Gi",), ("2Gi",)) if calm or not chance(draw, 20) else (("2Gi",), ("1G",))
        pairs["example.com/nic"] = ((1,), ("1",))
    sides = {side: {n: p[i][0] for n, p in pairs.items() if p[i]} for i, side in enumerate(("requests", "limits"))}
    resources: Json = {side: amounts for side, amounts in sides.items() if amounts}
    if chance(draw, 5):
        resources = {"requests": None, "limits": {}} | resources
    if not resources:
        return draw(one_of({}, {"resources": {}}, {"resources": None}))
    if chance(draw, 3):
        resources["claims"] = [{"name": "nic"}]
    return {"resources": _unknown(draw, resources)}


def _unknown(draw: Draw, raw: Json) -> Json:
    """Now and then, a field that no version of Kubernetes knows."""
    return {**raw, draw(KEYS): draw(LEAVES)} if chance(draw, 4) else raw


class _Volumes:
    """The pod's volumes while it is drawn, and the hugepage mounts of one container after another."""

    def __init__(self, draw: Draw, calm: bool, sizes: Sequence[str]) -> None:
        self.draw, self.calm, self.sizes = draw, calm, sizes
        self.volumes: list[Json] = []
        self.mounted: dict[str, str] = {}  # last volume of each size

    def add(self, source: Json, names: Sequence[str] = VOLUME_NAMES) -> str:
        """A volume under a name of its own."""
        name = self.draw(names)
        while any(volume["name"] == name for volume in self.volumes):
            name += "-x"
        self.volumes.append(_unknown(self.draw, {"name": name, **source}))
        return name

    def hugepages(self, size: str) -> str:
        """A hugepage volume for the size; the media that hang in FailedMount are for wild pods."""
        media = [f"HugePages-{size}"] * 3
        if len(self.sizes) == 1:
            media.append("HugePages")
        if not self.calm:
            media += ["HugePages", "HugePages-4Mi", "HugePages-2048Ki"]
        limit = {"sizeLimit": "1Gi"} if chance(self.draw, 5) else {}
        return self.add({"emptyDir": {"medium": self.draw(media), **limit}})

    def mounts(self, sizes: Sequence[str]) -> tuple[list[Json], list[str]]:
        """The mounts of one container, and the paths where it has hugepages."""
        draw = self.draw
        mounts: list[Json] = []
        paths: list[str] = []
        for size in sizes:
            if not chance(draw, 45):
                continue
            name = self.mounted[size] if size in self.mounted and chance(draw, 35) else self.hugepages(size)
            self.mounted[size] = name
            path = draw(PLACES) if not paths else f"/mnt/huge-{size}"
            paths.append(path)
            mount: Json = {"name": name, "mountPath": path}
            if chance(draw, 10):
                mount |= draw(HOW_MOUNTED)
            if not self.calm and chance(draw, 5):
                mount |= {"readOnly": True}
            mounts.append(_unknown(draw, mount))
        if chance(draw, 30):
            name = self.add(draw(OTHER_SOURCES), draw(one_of(VOLUME_NAMES, TAKEN)))
            mounts.append({"name": name, "mountPath": draw(OTHER_PLACES[self.calm]), "readOnly": True})
        return mounts, paths


def _environment(draw: Draw, calm: bool, name: str, paths: Sequence[str]) -> Json:
    """Fields of a container that hold its environment."""
    form = draw(EAL_FORMS[calm])
    value = draw(EAL_VALUES[calm])
    if paths and chance(draw, 40):
        value = draw(one_of("--huge-dir={}", "--huge-dir {}", "-l 2-3 --huge-dir={} -n 4")).format(draw(paths))
    literal = {"name": name} if value is None else {"name": name, "value": value}
    others = [
        {"name": "ARGS", "value": f"$({name})"},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "MORE", "value": draw(MORE_OPTIONS)},
    ]
    forms: dict[str, list[Json]] = {
        "absent": [],
        "from": [],
        "literal": [literal],
        "reference": [{"name": name, "valueFrom": VALUE_FROM}],
        "twice": [literal, {"name": name, "value": "-l 2-3"}],
    }
    entries = forms[form]
    env = {"alone": entries, "first": [*entries, *others], "last": [*others[1:], *entries]}[draw(ENV_PLACES)]
    fields: Json = {"env": env} if env else draw(NO_ENV)
    return fields | ({"envFrom": [{"configMapRef": {"name": "env"}}]} if form == "from" else {})


def _container(draw: Draw, calm: bool, name: str, cast: "_Cast", volumes: _Volumes) -> Json:
    is_dpdk, sizes = name in cast.dpdk, cast.sizes.get(name, [])
    mounts, paths = volumes.mounts(sizes) if is_dpdk else ([], [])
    if not is_dpdk and volumes.mounted and chance(draw, 10):
        mounts = [{"name": next(iter(volumes.mounted.values())), "mountPath": "/dev/hugepages", "readOnly": True}]
    raw: Json = {"name": name, "image": "registry.example/l2fwd:25.11", **_resources(draw, calm, is_dpdk, sizes)}
    if is_dpdk or chance(draw, 10):
        raw |= _environment(draw, calm, cast.options.get("dpdk/eal-env", "DPDK_EAL_ARGS"), paths)
        raw |= draw(COMMANDS[calm])
        if paths and chance(draw, 10):
            raw |= draw(one_of({"args": [f"--huge-dir={paths[0]}"]}, {"args": ["--huge-dir", paths[0]]}))
    if mounts:
        raw["volumeMounts"] = mounts
    elif chance(draw, 10):
        raw["volumeMounts"] = draw(NOTHING)
    security = draw(SECURITY[calm and is_dpdk])
    if security is not None:
        raw["securityContext"] = _unknown(draw, security)
    elif chance(draw, 5):
        raw["securityContext"] = None
    if chance(draw, 8):
        raw |= draw(PROBES)
    if chance(draw, 5):
        raw["terminationMessagePath"] = draw(MESSAGE_PATHS[calm])
    if chance(draw, 3):
        disk = volumes.add({"persistentVolumeClaim": {"claimName": "disk"}})
        raw["volumeDevices"] = [{"name": disk, "devicePath": draw(DEVICE_PATHS[calm])}]
    return _unknown(draw, raw)


@dataclass(frozen=True, slots=True)
class _Cast:
    """Who is in the pod: the containers' names by kind, which are for DPDK, the page sizes that each asks for."""

    apps: list[str]
    sidecars: list[str]
    inits: list[str]
    dpdk: list[str]
    sizes: dict[str, list[str]]
    options: Json

    @property
    def used(self) -> list[str]:
        return sorted({size for sizes in self.sizes.values() for size in sizes})

    @property
    def present(self) -> list[str]:
        """The sizes in use once the annotations have brought theirs."""
        prefix = "dpdk/hugepages-"
        return sorted({*self.used, *(key.removeprefix(prefix) for key in self.options if key.startswith(prefix))})


def _cast(draw: Draw, calm: bool) -> _Cast:
    """A cast whose DPDK containers are told apart in one of the contract's ways."""
    apps = list(draw(APPS))[: draw(COUNT)]
    sidecars = [f"proxy-{index}" for index in range(draw(FEW))]
    inits = [f"setup-{index}" for index in range(draw(FEW))]
    options = dict(draw(NOTES[calm]))
    choice = draw(CHOICES[calm])
    dpdk = [name for name in apps if chance(draw, 40)] or apps[:1]
    asking = list(dpdk)
    if choice == "named":
        # Whoever is not named may ask all the same, as plain init containers may.
        asking = [name for name in (*apps, *sidecars, *inits) if chance(draw, 60)]
        named = [name for name in sidecars if chance(draw, 30)]
        dpdk = named if named and chance(draw, 30) else dpdk + named
        options.setdefault("dpdk/containers", draw(one_of(",", ", ")).join(dpdk))
    elif choice == "default":
        dpdk, asking = apps[:1], []
        options["kubectl.kubernetes.io/default-container"] = apps[0]
    elif choice == "nobody":
        asking = []
    both = draw(SIZES)
    sizes = {name: both if chance(draw, 60) else [draw(both)] for name in asking}
    if not sizes.keys() >= set(dpdk) and (calm or chance(draw, 70)):
        options.setdefault(f"dpdk/hugepages-{both[0]}", draw(one_of("1Gi", "2048Mi")))
    # A calm pod names a size that some DPDK container has.
    wanted = [size for size in both if any(size in sizes.get(name, both[:1]) for name in dpdk)] if calm else both
    if wanted and chance(draw, 10):
        options.setdefault("dpdk/huge-size", draw(wanted))
    return _Cast(apps, sidecars, inits, dpdk, sizes, options)


def _pod(draw: Draw, calm: bool, notes: Json | None) -> Json:
    def build(name: str) -> Json:
        return _container(draw, part_is_calm(), name, cast, volumes)

    def part_is_calm() -> bool:
        return calm or not chance(draw, 50)

    cast = _cast(draw, part_is_calm())
    volumes = _Volumes(draw, part_is_calm(), cast.present)
    containers = [build(name) for name in cast.apps]
    sidecars = [{**build(name), "restartPolicy": "Always"} for name in cast.sidecars]
    inits = [build(name) for name in cast.inits]
    for size in cast.used:
        if chance(draw, 10):
            volumes.hugepages(size)  # nobody mounts it yet
    spec: Json = {**draw(SPECS[part_is_calm()]), "containers": containers}
    if sidecars or inits:
        spec["initContainers"] = draw(one_of([*sidecars, *inits], [*inits, *sidecars]))
    if volumes.volumes:
        spec["volumes"] = volumes.volumes
    elif chance(draw, 10):
        spec["volumes"] = []
    metadata = draw(METADATA)
    if notes is not None:
        metadata = {**metadata, "annotations": {**cast.options, **notes}}
    elif chance(draw, 40):
        metadata = {**metadata, "annotations": None}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": _unknown(draw, metadata), "spec": _unknown(draw, spec)}
    # A fresh copy, because the tables above lend the same objects to every pod.
    copied: Json = json.loads(json.dumps(_unknown(draw, pod)))
    return copied


def annotated_pod(draw: Draw, calm: bool | None = None) -> Json:
    """A pod that opted in; `calm` says whether to leave out what the contract rejects, by default six in ten do."""
    calm = draw(MOOD) if calm is None else calm
    pod = _pod(draw, calm, {"dpdk": "true"})
    return _short_of_compliant(draw, repaired(pod)) if calm and chance(draw, 20) else pod


def _short_of_compliant(draw: Draw, pod: Json) -> Json:
    """The pod as it keeps the promise, but for a field or two."""
    for container in pod["spec"]["containers"]:
        for field in ("securityContext", "env"):
            if chance(draw, 40):
                container.pop(field, None)
    return pod


def plain_pod(draw: Draw) -> Json:
    """A pod that did not opt in, near-misses included."""
    return _pod(draw, draw(MOOD), draw(NOT_OPTED_IN))


def any_pod(draw: Draw) -> Json:
    """Any pod; three in four opted in."""
    return plain_pod(draw) if chance(draw, 25) else annotated_pod(draw)
