"""exec_probes: nothing runs beside the polling cores without its author knowing."""

from tests.minimal import APP, Case, each, is_warned, other_container, stays

EXEC = {"exec": {"command": ["/healthy"]}}

NOOP = [
    Case("a probe that the kubelet runs itself", {f"{APP}.livenessProbe": {"tcpSocket": {"port": 9000}}}),
    Case("row 55: an exec probe is kept", {f"{APP}.livenessProbe": EXEC}),
]

WARNS = [
    Case(
        f"row 55: a {probe}",
        {f"{APP}.{probe}": EXEC},
        [f"exec_probes: container app, exec probe: {probe} runs on the polling cores; use httpGet, tcpSocket or grpc"],
    )
    for probe in ("livenessProbe", "readinessProbe", "startupProbe")
] + [
    Case(
        f"row 55: a {hook} hook",
        {f"{APP}.lifecycle": {hook: EXEC}},
        [f"exec_probes: container app, exec hook: {hook} runs on the polling cores; keep it short"],
    )
    for hook in ("postStart", "preStop")
] + [
    Case("another container's probe runs on the shared pool", {"spec.containers.1": other_container(livenessProbe=EXEC)}, []),
]  # fmt: skip


@each(NOOP)
def test_noop(case: Case) -> None:
    stays(case)


@each(WARNS)
def test_warns(case: Case) -> None:
    is_warned(case)
