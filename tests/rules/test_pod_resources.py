"""pod_resources: resources are stated per container, not for the pod as a whole."""

from tests.minimal import Case, becomes, each, refused, stays

NOOP = [
    Case("none", {}),
    Case("null", {"spec.resources": None}),
]


@each(NOOP)
def test_noop(case: Case) -> None:
    stays(case)


REMOVED = [{"op": "remove", "path": "/spec/resources"}]

CHANGES = [
    Case("row 7: empty", {"spec.resources": {}}, REMOVED),
    Case("row 7: empty maps", {"spec.resources": {"requests": {}, "limits": {}}}, REMOVED),
    Case("row 7: null maps", {"spec.resources": {"requests": None}}, REMOVED),
]


@each(CHANGES)
def test_changes(case: Case) -> None:
    becomes(case)
    assert [change.why for change in case.decide().changes] == [
        "empty pod-level resources turn a Guaranteed pod into BestEffort"
    ]


SENTENCE = (
    "pod_resources: pod-level resources (spec.resources): "
    "they keep the CPU manager from giving exclusive CPUs; move them into the containers' resources"
)

REJECTS = [
    Case("row 6: limits", {"spec.resources.limits.cpu": "4"}, [SENTENCE]),
    Case("row 6: requests", {"spec.resources": {"requests": {"memory": "1Gi"}, "limits": {}}}, [SENTENCE]),
    Case("row 6: even 0 is content", {"spec.resources": {"requests": {"cpu": 0}}}, [SENTENCE]),
]


@each(REJECTS)
def test_rejects(case: Case) -> None:
    refused(case)
