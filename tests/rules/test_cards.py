"""Every rule's file says what it promises, is registered once, and stands on the core alone."""

import subprocess
import sys
from pathlib import Path

import pytest

import webhook.rules
from tests.golden import DIRECTORY
from webhook.rules import CARD, OPT_IN, RULES, Rule

EVERY = (OPT_IN, *RULES)
FILES = sorted(path.stem for path in Path(webhook.rules.__file__).parent.glob("*.py") if path.stem != "__init__")


def by_id(rule: Rule) -> str:
    return rule.id


def test_every_file_is_registered_exactly_once() -> None:
    assert sorted(rule.id for rule in EVERY) == FILES


@pytest.mark.parametrize("rule", EVERY, ids=by_id)
def test_the_promise_is_one_sentence(rule: Rule) -> None:
    assert rule.promise.endswith(".")
    assert rule.promise.count(". ") == 0
    assert rule.card.splitlines()[1] == ""


@pytest.mark.parametrize("rule", EVERY, ids=by_id)
def test_the_card_has_every_part_in_order(rule: Rule) -> None:
    heads = [line.partition(":")[0] for line in rule.card.splitlines()[2:] if not line.startswith(" ")]
    assert tuple(heads) == CARD
    for name in CARD:
        assert rule.part(name)
        assert "\n" not in rule.part(name)
        assert "  " not in rule.part(name)


@pytest.mark.parametrize("rule", EVERY, ids=by_id)
def test_every_rule_has_cases(rule: Rule) -> None:
    assert list((DIRECTORY / rule.id).glob("*.yaml")) != []


SAMPLE = Rule(
    "sample",
    OPT_IN.propose,
    "A promise.\n\nReads:        this\nRejects when: first, and\n              second: more\nWhy:          because",
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Reads", "this"), ("Rejects when", "first, and second: more"), ("Why", "because"), ("Writes", "")],
)
def test_a_part_of_a_card_is_read_on_one_line(name: str, expected: str) -> None:
    assert SAMPLE.part(name) == expected


def test_the_core_imports_no_web_framework_no_metrics_and_no_kubernetes_client() -> None:
    program = "import sys, webhook.review, webhook.report; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert "webhook" in loaded
    assert not {"fastapi", "starlette", "uvicorn", "kubernetes", "prometheus_client", "httpx"} & set(loaded)
