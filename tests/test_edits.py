"""Edits become RFC 6902 operations: the patch applied to the input is the draft, and the input is never written to."""

import copy
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.edits import UNSET, Append, Draft, Operation, Prepend, Proposal, Remove, Set
from webhook.path import Path


def applied(before: dict[str, Any], *edits: Proposal) -> tuple[dict[str, Any], list[Operation]]:
    """The draft and its operations, with everything checked that holds for any edits at all."""
    untouched = copy.deepcopy(before)
    draft = Draft(before)
    operations: list[Operation] = []
    recorded: list[str] = []
    for edit in edits:
        operation = draft.apply(edit)
        operations.append(operation)
        recorded.append(repr(operation))
    assert before == untouched
    assert [repr(operation) for operation in operations] == recorded
    assert jsonpatch.JsonPatch([operation.as_json() for operation in operations]).apply(before) == draft.pod
    return draft.pod, operations


# the pod before, the edit, the operation, the pod after
LOWERED: list[tuple[str, dict[str, Any], Proposal, dict[str, Any], dict[str, Any]]] = [
    (
        "a value that is there is replaced",
        {"a": {"b": 1}},
        Set(("a", "b"), 2, ""),
        {"op": "replace", "path": "/a/b", "value": 2},
        {"a": {"b": 2}},
    ),
    (
        "a value that is false is there",
        {"a": {"b": False}},
        Set(("a", "b"), True, ""),
        {"op": "replace", "path": "/a/b", "value": True},
        {"a": {"b": True}},
    ),
    (
        "a value that is missing is added",
        {"a": {}},
        Set(("a", "b"), 2, ""),
        {"op": "add", "path": "/a/b", "value": 2},
        {"a": {"b": 2}},
    ),
    (
        "a null is as good as missing",
        {"a": {"b": None}},
        Set(("a", "b"), 2, ""),
        {"op": "add", "path": "/a/b", "value": 2},
        {"a": {"b": 2}},
    ),
    (
        "missing objects come with the value, in one operation",
        {"a": {}},
        Set(("a", "b", "c", "d"), 2, ""),
        {"op": "add", "path": "/a/b", "value": {"c": {"d": 2}}},
        {"a": {"b": {"c": {"d": 2}}}},
    ),
    (
        "a null object above the value is made anew",
        {"a": {"b": None}},
        Set(("a", "b", "c"), 2, ""),
        {"op": "add", "path": "/a/b", "value": {"c": 2}},
        {"a": {"b": {"c": 2}}},
    ),
    (
        "an item of a list is replaced, not inserted",
        {"a": [1, 2]},
        Set(("a", 0), 3, ""),
        {"op": "replace", "path": "/a/0", "value": 3},
        {"a": [3, 2]},
    ),
    (
        "a null item of a list is replaced, not inserted",
        {"a": [None, 2]},
        Set(("a", 0, "b"), 3, ""),
        {"op": "replace", "path": "/a/0", "value": {"b": 3}},
        {"a": [{"b": 3}, 2]},
    ),
    (
        "~ and / in keys are escaped",
        {"a": {"x/y": {"~": 1}}},
        Set(("a", "x/y", "~"), 2, ""),
        {"op": "replace", "path": "/a/x~1y/~0", "value": 2},
        {"a": {"x/y": {"~": 2}}},
    ),
    (
        "appended to a list",
        {"a": [1]},
        Append(("a",), 2, ""),
        {"op": "add", "path": "/a/-", "value": 2},
        {"a": [1, 2]},
    ),
    (
        "appended to an empty list",
        {"a": []},
        Append(("a",), 2, ""),
        {"op": "add", "path": "/a/-", "value": 2},
        {"a": [2]},
    ),
    (
        "appended to a missing list, below a missing object",
        {},
        Append(("a", "b"), 2, ""),
        {"op": "add", "path": "/a", "value": {"b": [2]}},
        {"a": {"b": [2]}},
    ),
    (
        "appended to a null list",
        {"a": None},
        Append(("a",), 2, ""),
        {"op": "add", "path": "/a", "value": [2]},
        {"a": [2]},
    ),
    (
        "appended inside an item of a list",
        {"a": [{"b": [1]}]},
        Append(("a", 0, "b"), 2, ""),
        {"op": "add", "path": "/a/0/b/-", "value": 2},
        {"a": [{"b": [1, 2]}]},
    ),
    (
        "put in front of a list",
        {"a": [1]},
        Prepend(("a",), 2, ""),
        {"op": "add", "path": "/a/0", "value": 2},
        {"a": [2, 1]},
    ),
    (
        "put in front of a missing list",
        {},
        Prepend(("a",), 2, ""),
        {"op": "add", "path": "/a", "value": [2]},
        {"a": [2]},
    ),
    (
        "removed",
        {"a": {"b": 1, "c": 2}},
        Remove(("a", "b"), ""),
        {"op": "remove", "path": "/a/b"},
        {"a": {"c": 2}},
    ),
    (
        "removed from a list",
        {"a": [1, 2]},
        Remove(("a", 0), ""),
        {"op": "remove", "path": "/a/0"},
        {"a": [2]},
    ),
    (
        "removed together with the null that stands above it",
        {"a": None, "b": 1},
        Remove(("a", "c"), ""),
        {"op": "remove", "path": "/a"},
        {"b": 1},
    ),
]


@pytest.mark.parametrize(
    ("before", "edit", "operation", "after"), [row[1:] for row in LOWERED], ids=[row[0] for row in LOWERED]
)
def test_an_edit_becomes_one_operation(
    before: dict[str, Any], edit: Proposal, operation: dict[str, Any], after: dict[str, Any]
) -> None:
    draft, operations = applied(before, edit)
    assert [operation.as_json() for operation in operations] == [operation]
    assert draft == after


