"""Random pods are pods, reach every axis of the contract, and can be put right where they claim to be right enough."""

import json
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oracle import Site, qos, unexpected_changes, violations
from tests.oracle.quantity import UnreadableError, parse
from tests.oracle.repair import repaired
from tests.strategies import Seeded, annotated_pods, compliant_pods, plain_pods, pods
from tests.strategies_pods import any_pod

Json = dict[str, Any]
SITES = st.sampled_from([Site(), Site(cpu_step=2), Site(cpu_step=2, whole_cpus_all=True), Site(eal_env="ARGS")])


@given(pods())
def test_a_pod_survives_json(pod: Json) -> None:
    assert json.loads(json.dumps(pod, allow_nan=False)) == pod


@given(pods())
def test_a_pod_is_well_formed(pod: Json) -> None:
    spec = pod["spec"]
    everyone = [*spec["containers"], *(spec.get("initContainers") or [])]
    volumes = [volume["name"] for volume in spec.get("volumes") or []]
    mounts = [mount["name"] for c in everyone for mount in c.get("volumeMounts") or []]
    assert len({c["name"] for c in everyone}) == len(everyone)
    assert len(set(volumes)) == len(volumes)
    assert set(mounts) <= set(volumes)
    assert all(isinstance(value, str) for value in (pod["metadata"].get("annotations") or {}).values())


@given(st.data())
def test_two_pods_share_nothing(data: st.DataObject) -> None:
    before = data.draw(pods())
    kept = json.dumps(before)
    _scramble(data.draw(pods()))
    assert json.dumps(before) == kept


def _scramble(value: object) -> None:
    if isinstance(value, dict | list):
        for part in list(value.values() if isinstance(value, dict) else value):
            _scramble(part)
        value.clear()


@given(annotated_pods())
def test_annotated_pods_opted_in(pod: Json) -> None:
    assert pod["metadata"]["annotations"]["dpdk"] == "true"


@given(plain_pods())
def test_plain_pods_did_not(pod: Json) -> None:
    assert (pod["metadata"].get("annotations") or {}).get("dpdk") != "true"
    with pytest.raises(ValueError, match="nothing was promised"):
        violations(pod)


@given(annotated_pods(calm=True), SITES)
def test_a_calm_pod_can_be_put_right_and_the_oracle_sees_it(pod: Json, site: Site) -> None:
    after = repaired(pod, settings=site)
    assert violations(after, settings=site) == []
    assert violations(after, settings=site, before=pod) == []
    assert unexpected_changes(pod, after, settings=site) == []
    assert qos(after) == "Guaranteed"
    assert repaired(after, settings=site) == after


@given(compliant_pods())
def test_a_compliant_pod_is_one(pod: Json) -> None:
    assert violations(pod) == []


@given(annotated_pods())
def test_a_pod_that_is_left_alone_has_not_changed(pod: Json) -> None:
    assert unexpected_changes(pod, json.loads(json.dumps(pod))) == []


def traits(pod: Json) -> Iterator[str]:
    """What there is to say of a pod, along every axis of the contract."""
    spec, notes = pod["spec"], pod["metadata"].get("annotations", "absent")
    inits = spec.get("initContainers") or []
    yield f"{len(spec['containers'])} app containers"
    yield f"{sum('restartPolicy' in c for c in inits)} sidecars"
    yield f"{sum('restartPolicy' not in c for c in inits)} plain init containers"
    yield f"annotations {'null' if notes is None else 'absent' if notes == 'absent' else 'present'}"
    for key, value in notes.items() if isinstance(notes, dict) else ():
        yield f"annotation {key}"
        yield f"annotation {key}: {value}"
    for key in ("hostUsers", "os", "resources"):
        yield f"spec.{key} {spec.get(key, 'absent')}"
    yield from (f"metadata.{key}" for key in pod["metadata"])
    yield from (f"key {key}" for key in _keys(pod))
    for volume in spec.get("volumes") or []:
        yield from (f"volume {kind} {source}" for kind, source in volume.items())
        yield f"volume {volume['name']} is {'for hugepages' if _is_for_hugepages(volume) else 'for something else'}"
    names = [mount["name"] for c in spec["containers"] for mount in c.get("volumeMounts") or []]
    yield from ("shared volume" for name in names if names.count(name) > 1)
    for container in [*spec["containers"], *inits]:
        yield from _traits_of_container(container)
    if notes != "absent" and (notes or {}).get("dpdk") == "true":
        yield "compliant" if not violations(pod) else f"breaks {' '.join(sorted({v[:2] for v in violations(pod)}))}"


