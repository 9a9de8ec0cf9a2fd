"""`python -m tests.cluster.rights`: the rights of overlays/self are enough for everything, and none of them is one too many.

With all of them a replica installs its certificates, rotates the CA, and mends what somebody deletes or corrupts. Then each
verb on each resource is taken away, one at a time: something of that must fail, visibly. Exit status 1 when nothing does.
"""

import argparse
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import yaml

from certs.rotate import MARGIN
from tests.cluster.cluster import OVERLAY, Cluster
from tests.cluster.damages import DAMAGES
from tests.cluster.harmed import SECONDS, SETTLE, Harmed
from tests.cluster.kept import ACCOUNT
from tests.cluster.play import Figures, play, say
from tests.cluster.replicas import NAMESPACE, ROUTING
from tests.cluster.tied import until

HEALED: Final = 8.0  # seconds
TICK: Final = 1.5  # seconds in which a replica looks at everything once more
LOGGED: Final = 0.3  # seconds after which a line is in the log
API: Final = "rbac.authorization.k8s.io"
USER: Final = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
# what the API server says, and the log passes on
_CANNOT: Final = re.compile(r'cannot (\w+) resource \\"(\w+)\\"')


def _drive(replicas: Harmed) -> None:
    time.sleep(SETTLE)
    replicas.drive(MARGIN.total_seconds() + 1)


ACTS: Final[Mapping[str, Callable[[Harmed], object]]] = {
    "installation": lambda _: None,  # there is no Secret and no Lease when the replica starts
    "CA demanded": lambda replicas: replicas.demand("ca"),
    "margin over": _drive,
    "Secret deleted": DAMAGES["secret-deleted"].act,
    "caBundle corrupted": DAMAGES["bundle-garbage"].act,
    "Lease deleted": DAMAGES["lease-deleted"].act,
}


@dataclass(frozen=True, slots=True)
class Right:
    """One verb on one resource, as one rule of a role gives it."""

    role: Mapping[str, Any]
    rule: int  # its place in the role
    resource: str
    verb: str

    def __str__(self) -> str:
        return f"{self.role['kind']} {self.role['metadata']['name']}, rule {self.rule}: {self.verb} {self.resource}"

    @property
    def path(self) -> str:
        """Of the role."""
        metadata = self.role["metadata"]
        place = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
        return f"/apis/{API}/v1{place}/{self.role['kind'].lower()}s/{metadata['name']}"

    def removed(self) -> dict[str, Any]:
        """The role without it, and with all else."""
        rules = list(self.role["rules"])
        rule = rules.pop(self.rule)
        others = [resource for resource in rule["resources"] if resource != self.resource]
        verbs = [verb for verb in rule["verbs"] if verb != self.verb]
        rest = [rule | {"resources": others}, rule | {"resources": [self.resource], "verbs": verbs}]
        return {**self.role, "rules": rules + [each for each in rest if each["resources"] and each["verbs"]]}

    def asked(self) -> dict[str, Any]:
        """A SubjectAccessReview for it."""
        rule = self.role["rules"][self.rule]
        attributes = {
            "namespace": self.role["metadata"].get("namespace", ""),
            "verb": self.verb,
            "group": rule["apiGroups"][0],
            "resource": self.resource,
            "name": rule.get("resourceNames", [""])[0],
        }
        spec = {"user": USER, "resourceAttributes": attributes}
        return {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}


def rights(documents: Sequence[Mapping[str, Any]]) -> Iterator[Right]:
    """Every right that the manifests give."""
    for role in documents:
        if role["kind"] in ("Role", "ClusterRole"):
            for number, rule in enumerate(role["rules"]):
                for resource in rule["resources"]:
                    for verb in rule["verbs"]:
                        yield Right(role, number, resource, verb)


def run(options: argparse.Namespace) -> Figures:
    """With all rights, and then without each of them."""
    with (
        TemporaryDirectory(prefix="dpdk-webhook-") as directory,
        Cluster(flags=[ROUTING]) as cluster,
        Harmed(cluster, Path(directory), 1) as replicas,
    ):
        replicas.kill(replicas.running[0], lag=0)
        every = list(rights(list(yaml.safe_load_all(cluster.kubectl("kustomize", OVERLAY).stdout))))
        with_all = _tried(replicas, 100)
        without: dict[str, Figures] = {}
        for number, right in enumerate(every[:: options.each], start=101):
            replicas.send("PUT", right.path, right.removed())
            _wait(replicas, right, allowed=False)
            without[str(right)] = _tried(replicas, number) | {"verb": right.verb, "resource": right.resource}
            replicas.send("PUT", right.path, right.role)
            _wait(replicas, right, allowed=True)
            say(f"{right}: {without[str(right)]}")
        return {"rights": len(every), "with_all": with_all, "without": without}


def _wait(replicas: Harmed, right: Right, *, allowed: bool) -> None:
    """Until the API server's authorizer knows; or for 5 s, as it never does where another rule gives the same right."""

    def told() -> bool:
        answer = replicas.send("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", right.asked())
        return bool(answer.body["status"]["allowed"]) is allowed

    with suppress(TimeoutError):
        until(told, seconds=5, waiting_for=f"{right} to be {allowed}")


def _tried(replicas: Harmed, number: int) -> Figures:
    """One act after the other, until something is seen to fail, with a replica that has just started."""
    for kind in ("Secret", "Lease"):
        with suppress(LookupError):
            replicas.delete(kind)
    replica = replicas.launch(number)
    replica.process.wait_ready(lambda: replicas.answers(replica, "/livez"), seconds=SECONDS)
    done: list[str] = []
    for name, act in ACTS.items():
        act(replicas)
        with suppress(TimeoutError):
            until(lambda: _forbidden(replicas) or replicas.is_healed(), seconds=HEALED, waiting_for=name)
        if _forbidden(replicas) or not replicas.is_healed():
            break
        done.append(name)
    else:
        time.sleep(TICK)
    time.sleep(LOGGED)
    figures = {
        "done": done,
        "ready": replicas.answers(replica, "/readyz"),
        "forbidden": _forbidden(replicas),
        "cannot": sorted({" ".join(found) for found in _CANNOT.findall(replica.process.log.read_text())}),
    }
    replicas.kill(replica, lag=0)
    return figures


def _forbidden(replicas: Harmed) -> bool:
    return replicas.told()["certificate_errors_total forbidden"] > 0


def broken(figures: Figures) -> list[str]:
    """Every promise that these figures break, as sentences."""
    problems = []
    if figures["with_all"]["done"] != list(ACTS) or figures["with_all"]["forbidden"]:
        problems.append(f"the rights of deploy/overlays/self are not enough: {figures['with_all']}")
    for right, tried in figures["without"].items():
        told = tried["forbidden"] and f"{tried['verb']} {tried['resource']}" in tried["cannot"]
        if not told:
            problems.append(f"nobody misses {right}")
    return problems


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.rights", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--each", type=int, default=1, metavar="N", help="take only every Nth right away (default: all)")
    return play(parser, arguments, run, broken)


if __name__ == "__main__":
    sys.exit(main())
