"""The pods of an object: a Pod is one, a workload makes its own from a template, a List holds both.

Source: the Kubernetes API reference, apps/v1 and batch/v1. A template is reviewed as the pod that a controller makes of it:
the rules need none of the API server's defaults, since a missing request is to them what its limit says.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from msgspec.structs import replace

from webhook.edits import Draft, Set
from webhook.options import ANNOTATION
from webhook.path import Path, dotted, shown
from webhook.pod import Pod, parse_pod
from webhook.quantity import json_type
from webhook.review import Decision, Finding, review
from webhook.settings import Settings
from webhook.shape import CONTAINERS, Malformed

WORKLOADS: Final[Mapping[str, str]] = {
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "DaemonSet": "apps/v1",
    "ReplicaSet": "apps/v1",
    "Job": "batch/v1",
    "CronJob": "batch/v1",
}
KINDS: Final = ("Pod", *WORKLOADS)
_LISTS: Final = ("List", *(f"{kind}List" for kind in KINDS))
_OWN: Final[Path] = ("metadata", "annotations", ANNOTATION)


@dataclass(frozen=True, slots=True)
class Subject:
    """One pod or template, `at` its place in the object that was given."""

    kind: str
    name: str  # of the pod or workload; its place in a List where it has none yet
    at: Path
    pod: Pod
    is_misplaced: bool  # the workload says dpdk: "true" of itself, and its template, which is what counts, does not

    def decide(self, settings: Settings) -> Decision:
        """The decision about it; every path begins at the object that was given."""
        decision = review(self.pod, settings, at=self.at)
        if not self.is_misplaced:
            return decision
        detail = f"annotate {dotted(_template(self.kind))}, which its pods are made from, and not the {self.kind} itself"
        owner = self.at[: len(self.at) - len(_template(self.kind))]
        misplaced = Finding("opt_in", None, (*owner, *_OWN), "not opted in", detail)
        return replace(decision, warnings=(misplaced, *decision.warnings))


def subjects(given: object, root: Path = ()) -> list[Subject]:
    """Every pod and template in an object; none for kinds that make no pods. Malformed, with the path below `root`, for one
    whose fields the rules could not read."""
    return list(_subjects(given, (), root))


def _subjects(given: object, at: Path, root: Path) -> Iterator[Subject]:
    if not isinstance(given, Mapping):
        raise Malformed((*root, *at), f"an object is expected, not {json_type(given)}")
    kind, version = given.get("kind", "Pod"), given.get("apiVersion") or "v1"
    if not isinstance(kind, str):
        raise Malformed((*root, *at, "kind"), f"a string is expected, not {json_type(kind)}")
    if kind in _LISTS and not at and version in ("v1", "apps/v1", "batch/v1"):
        items = given.get("items") or []
        if not isinstance(items, list):
            raise Malformed((*root, "items"), f"a list is expected, not {json_type(items)}")
        for index, item in enumerate(items):
            yield from _subjects(item, ("items", index), root)
    elif kind == "Pod" and version == "v1":  # of another group it may be anything, as may the others
        yield Subject(kind, _name(given, at), at, parse_pod(given, (*root, *at)), is_misplaced=False)
    elif kind in WORKLOADS and given.get("apiVersion") in (None, WORKLOADS[kind]):
        path = (*at, *_template(kind))
        pod = parse_pod(_member(given, _template(kind), (*root, *at)), (*root, *path))
        metadata = given.get("metadata")
        annotations = metadata.get("annotations") if isinstance(metadata, Mapping) else None
        says_so = isinstance(annotations, Mapping) and annotations.get(ANNOTATION) == "true"
        yield Subject(kind, _name(given, at), path, pod, is_misplaced=says_so and ANNOTATION not in pod.annotations)


def _template(kind: str) -> Path:
    """Where a workload keeps the template of its pods."""
    return ("spec", "jobTemplate", "spec", "template") if kind == "CronJob" else ("spec", "template")


def _member(given: Any, path: Path, root: Path) -> object:
    for depth, part in enumerate(path):
        given = given.get(part)
        if not isinstance(given, Mapping):
            raise Malformed((*root, *path[: depth + 1]), f"an object is expected, not {json_type(given)}")
    return given


def _name(given: Mapping[str, Any], at: Path) -> str:
    metadata = given.get("metadata")
    named = metadata if isinstance(metadata, Mapping) else {}
    name = named.get("name") or named.get("generateName") or (dotted(at) if at else "without a name")
    return shown(str(name), 63)


def rewritten(given: Mapping[str, Any], decisions: Iterable[Decision]) -> Mapping[str, Any]:
    """The object with its pods and templates as they would be; it is not written to."""
    draft = Draft(given)
    for decision in decisions:
        if not decision.at:
            return decision.pod
        draft.apply(Set(decision.at, decision.pod, ""))
    return draft.pod


@dataclass(frozen=True, slots=True)
class Reviewed:
    """One object of a manifest, its pods and templates, and the decision about each."""

    given: Mapping[str, Any]
    subjects: Sequence[Subject]
    decisions: Sequence[Decision]

    @property
    def after(self) -> Mapping[str, Any]:
        """The object as it would be."""
        return rewritten(self.given, self.decisions)


def review_all(documents: Sequence[Any], settings: Settings) -> list[Reviewed]:
    """Every object of a manifest, reviewed; Malformed when none of them is, or makes, a pod."""
    found = [subjects(given, () if len(documents) == 1 else (f"document {n}",)) for n, given in enumerate(documents, 1)]
    if not any(found):
        raise Malformed((), f"there is no pod or workload here that can be read; those are {', '.join(KINDS)} and List")
    containers = sum(len(subject.pod.containers) for each in found for subject in each)
    if containers > CONTAINERS:
        # a few lines of YAML can ask for thousands, and whoever asks must not keep admission waiting
        raise Malformed((), f"{containers} containers; no more than {CONTAINERS} are reviewed at once")
    return [
        Reviewed(given, each, [subject.decide(settings) for subject in each])
        for given, each in zip(documents, found, strict=True)
    ]
