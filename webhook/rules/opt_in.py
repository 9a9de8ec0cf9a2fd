"""Only a pod that says dpdk: "true" is promised anything.

Reads:        metadata.annotations
Writes:       nothing
Rejects when: never; warns of a near-miss such as "True", and of a static pod's mirror, which no webhook can change
Why:          admission must never touch a pod that did not ask for it, and a near-miss must not pass for a yes
"""

from collections.abc import Iterator

from webhook.edits import Edit, Warn
from webhook.options import ANNOTATION
from webhook.path import shown
from webhook.pod import MIRROR, Pod
from webhook.settings import Settings

_NEAR = {"true", "yes", "on", "1", "enabled"}


def propose(pod: Pod, settings: Settings) -> Iterator[Edit]:
    value = pod.annotations.get(ANNOTATION) or ""
    path = ("metadata", "annotations", ANNOTATION)
    if pod.is_annotated and pod.is_mirror:
        detail = "the kubelet runs its own file, not this object; write the fields there"
        yield Warn(("metadata", "annotations", MIRROR), "static pod left alone", detail)
    elif value != "true" and value.strip().lower() in _NEAR:
        yield Warn(path, "not opted in", f"the value is '{shown(value, 20)}'; only \"true\" turns it on")
