"""What README.md says is what the code does."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.docs import PARTS, generate
from webhook.diff import diff
from webhook.manifest import read
from webhook.options import KEYS
from webhook.pod import parse_pod
from webhook.report import rejection
from webhook.review import review
from webhook.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("file", PARTS, ids=lambda file: file.name)
def test_what_is_generated_is_up_to_date(file: Path) -> None:
    text = file.read_text()
    assert generate(text, file) == text, "run `make docs`"


def test_a_missing_place_for_a_table_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"README\.md has 0 places for the table of rules, not 1"):
        generate("")


def test_the_pod_before_and_after_is_what_the_webhook_makes_of_it() -> None:
    shown = re.findall(r"```diff\n(.*?)```", README, re.DOTALL)[0]
    before: Any = yaml.safe_load("\n".join(line[1:] for line in shown.splitlines() if line[0] != "+"))
    after = yaml.safe_load("\n".join(line[1:] for line in shown.splitlines() if line[0] != "-"))
    decision = review(parse_pod(before), Settings())
    assert decision.pod == after
    assert before != after


def test_the_first_screen_holds_the_diff_both_commands_and_their_output() -> None:
    first = "\n".join(README.splitlines()[:30])
    assert first.count("```diff") == 1
    shown = re.findall(r"\$ make run [^\n]*\n(.*?)\npage [^\n]*\n\$ make test ", first, re.DOTALL)[0]
    pod = parse_pod(read((ROOT / "examples" / "testpmd.yaml").read_bytes())[0])
    printed = iter(diff(pod.raw, review(pod, Settings())).splitlines())
    assert [line for line in shown.splitlines() if line not in printed] == [], "each of these lines, in this order"


def test_every_option_is_explained() -> None:
    for key in KEYS:
        assert f"`dpdk/{re.sub('hugepages-2Mi', 'hugepages-1Gi', key)}: " in README


def test_the_refusal_that_it_shows_is_real() -> None:
    decision = review(parse_pod(read((ROOT / "examples" / "refused" / "many-reasons.yaml").read_bytes())[0]), Settings())
    for finding in decision.rejections:
        assert f"\n{rejection(finding)}\n" in README
