"""ipc_lock: each DPDK container may lock memory."""

from tests.minimal import (
    APP,
    POINTER,
    REMOVE,
    SECOND,
    Case,
    add,
    becomes,
    each,
    is_warned,
    other_container,
    refused,
    stays,
)

CONTEXT = f"{APP}.securityContext"
CAPABILITIES = f"{CONTEXT}.capabilities"
AT = f"{POINTER}/securityContext"

NOOP = [
    Case("row 59: added", {}),
    Case("row 48: in small letters", {f"{CAPABILITIES}.add": ["ipc_lock"]}),
    Case("row 48: among others", {f"{CAPABILITIES}.add": ["NET_ADMIN", "IPC_LOCK", "SYS_NICE"]}),
    Case("row 48: ALL", {f"{CAPABILITIES}.add": ["ALL"]}),
    Case("row 48: all, in small letters", {f"{CAPABILITIES}.add": ["all"]}),
    Case("row 51: added by its name, everything dropped", {f"{CAPABILITIES}.drop": ["ALL"]}),
    Case("others dropped", {f"{CAPABILITIES}.drop": ["NET_RAW"]}),
    Case("row 52: privileged", {CONTEXT: {"privileged": True}}),
    Case(
        "row 54: another container's capabilities", {"spec.containers.1": other_container(securityContext={"privileged": True})}
    ),
]


@each(NOOP)
def test_noop(case: Case) -> None:
    stays(case)


CHANGES = [
    Case(
        "row 47: no securityContext",
        {CONTEXT: REMOVE},
        [add(AT, {"capabilities": {"add": ["IPC_LOCK"]}})],
    ),
    Case(
        "row 47: a null securityContext",
        {CONTEXT: None},
        [add(AT, {"capabilities": {"add": ["IPC_LOCK"]}})],
    ),
    Case(
        "row 47: no capabilities",
        {CONTEXT: {"privileged": False}},
        [add(f"{AT}/capabilities", {"add": ["IPC_LOCK"]})],
    ),
    Case(
        "row 47: none added",
        {CAPABILITIES: {}},
        [add(f"{AT}/capabilities/add", ["IPC_LOCK"])],
    ),
    Case(
        "row 47: a null list",
        {f"{CAPABILITIES}.add": None},
        [add(f"{AT}/capabilities/add", ["IPC_LOCK"])],
    ),
    Case(
        "row 47: others added keep their places",
        {f"{CAPABILITIES}.add": ["NET_ADMIN"]},
        [add(f"{AT}/capabilities/add/-", "IPC_LOCK")],
    ),
    Case(
        "row 51: everything dropped",
        {CAPABILITIES: {"drop": ["ALL"]}},
        [add(f"{AT}/capabilities/add", ["IPC_LOCK"])],
    ),
    Case(
        "row 51: dropping everything takes back what adding everything gave",
        {CAPABILITIES: {"add": ["ALL"], "drop": ["all"]}},
        [add(f"{AT}/capabilities/add/-", "IPC_LOCK")],
    ),
    Case(
        "row 49: the name with CAP_ is kept, and IPC_LOCK added beside it",
        {f"{CAPABILITIES}.add": ["CAP_IPC_LOCK"]},
        [add(f"{AT}/capabilities/add/-", "IPC_LOCK")],
    ),
    Case(
        "row 47: every DPDK container, and row 54: no other",
        {
            **SECOND,
            CONTEXT: REMOVE,
            "spec.containers.1.securityContext": REMOVE,
            "spec.containers.2": other_container(),
        },
        [
            add("/spec/containers/0/securityContext", {"capabilities": {"add": ["IPC_LOCK"]}}),
            add("/spec/containers/1/securityContext", {"capabilities": {"add": ["IPC_LOCK"]}}),
        ],
    ),
]


@each(CHANGES)
def test_changes(case: Case) -> None:
    becomes(case)
    assert {change.why for change in case.decide().changes} == {"pages are locked so that devices can reach them"}


def dropped(index: int) -> list[str]:
    where = f"container app, spec.containers[0].securityContext.capabilities.drop[{index}]"
    return [f"ipc_lock: IPC_LOCK dropped ({where}): drop beats add; remove it there"]


REJECTS = [
    Case("row 50: dropped", {f"{CAPABILITIES}.drop": ["IPC_LOCK"]}, dropped(0)),
    Case("row 50: dropped and not added", {CAPABILITIES: {"drop": ["NET_RAW", "IPC_LOCK"]}}, dropped(1)),
    Case("row 50: dropped with CAP_", {f"{CAPABILITIES}.drop": ["CAP_IPC_LOCK"]}, dropped(0)),
    Case("row 50: dropped in small letters", {f"{CAPABILITIES}.drop": ["cap_ipc_lock"]}, dropped(0)),
]


@each(REJECTS)
def test_rejects(case: Case) -> None:
    refused(case)


BOUNDING = "ipc_lock: container app, not root: IPC_LOCK is in the bounding set only: the binary needs file capabilities"
FS_GROUP = "ipc_lock: not root, no fsGroup: hugetlbfs is writable by root only; set spec.securityContext.fsGroup"

WARNS = [
    Case("row 59: root by default", {}, []),
    Case(
        "row 53: root in the container, nobody in the pod", {f"{CONTEXT}.runAsUser": 0, "spec.securityContext.runAsUser": 1}, []
    ),
    Case("row 53: root, whatever the image says", {"spec.securityContext.runAsUser": 0}, []),
    Case(
        "row 53: a user of the container",
        {f"{CONTEXT}.runAsUser": 1000},
        [BOUNDING, FS_GROUP],
    ),
    Case(
        "row 53: a user of the pod",
        {"spec.securityContext.runAsUser": 1000},
        [BOUNDING, FS_GROUP],
    ),
    Case(
        "row 53: a user with a group for its files",
        {"spec.securityContext": {"runAsUser": 1000, "fsGroup": 2000}},
        [BOUNDING],
    ),
    Case(
        "row 53: any user but root",
        {f"{CONTEXT}.runAsNonRoot": True},
        [BOUNDING, FS_GROUP],
    ),
    Case(
        "row 53: the container takes back what the pod says",
        {f"{CONTEXT}.runAsNonRoot": False, "spec.securityContext.runAsNonRoot": True},
        [],
    ),
    Case(
        "row 49: the name with CAP_",
        {f"{CAPABILITIES}.add": ["NET_ADMIN", "CAP_IPC_LOCK"]},
        ["ipc_lock: container app, CAP_ prefix: containerd ignores CAP_IPC_LOCK; IPC_LOCK is added beside it"],
    ),
    Case(
        "row 52: privileged, whatever else it says",
        {CONTEXT: {"privileged": True, "runAsUser": 1000}},
        ["ipc_lock: container app, privileged: it has every capability; DPDK needs IPC_LOCK only"],
    ),
]


@each(WARNS)
def test_warns(case: Case) -> None:
    is_warned(case)