RECORDED: list[tuple[str, dict[str, Any], Proposal, Path, Any]] = [
    ("what was replaced", {"a": 1}, Set(("a",), 2, ""), ("a",), 1),
    ("nothing was there", {"a": {}}, Set(("a", "b", "c"), 2, ""), ("a", "b", "c"), UNSET),
    ("null was there", {"a": None}, Set(("a",), 2, ""), ("a",), UNSET),
    ("the place of an appended value", {"a": [1, 2]}, Append(("a",), 3, ""), ("a", 2), UNSET),
    ("the place in a list that had to be made", {}, Append(("a", "b"), 3, ""), ("a", "b", 0), UNSET),
    ("the place of a value put in front", {"a": [1, 2]}, Prepend(("a",), 3, ""), ("a", 0), UNSET),
    ("what was removed", {"a": {"b": [1]}}, Remove(("a", "b"), ""), ("a", "b"), [1]),
]


@pytest.mark.parametrize(("before", "edit", "path", "was"), [row[1:] for row in RECORDED], ids=[row[0] for row in RECORDED])
def test_an_operation_records_where_the_value_stands_and_what_stood_there(
    before: dict[str, Any], edit: Proposal, path: Path, was: Any
) -> None:
    _, [operation] = applied(before, edit)
    assert operation.path == path
    assert operation.before == was


def test_unset_shows_its_name() -> None:
    assert repr(UNSET) == "UNSET"


def test_a_recorded_value_stays_when_something_below_it_changes_later() -> None:
    draft, (first, _, _) = applied(
        {},
        Set(("a", "b"), {"c": [1]}, ""),
        Append(("a", "b", "c"), 2, ""),
        Set(("a", "b", "d"), 3, ""),
    )
    assert first.value == {"b": {"c": [1]}}
    assert draft == {"a": {"b": {"c": [1, 2], "d": 3}}}


def test_a_recorded_list_stays_when_it_grows_later() -> None:
    draft, (first, _) = applied({}, Append(("a",), {"n": 1}, ""), Set(("a", 0, "n"), 2, ""))
    assert first.value == [{"n": 1}]
    assert draft == {"a": [{"n": 2}]}


def test_what_was_replaced_stays_as_it_was_recorded() -> None:
    _, (_, second, _) = applied({"a": {"b": 1}}, Set(("a", "c"), 2, ""), Set(("a",), {}, ""), Set(("a", "b"), 3, ""))
    assert second.before == {"b": 1, "c": 2}


def test_an_edit_never_writes_into_the_value_that_a_rule_proposed() -> None:
    value: dict[str, Any] = {"n": []}
    applied({}, Set(("a",), value, ""), Set(("b",), value, ""), Append(("a", "n"), 1, ""))
    assert value == {"n": []}


def test_an_object_that_stands_twice_in_the_input_is_changed_in_one_place() -> None:
    twice = {"n": 1}
    draft = Draft({"a": twice, "b": twice})
    draft.apply(Set(("a", "n"), 2, ""))
    assert draft.pod == {"a": {"n": 2}, "b": {"n": 1}}


def test_what_is_not_changed_is_not_copied() -> None:
    pod = {"a": {"b": 1}, "c": {"d": [1]}}
    draft, _ = applied(pod, Set(("a", "b"), 2, ""))
    assert draft["c"] is pod["c"]


KEYS = st.sampled_from(["a", "b", "~", "/", "~1", "x/y~z", ""])
LEAVES = st.booleans() | st.integers(0, 9) | st.text(max_size=2)
VALUES: st.SearchStrategy[Any] = st.recursive(
    LEAVES, lambda inner: st.lists(st.none() | inner, max_size=3) | st.dictionaries(KEYS, st.none() | inner, max_size=3)
)
PODS = st.dictionaries(KEYS, st.none() | VALUES, max_size=4)
NEW = "n~w"


def places(value: Any, path: Path = ()) -> list[tuple[Path, Any]]:
    """Every value with its path, the root's first."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [(path, value), *(found for key, inner in members for found in places(inner, (*path, key)))]


def sensible_edits(pod: dict[str, Any]) -> st.SearchStrategy[Proposal]:
    """Edits of what is there, of what is missing below objects and nulls, and of lists."""
    everywhere = places(pod)
    present = [path for path, _ in everywhere[1:]]
    lists = [path for path, value in everywhere if isinstance(value, list)]
    missing = [path for path, value in everywhere if value is None]
    for path, value in everywhere:
        if value is None or (isinstance(value, dict) and NEW not in value):
            missing += [(*path, NEW), (*path, NEW, "x/y")]
    strategies: list[st.SearchStrategy[Proposal]] = []
    if present:
        strategies.append(st.builds(Remove, st.sampled_from(present), st.just("")))
    if present + missing:
        strategies.append(st.builds(Set, st.sampled_from(present + missing), VALUES, st.just("")))
    if lists + missing:
        strategies += [st.builds(kind, st.sampled_from(lists + missing), VALUES, st.just("")) for kind in (Append, Prepend)]
    return st.one_of(strategies)


@given(st.data(), PODS)
def test_any_edits_in_a_row_make_the_pod_that_their_patch_makes(data: st.DataObject, pod: dict[str, Any]) -> None:
    edits: list[Proposal] = []
    now = pod
    for _ in range(data.draw(st.integers(1, 6))):
        edits.append(data.draw(sensible_edits(now)))
        now, _ = applied(pod, *edits)
