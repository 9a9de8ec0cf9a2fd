"""DPDK on Kubernetes means Linux.

Reads:        spec.os.name
Writes:       nothing
Rejects when: spec.os.name is windows
Why:          hugepages and Linux capabilities do not exist there, and the API refuses the latter (Kubernetes: Pod OS)
"""

from collections.abc import Iterator

from webhook.edits import Edit, Reject
from webhook.pod import Pod
from webhook.settings import Settings


def propose(pod: Pod, settings: Settings) -> Iterator[Edit]:
    if (pod.spec.get("os") or {}).get("name") == "windows":
        detail = "hugepages and IPC_LOCK exist on Linux only; remove the annotation dpdk or run the pod on Linux"
        yield Reject(("spec", "os", "name"), "windows pod", detail)
