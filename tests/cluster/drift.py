"""Whether what is installed differs from the manifests in anything, and whether applying them again changes anything.

As GitOps tools see it: Argo CD compares by a server-side dry run, Flux applies server-side, each again and again.
"""

import time
from typing import Any

import yaml

from tests.cluster.installers import GITOPS, NAMESPACE, Installer
from tests.cluster.reapplied import Repeated
from tests.cluster.tied import until

# Renewed by the replicas every two seconds: between the two reads of a comparison too.
RENEWED = frozenset({"Lease"})
QUIET = 1.5  # seconds in which nothing changes: then all is as it stays


def drift(installer: Installer, seconds: float) -> dict[str, Any]:
    """Apply all again and again for so long, then compare; what changed, and what differs, each empty if nothing did."""
    documents = installer.rendered()
    text = yaml.safe_dump_all(documents)
    changed: dict[str, list[str]] = {}
    settled(installer, text)
    before = versions(installer, text)
    installer.again()
    changed["installed again"] = differences(before, versions(installer, text))
    lasting = yaml.safe_dump_all([each for each in documents if each["kind"] not in RENEWED])
    diffs = {
        "diff": diff(installer, lasting),
        "diff --server-side": diff(installer, lasting, "--server-side", "--force-conflicts", f"--field-manager={GITOPS}"),
    }

    def apply() -> None:
        options = ("--server-side", "--force-conflicts", f"--field-manager={GITOPS}", f"--namespace={NAMESPACE}")
        installer.cluster.kubectl("apply", *options, "-f", "-", input=text)

    apply()  # the first time makes it an owner: this is written
    settled(installer, text)
    before = versions(installer, text)
    with Repeated(apply) as repeated:
        time.sleep(seconds)
    changed[f"applied by {GITOPS}"] = differences(before, versions(installer, text))
    return {"objects": len(documents), "applied": repeated.times, "changed": changed, "diffs": diffs}


def versions(installer: Installer, text: str) -> dict[str, str]:
    """The resourceVersion of each object, but for those that the replicas renew."""
    printed = installer.cluster.kubectl("get", f"--namespace={NAMESPACE}", "-o", "yaml", "-f", "-", input=text).stdout
    found = yaml.safe_load(printed)
    return {
        f"{item['kind']} {item['metadata']['name']}": item["metadata"]["resourceVersion"]
        for item in found.get("items", [found])  # of one object kubectl makes no list
        if item["kind"] not in RENEWED
    }


def differences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def diff(installer: Installer, text: str, *options: str) -> str:
    """What `kubectl diff` prints; empty if nothing."""
    run = installer.cluster.kubectl("diff", f"--namespace={NAMESPACE}", *options, "-f", "-", input=text, check=False)
    return run.stdout + run.stderr if run.returncode else ""


def leaving(installer: Installer) -> bool:
    """Whether a pod is about to end: the Deployment's status will tell of it."""
    pods = installer.cluster.api("GET", f"/api/v1/namespaces/{NAMESPACE}/pods").body["items"]
    return any("deletionTimestamp" in pod["metadata"] for pod in pods)


def settled(installer: Installer, text: str) -> None:
    """Return when nothing has changed for a while: no rollout goes on, and no caBundle is written."""
    seen: dict[str, str] = {}
    since = time.monotonic()

    def quiet() -> bool:
        nonlocal seen, since
        now = versions(installer, text)
        if now != seen or leaving(installer):
            seen, since = now, time.monotonic()
        return time.monotonic() - since >= QUIET

    until(quiet, seconds=60, waiting_for="nothing to change any more")
