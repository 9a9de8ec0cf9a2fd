"""host_users: the pod shares the host's user namespace."""

from tests.minimal import Case, each, refused, stays

NOOP = [
    Case("the default is the host's user namespace", {}),
    Case("null", {"spec.hostUsers": None}),
    Case("the host's, said aloud", {"spec.hostUsers": True}),
    Case("row 5: allowed by the site", {"spec.hostUsers": False}, settings={"allow_user_namespaces": True}),
]


@each(NOOP)
def test_noop(case: Case) -> None:
    stays(case)


REJECTS = [
    Case(
        "row 5: a user namespace of its own",
        {"spec.hostUsers": False},
        ["host_users: user namespace (spec.hostUsers): IPC_LOCK is not effective in a user namespace; remove hostUsers: false"],
    ),
]


@each(REJECTS)
def test_rejects(case: Case) -> None:
    refused(case)
