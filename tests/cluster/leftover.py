"""Everything that an API server can list, and what of it was not there before."""

from collections.abc import Iterator, Set
from typing import Any, NamedTuple

import httpx

from tests.cluster.cluster import ApiServer

# Written by whoever has something to tell, and gone after an hour.
IGNORED = frozenset({"events"})
PAGE = 500


class Found(NamedTuple):
    """One object. Another one of the same name is another object."""

    resource: str  # with its group: deployments.apps
    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.resource} {self.namespace}/{self.name}" if self.namespace else f"{self.resource} {self.name}"


def everything(server: ApiServer, *, without: Set[str] = frozenset()) -> frozenset[Found]:
    """Every object of every resource that can be listed, in the preferred version of its group, custom ones included.

    `without` are namespaces that somebody else fills meanwhile.
    """
    return frozenset(
        found
        for base, resource, label in _resources(server)
        for found in _listed(server, f"{base}/{resource}", label)
        if found.namespace not in without and not (found.resource == "namespaces" and found.name in without)
    )


def left_over(before: Set[Found], after: Set[Found]) -> list[str]:
    """What is there now and was not before, in words."""
    return sorted(str(found) for found in after - before)


def lost(before: Set[Found], after: Set[Found]) -> list[str]:
    """What was there before and is not now."""
    return sorted(str(found) for found in before - after)


def resources(server: ApiServer) -> list[str]:
    """The names of all that is looked through."""
    return sorted(label for _, _, label in _resources(server))


def _resources(server: ApiServer) -> Iterator[tuple[str, str, str]]:
    groups = _ask(server, "/apis")["groups"]
    bases = [("/api/v1", "")] + [(f"/apis/{group['preferredVersion']['groupVersion']}", group["name"]) for group in groups]
    for base, group in bases:
        for resource in _ask(server, base)["resources"]:
            name = resource["name"]
            if "list" in resource["verbs"] and "/" not in name and name not in IGNORED:
                yield base, name, f"{name}.{group}" if group else name


def _listed(server: ApiServer, path: str, label: str) -> Iterator[Found]:
    after = ""
    while True:
        answer = _ask(server, f"{path}?limit={PAGE}{after}")
        for item in answer.get("items") or []:
            metadata = item["metadata"]
            yield Found(label, metadata.get("namespace", ""), metadata["name"], metadata.get("uid", ""))
        token = answer["metadata"].get("continue")
        if not token:
            return
        after = f"&continue={token}"


def _ask(server: ApiServer, path: str) -> dict[str, Any]:
    answer = server.api("GET", path)
    if answer.status != httpx.codes.OK:
        raise RuntimeError(f"{path} can't be listed: {answer.body}")
    return answer.body
