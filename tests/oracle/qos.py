"""The QoS class that Kubernetes gives a pod, from its containers and init containers."""

from collections import defaultdict
from fractions import Fraction
from typing import Final, Literal

from tests.oracle.pod import SIDES, Container, Raw, containers, member
from tests.oracle.quantity import UnreadableError, parse

COMPUTE: Final = ("cpu", "memory")


def qos(pod: Raw) -> Literal["Guaranteed", "Burstable", "BestEffort"]:
    """The class by the containers alone: spec.resources, which can overrule them, is C1's to report.

    As in `ComputePodQOS`, after the API server's defaulting of requests to limits; what cannot be read is not set.
    """
    everyone = containers(pod)
    total: dict[str, dict[str, Fraction]] = {side: defaultdict(Fraction) for side in SIDES}
    for container in everyone:
        for side in SIDES:
            for resource in COMPUTE:
                if (value := _positive(container, side, resource)) is not None:
                    total[side][resource] += value
    if not total["requests"] and not total["limits"]:
        return "BestEffort"
    limited = all(_positive(c, "limits", resource) is not None for c in everyone for resource in COMPUTE)
    return "Guaranteed" if limited and total["requests"] == total["limits"] else "Burstable"


def _positive(container: Container, side: str, resource: str) -> Fraction | None:
    resources = member(container.raw, "resources")
    written = member(resources, side)
    if side == "requests" and resource not in written:
        written = member(resources, "limits")
    try:
        value = parse(written.get(resource))
    except UnreadableError:
        return None
    return value if value > 0 else None
