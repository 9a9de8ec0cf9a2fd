"""Each DPDK container has hugepages: the request, the volume, and the mount that EAL maps them from.

Reads:        containers[*].resources, containers[*].volumeMounts, spec.volumes, dpdk/hugepages-<size>, dpdk/huge-dir
Writes:       resources.requests and resources.limits (hugepages-<size>), volumes (appended), volumeMounts (appended)
Rejects when: no amount is known, request and limit differ, the amount is not whole pages, no node advertises the page size,
              there are more sizes than any node has, a hugepage volume fits nothing that is requested, its mount is read-only,
              or the mount path is taken
Why:          without request, volume and mount EAL finds no hugepages or the pod stays in FailedMount
              (Kubernetes: Manage HugePages)
"""

from collections.abc import Iterator
from itertools import chain

from webhook.edits import Append, Edit, Set
from webhook.hugetlbfs import plan
from webhook.pod import Pod
from webhook.settings import Settings


def propose(pod: Pod, settings: Settings) -> Iterator[Edit]:
    planned = plan(pod, settings)
    yield from planned.problems
    yield from planned.notes
    given_why = "the amount that the annotation gives" if pod.options.hugepages else "this site's default amount"
    for page in planned.pages:
        why = "hugepages need requests equal to limits" if page.asked else given_why
        requests, limits = page.container.amounts
        resource = page.size.resource
        for side, given in (("limits", limits), ("requests", requests)):
            # a 0 counts as unset; what the container asks for on this side is equal already, or the plan has a problem
            if not page.asked or given.get(resource) is None:
                yield Set(page.container.at("resources", side, resource), str(page.amount), why)
    for mount in chain.from_iterable(planned.mounts.values()):
        if not mount.has_volume:
            volume = {"name": mount.volume, "emptyDir": {"medium": f"HugePages-{mount.size}"}}
            yield Append(("spec", "volumes"), volume, "DPDK maps its memory from this volume")
        if not mount.is_mounted:
            entry = {"name": mount.volume, "mountPath": mount.path}
            yield Append(mount.container.at("volumeMounts"), entry, "EAL creates its files in this hugetlbfs mount")
