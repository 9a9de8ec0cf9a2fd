"""Nothing runs beside the polling cores without its author knowing.

Reads:        containers[*].livenessProbe, readinessProbe, startupProbe and lifecycle, of DPDK containers
Writes:       nothing
Rejects when: never; warns of an exec probe or an exec hook
Why:          the runtime starts the command on the container's own CPUs, all of which EAL polls: each run takes one of them
              away for its time (Kubernetes: liveness, readiness and startup probes)
"""

from collections.abc import Iterator

from webhook.edits import Edit, Warn
from webhook.pod import Pod
from webhook.settings import Settings

_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_HOOKS = ("postStart", "preStop")


def propose(pod: Pod, settings: Settings) -> Iterator[Edit]:
    for container in pod.dpdk_containers:
        for probe in _PROBES:
            if (container.raw.get(probe) or {}).get("exec") is not None:
                detail = f"{probe} runs on the polling cores; use httpGet, tcpSocket or grpc"
                yield Warn(container.at(probe, "exec"), "exec probe", detail)
        hooks = container.raw.get("lifecycle") or {}
        for hook in _HOOKS:
            if (hooks.get(hook) or {}).get("exec") is not None:
                detail = f"{hook} runs on the polling cores; keep it short"
                yield Warn(container.at("lifecycle", hook, "exec"), "exec hook", detail)
