"""The dpdk/… annotations are understood, and it is clear which containers run DPDK.

Reads:        metadata.annotations, containers[*].name, containers[*].resources
Writes:       nothing
Rejects when: an option is unknown or malformed, names a container that is not there, or no container can be chosen
Why:          a typo in an option must not pass silently
"""

from collections.abc import Iterator

from webhook.edits import Edit
from webhook.pod import Pod
from webhook.settings import Settings


def propose(pod: Pod, settings: Settings) -> Iterator[Edit]:
    yield from pod.options.problems
    if pod.dpdk_containers_problem and not pod.options.misread("dpdk/containers"):
        yield pod.dpdk_containers_problem
