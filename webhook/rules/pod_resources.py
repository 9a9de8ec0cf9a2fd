"""Resources are stated per container, not for the pod as a whole.

Reads:        spec.resources
Writes:       spec.resources (removed when it says nothing)
Rejects when: spec.resources has content
Why:          the static CPU manager gives no exclusive CPUs to a pod with pod-level resources (KEP-2837), and an empty one
              makes a fully resourced pod BestEffort up to Kubernetes 1.36
"""

from collections.abc import Iterator

from webhook.edits import Edit, Reject, Remove
from webhook.pod import Pod
from webhook.settings import Settings

_PATH = ("spec", "resources")


def propose(pod: Pod, settings: Settings) -> Iterator[Edit]:
    resources = pod.spec.get("resources")
    if resources is None:
        return
    if any(resources.values()):
        detail = "they keep the CPU manager from giving exclusive CPUs; move them into the containers' resources"
        yield Reject(_PATH, "pod-level resources", detail)
    else:
        yield Remove(_PATH, "empty pod-level resources turn a Guaranteed pod into BestEffort")