def _is_for_hugepages(volume: Json) -> bool:
    return "HugePages" in str(volume.get("emptyDir"))


def _traits_of_container(container: Json) -> Iterator[str]:
    resources = container.get("resources", "absent")
    yield f"resources {resources}"
    request, limit = ((resources or {}).get(side) or {} if resources != "absent" else {} for side in ("requests", "limits"))
    sizes = [name for name in {**request, **limit} if name.startswith("hugepages-")]
    yield f"{len(sizes)} page sizes"
    for name in {**request, **limit}:
        kind = "hugepages" if name in sizes else name
        yield f"asks for {name}"
        yield from (f"amount {side[name]!r}" for side in (request, limit) if name in side)
        if name not in request or name not in limit:
            yield f"{kind}: {'request' if name in request else 'limit'} alone"
            continue
        with suppress(UnreadableError):
            wanted, allowed = parse(request[name]), parse(limit[name])
            yield f"{kind}: request {'below' if wanted < allowed else 'above' if wanted > allowed else 'at'} its limit"
            yield f"{kind} {allowed}"
    for mount in container.get("volumeMounts") or []:
        yield from (f"mount {key} {value}" for key, value in mount.items())
    env = container.get("env", "absent")
    entries = [entry for entry in env or [] if entry["name"] in ("DPDK_EAL_ARGS", "EAL_ARGS")] if env != "absent" else []
    yield f"env {'list' if isinstance(env, list) and env else env}"
    yield f"{len(entries)} EAL variables"
    for entry in entries:
        value = str(entry.get("value", "absent"))
        yield f"EAL {'by reference' if 'valueFrom' in entry else value}"
        for mount in container.get("volumeMounts") or []:
            for mark, tokens in (("=", "one token"), (" ", "two tokens")):
                if f"--huge-dir{mark}{mount['mountPath']}" in value:
                    yield f"EAL with a mounted --huge-dir in {tokens}"
    yield from (f"field {key}" for key in container)
    for part in [*(container.get("command") or []), *(container.get("args") or [])]:
        yield from (f"word {word}" for word in part.split())
    security = container.get("securityContext", "absent")
    yield f"securityContext {security}"
    capabilities = (security or {}).get("capabilities", "absent") if isinstance(security, dict) else "absent"
    yield f"capabilities {capabilities}"


def _keys(value: object) -> Iterator[str]:
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _keys(part)
    if isinstance(value, dict):
        yield from value


