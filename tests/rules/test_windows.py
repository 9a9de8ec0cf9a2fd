"""windows: DPDK on Kubernetes means Linux."""

from tests.minimal import Case, each, refused, stays

NOOP = [
    Case("no operating system named", {}),
    Case("null", {"spec.os": None}),
    Case("nameless", {"spec.os": {}}),
    Case("linux", {"spec.os.name": "linux"}),
]


@each(NOOP)
def test_noop(case: Case) -> None:
    stays(case)


REJECTS = [
    Case(
        "row 4: windows",
        {"spec.os.name": "windows"},
        [
            "windows: windows pod (spec.os.name): "
            "hugepages and IPC_LOCK exist on Linux only; remove the annotation dpdk or run the pod on Linux"
        ],
    ),
]


@each(REJECTS)
def test_rejects(case: Case) -> None:
    refused(case)
