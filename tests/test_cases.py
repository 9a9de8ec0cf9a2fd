"""The golden files, offline: each is up to date, and what it says is right to judges that share no code with the rules."""

from dataclasses import replace
from pathlib import Path

import jsonpatch
import pytest

from tests import golden
from tests.golden import COMMAND, Case, CaseError, Said, by_name, cases, learned, read
from tests.oracle import unexpected_changes, violations
from webhook.contract import ROWS, Row
from webhook.pod import parse_pod
from webhook.review import review
from webhook.settings import Settings

CASES = cases()
ALLOWED = [case for case in CASES if case.is_creation and case.is_allowed]
PROMISED = [case for case in ALLOWED if case.is_opted_in]
CHANGED = [case for case in ALLOWED if case.found["patch"]]


def by_number(row: Row) -> str:
    return f"row {row.number}"


each = pytest.mark.parametrize("case", CASES, ids=by_name)


@each
def test_the_file_is_what_a_refresh_would_write(case: Case) -> None:
    assert case.path.read_text() == case.text(), f"run `{COMMAND}` and review the difference"


@each
def test_kubernetes_was_asked_about_every_pod_that_is_created(case: Case) -> None:
    assert (case.kubernetes is not None) == case.is_creation, f"run `{COMMAND} --kubernetes`"


@each
def test_only_a_body_to_the_letter_is_no_review(case: Case) -> None:
    assert "status" not in case.found or case.review is not None


@pytest.mark.parametrize("case", PROMISED, ids=by_name)
def test_what_is_promised_is_kept(case: Case) -> None:
    assert case.pod is not None
    assert violations(case.pod_out, settings=case.site, before=case.pod) == []


@pytest.mark.parametrize("case", ALLOWED, ids=by_name)
def test_nothing_else_is_changed(case: Case) -> None:
    assert case.pod is not None
    assert unexpected_changes(case.pod, case.pod_out, settings=case.site) == []


@pytest.mark.parametrize("case", CHANGED, ids=by_name)
def test_the_patch_gives_the_pod(case: Case) -> None:
    assert jsonpatch.JsonPatch(case.found["patch"]).apply(case.pod) == case.pod_out
    assert len(case.found["reasons"]) == len(case.found["patch"])


@pytest.mark.parametrize("case", CHANGED, ids=by_name)
def test_a_second_pass_is_silent(case: Case) -> None:
    assert review(parse_pod(case.pod_out), Settings(**case.settings)).is_compliant


@pytest.mark.parametrize("row", ROWS, ids=by_number)
def test_every_row_of_the_contract_has_a_case_in_the_folder_of_its_rule(row: Row) -> None:
    assert [case.name for case in CASES if case.folder == row.rule and row.number in case.rows] != []


def test_there_are_cases_enough() -> None:
    assert len(CASES) >= 300


# --- the files themselves are read strictly

POD = "pod:\n  spec:\n    containers:\n    - name: app\n"


def written(directory: Path, text: str, name: str = "resources/a-sentence.yaml") -> Path:
    path = directory / "cases" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("rows: [1]\nrow: 1\n" + POD, "there is no key row"),
        ("rows: []\n" + POD, "rows: a list of the contract's rows is expected"),
        (POD, "rows: a list of the contract's rows is expected"),
        ("rows: [65]\n" + POD, "rows: the contract has no row 65"),
        ("rows: [1]\n", "pod, old or review is missing"),
        ("rows: [1]\nreview: '{}'\n" + POD, "pod and review can't go together"),
        ("rows: [1]\nto: check\n" + POD, "to: one of mutate, mutate/baseline, validate is expected"),
        ("rows: [1]\npatch: []\n" + POD, "what is generated comes last"),
        ("rows: [1]\nrows: [2]\n" + POD, 'not YAML: key rows stands twice in "<byte string>", line 2, column 1'),
        ("[]", "one object is expected"),
        ("rows: [1]\n---\nrows: [1]\n", "one object is expected"),
    ],
    ids=str.strip,
)
def test_a_file_that_is_no_case_is_an_error_with_its_name(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(CaseError) as raised:
        read(written(tmp_path, text))
    assert str(raised.value) == f"cases/resources/a-sentence.yaml: {problem}"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("resource/a-sentence.yaml", "there is no rule resource"),
        ("resources/a sentence.yaml", "the name is no sentence with hyphens"),
    ],
)
def test_a_file_in_the_wrong_place_is_an_error_with_its_name(tmp_path: Path, name: str, problem: str) -> None:
    with pytest.raises(CaseError) as raised:
        read(written(tmp_path, "rows: [1]\n" + POD, name))
    assert str(raised.value) == f"cases/{name}: {problem}"


def test_a_sentence_that_stands_twice_is_an_error(tmp_path: Path) -> None:
    for folder in ("resources", "windows"):
        written(tmp_path, "rows: [1]\n" + POD, f"{folder}/a-sentence.yaml")
    with pytest.raises(CaseError) as raised:
        cases(tmp_path / "cases")
    assert str(raised.value) == "windows/a-sentence: resources/a-sentence has the same sentence"


def test_settings_that_are_not_refused_are_no_case_without_a_pod() -> None:
    with pytest.raises(AssertionError, match=r"^a server starts with \{'cpu_step': 2\}; a case needs a pod$"):
        golden.refused_settings({"cpu_step": 2})


def test_a_refresh_keeps_what_people_wrote_and_finds_nothing_to_do_twice(tmp_path: Path) -> None:
    head = "rows: [1]  # a comment\n" + POD
    path = written(tmp_path, head + "patch: [stale]\nreasons: [stale]\n")
    assert [case.name for case in golden.refresh([read(path)])] == ["resources/a-sentence"]
    assert path.read_text() == head + "patch: []\n"
    assert golden.refresh([read(path)]) == []


# --- what versions of Kubernetes say

A, B, C = "accepts", ["spec: no"], ["spec: never"]


@pytest.mark.parametrize(
    ("known", "version", "now", "then"),
    [
        (None, (1, 36), A, A),
        (A, (1, 36), A, A),
        (A, (1, 30), B, {"1.30": B, "1.36": A}),
        ({"1.30": B, "1.36": A}, (1, 37), C, {"1.30": B, "1.36": A, "1.37": C}),
        ({"1.30": B, "1.36": A}, (1, 30), A, A),
        ({"1.30": B, "1.36": A}, (1, 36), A, {"1.30": B, "1.36": A}),
        ({"1.30": B, "1.36": A}, (1, 36), C, C),
    ],
)
def test_a_version_is_named_from_which_on_it_is_said(
    known: Said | None, version: tuple[int, int], now: Said, then: object
) -> None:
    case = replace(CASES[0], kubernetes=known)
    assert learned(case, version, now) == then
    assert replace(case, kubernetes=learned(case, version, now)).said(version) == now