EXPECTED = [
    *(f"{n} app containers" for n in (1, 2, 3, 4)),
    *(f"{n} {kind}" for n in (0, 1, 2) for kind in ("sidecars", "plain init containers", "page sizes", "EAL variables")),
    *(f"amount {a!r}" for a in (2, 2.0, "2", "2000m", "2e0", "+2", "1.5", ".5", "0", "0.0005", 1e9, 0, 0.0)),
    *(f"amount {a!r}" for a in ("two", "", "1K", "-1", "-1Gi", "1_000", "NaN", "1e1000000", "2k", None)),
    *(f"{kind}: {side} alone" for kind in ("cpu", "memory", "hugepages") for side in ("request", "limit")),
    *(f"{kind}: request {how} its limit" for kind in ("cpu", "memory", "hugepages") for how in ("at", "below", "above")),
    "hugepages 3145728",
    *(f"resources {form}" for form in ("absent", None, "{}")),
    *(f"asks for hugepages-{size}" for size in ("2Mi", "1Gi", "64Ki", "512Mi", "1024Mi", "2MB", "2mi", "3Mi")),
    "asks for ephemeral-storage",
    "asks for example.com/nic",
    *(
        f"volume emptyDir {{'medium': '{medium}'}}"
        for medium in ("HugePages", "HugePages-2Mi", "HugePages-1Gi", "HugePages-4Mi")
    ),
    "volume emptyDir {'medium': 'HugePages-2Mi', 'sizeLimit': '1Gi'}",
    "volume emptyDir {}",
    "volume emptyDir None",
    "volume configMap {'name': 'config', 'items': [{'key': 'a~1/b', 'path': 'a'}]}",
    *(f"volume hugepages-{size} is for {use}" for size in ("2mi", "1gi") for use in ("hugepages", "something else")),
    "shared volume",
    *(f"mount mountPath {path}" for path in ("/dev/hugepages", "/hugepages", "/dev", "/dev/hugepages/sub", "/hugepages/sub")),
    "mount readOnly True",
    "mount readOnly False",
    "mount subPath app",
    "mount subPathExpr $(POD)",
    *(f"env {form}" for form in ("absent", "None", "[]", "list")),
    *(
        f"EAL {form}"
        for form in ("absent", "", "-l 2-3", "by reference", "--huge-dir=/elsewhere", "--in-memory", "-l 2 --no-huge")
    ),
    *(f"EAL {form}" for form in ("-l 2 -- -i", "-l 2 $(MORE)", "-l $(POD) $$(MORE)", "--huge-dir=$(POD)")),
    "EAL with a mounted --huge-dir in one token",
    "EAL with a mounted --huge-dir in two tokens",
    "field envFrom",
    *(f"word {word}" for word in ("--huge-dir", "--huge-dir=/elsewhere", "--in-memory", "--no-huge", "$(DPDK_EAL_ARGS)")),
    *(f"securityContext {form}" for form in ("absent", None, {}, {"privileged": True})),
    "securityContext {'runAsUser': 1000, 'runAsNonRoot': True, 'capabilities': None}",
    *(f"capabilities {{'add': ['{name}']}}" for name in ("NET_ADMIN", "ipc_lock", "CAP_IPC_LOCK", "All")),
    *(f"capabilities {{'drop': ['{name}']}}" for name in ("ALL", "Cap_Ipc_Lock", "ipc_lock")),
    "capabilities {'add': ['IPC_LOCK'], 'drop': ['IPC_LOCK']}",
    "field livenessProbe",
    "field lifecycle",
    *(f"annotations {form}" for form in ("absent", "null", "present")),
    *(f"annotation dpdk: {value}" for value in ("true", "false", "True", "yes", "")),
    *(f"annotation dpdk/{key}" for key in ("containers", "hugepages-2Mi", "huge-dir", "huge-size", "eal-env", "whole-cpus")),
    *(
        f"annotation dpdk/{bad}"
        for bad in ("huge-dir: x y", "huge-dir: /", "huge-size: 4Mi", "eal-env: 1 A=B", "container: app")
    ),
    *(f"annotation dpdk/{bad}" for bad in ("containers: app,ghost", "containers: ", "hugepages-2Mi: much", "whole-cpus: yes")),
    *(f"annotation kubernetes.io/{key}" for key in ("limit-ranger", "config.mirror")),
    "annotation kubectl.kubernetes.io/default-container",
    "annotation a~1b/c~0",
    "metadata.generateName",
    *(f"key {key}" for key in ("futureField", "a/b", "~1", "a~0/b~1c", "ключ", "日本", "with blank", "")),
    *(f"spec.hostUsers {form}" for form in ("absent", True, False, None)),
    *(f"spec.os {form}" for form in ("absent", "{'name': 'linux'}", "{'name': 'windows'}", None)),
    *(f"spec.resources {form}" for form in ("absent", {}, None, {"limits": {"cpu": "4"}})),
    *(f"key {key}" for key in ("ephemeralContainers", "hostNetwork", "runtimeClassName", "tolerations", "schedulingGates")),
    "compliant",
    *(f"breaks {code}" for code in ("C5", "C6", "C5 C6", "C1 C2 C4 C5 C6")),
]


@cache
def reached() -> set[str]:
    """Traits of the same pods on every run, and of no more of them than it takes."""
    traits_seen: set[str] = set()
    for number in range(10_000):
        traits_seen.update(traits(any_pod(Seeded(f"0:{number}"))))
        if traits_seen.issuperset(EXPECTED):
            break
    return traits_seen


@pytest.mark.parametrize("trait", EXPECTED)
def test_every_axis_is_reached(trait: str) -> None:
    assert trait in reached()
