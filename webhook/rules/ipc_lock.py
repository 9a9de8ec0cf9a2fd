"""Each DPDK container may lock memory.

Reads:        containers[*].securityContext, spec.securityContext
Writes:       securityContext.capabilities.add (IPC_LOCK appended)
Rejects when: capabilities.drop names IPC_LOCK
Why:          DMA needs pages that stay where they are: without CAP_IPC_LOCK, vfio fails with error 12 and no packet is sent
              (capabilities(7), DPDK: Linux drivers, VFIO); the Pod Security levels baseline and restricted both forbid it
"""

from collections.abc import Iterator

from webhook.edits import Append, Edit, Reject, Warn
from webhook.pod import Container, Pod
from webhook.settings import Settings


def propose(pod: Pod, settings: Settings) -> Iterator[Edit]:
    if settings.pod_security != "privileged" and pod.dpdk_containers:
        # never worked around: the author, who may not have written the capability, is told who will refuse it
        is_privileged = all(container.security_context.get("privileged") for container in pod.dpdk_containers)
        what = "privileged containers" if is_privileged else "IPC_LOCK"
        detail = f"baseline and restricted refuse {what}; the namespace must enforce privileged"
        yield Warn(("metadata", "namespace"), "Pod Security", detail)
    for container in pod.dpdk_containers:
        if container.security_context.get("privileged"):
            path = container.at("securityContext", "privileged")
            yield Warn(path, "privileged", "it has every capability; DPDK needs IPC_LOCK only")
            continue
        yield from _capability(container)
        yield from _non_root(pod, container)


def _capability(container: Container) -> Iterator[Edit]:
    capabilities = container.security_context.get("capabilities") or {}
    path = container.at("securityContext", "capabilities")
    add = [name.upper() for name in capabilities.get("add") or ()]
    drop = [name.upper() for name in capabilities.get("drop") or ()]
    for index, name in enumerate(drop):
        if name in ("IPC_LOCK", "CAP_IPC_LOCK"):
            detail = "drop beats add; remove it there"
            yield Reject((*path, "drop", index), "IPC_LOCK dropped", detail)
            return
    # dropping ALL takes back what adding ALL gave; only a capability added by its name survives it
    if "IPC_LOCK" in add or ("ALL" in add and "ALL" not in drop):
        return
    if "CAP_IPC_LOCK" in add:
        where = (*path, "add", add.index("CAP_IPC_LOCK"))
        yield Warn(where, "CAP_ prefix", "containerd ignores CAP_IPC_LOCK; IPC_LOCK is added beside it")
    yield Append((*path, "add"), "IPC_LOCK", "pages are locked so that devices can reach them")


def _non_root(pod: Pod, container: Container) -> Iterator[Edit]:
    """The container's own settings beat the pod's, one by one."""
    own, shared = container.security_context, pod.security_context
    user = own.get("runAsUser") if own.get("runAsUser") is not None else shared.get("runAsUser")
    must = own.get("runAsNonRoot") if own.get("runAsNonRoot") is not None else shared.get("runAsNonRoot")
    if not user and (user == 0 or not must):
        return
    path = container.at("securityContext")
    yield Warn(path, "not root", "IPC_LOCK is in the bounding set only: the binary needs file capabilities")
    if shared.get("fsGroup") is None:
        detail = "hugetlbfs is writable by root only; set spec.securityContext.fsGroup"
        yield Warn(("spec", "securityContext", "fsGroup"), "not root, no fsGroup", detail)
