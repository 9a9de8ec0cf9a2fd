"""Run the rules on a draft of a pod, and record what they did: the Decision that everything else renders."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from webhook.edits import Draft, Operation, Reject, Remove, Warn
from webhook.path import Path
from webhook.pod import Pod
from webhook.rules import OPT_IN, RULES, Rule
from webhook.settings import Settings


class Change(Struct, frozen=True, gc=False):
    """One thing that a rule changed."""

    rule: str
    container: str | None  # None: the pod itself
    operation: Operation
    after: Any  # at operation.path; UNSET is never here, None for a removal
    why: str


class Finding(Struct, frozen=True, gc=False):
    """One thing that a rule refuses, or warns of."""

    rule: str
    container: str | None
    path: Path
    reason: str  # short and stable
    detail: str  # one sentence, with what to write instead


class Decision(Struct, frozen=True, gc=False):
    """What became of one pod. `pod` is the pod as it would be; with rejections, as far as the rules got. It stands `at` a
    place in the object that was given, with which every path here begins."""

    is_promised: bool  # it said dpdk: "true" and is no static pod's mirror
    changes: tuple[Change, ...]
    rejections: tuple[Finding, ...]
    warnings: tuple[Finding, ...]
    pod: Mapping[str, Any]
    at: Path = ()

    @property
    def allowed(self) -> bool:
        """Nothing stands against this pod."""
        return not self.rejections

    @property
    def is_compliant(self) -> bool:
        """The pod needs nothing: it keeps the promise as it stands."""
        return not self.rejections and not self.changes

    @property
    def patch(self) -> list[dict[str, Any]]:
        """RFC 6902: applied to the object that was given, it gives the same with `pod` in its place."""
        return [change.operation.as_json() for change in self.changes]


def review(pod: Pod, settings: Settings, rules: Sequence[Rule] = RULES, *, at: Path = ()) -> Decision:
    """Ask every rule, in turn, about the pod as the rules before it left it."""
    is_promised = pod.is_annotated and not pod.is_mirror
    draft = Draft(pod.raw, at)
    changes: list[Change] = []
    rejections: list[Finding] = []
    warnings: list[Finding] = []
    names = {container.path: container.name for container in pod.containers}
    view = pod
    is_changed = False
    for rule in (OPT_IN, *rules) if is_promised else (OPT_IN,):
        if is_changed:
            view, is_changed = view.after(draft.pod), False
        # a rule sees the pod as it stood when the rule began: all of its edits are taken before the first is applied
        for edit in tuple(rule.propose(view, settings)):
            container = names.get(edit.path[:3])
            if isinstance(edit, Reject):
                rejections.append(Finding(rule.id, container, at + edit.path, edit.reason, edit.detail))
            elif isinstance(edit, Warn):
                warnings.append(Finding(rule.id, container, at + edit.path, edit.reason, edit.detail))
            else:
                value = None if isinstance(edit, Remove) else edit.value
                changes.append(Change(rule.id, container, draft.apply(edit), value, edit.why))
                is_changed = True
    return Decision(is_promised, tuple(changes), tuple(rejections), tuple(warnings), draft.pod, at)
