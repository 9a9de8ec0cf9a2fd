"""The pod shares the host's user namespace.

Reads:        spec.hostUsers
Writes:       nothing
Rejects when: spec.hostUsers is false, unless the setting allow_user_namespaces says otherwise
Why:          a hugetlbfs mount in a user namespace needs kernel 6.9 or newer, and IPC_LOCK has no effect on the host there
              (user_namespaces(7), Kubernetes: User Namespaces)
"""

from collections.abc import Iterator

from webhook.edits import Edit, Reject
from webhook.pod import Pod
from webhook.settings import Settings


def propose(pod: Pod, settings: Settings) -> Iterator[Edit]:
    if pod.spec.get("hostUsers") is False and not settings.allow_user_namespaces:
        detail = "IPC_LOCK is not effective in a user namespace; remove hostUsers: false"
        yield Reject(("spec", "hostUsers"), "user namespace", detail)
