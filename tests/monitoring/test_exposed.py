"""What the running server exposes, and all that reads it: dashboard, alerts, documentation; judged by a real Prometheus."""

import json
import math
import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.monitoring.conftest import ALERTS, Seen
from tests.monitoring.watched import INTERVAL
from tests.serving import eventually

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD: Final[dict[str, Any]] = json.loads((ROOT / "deploy" / "chart" / "files" / "dashboard.json").read_text())
OBSERVABILITY = (ROOT / "docs" / "observability.md").read_text()
RULES: Final = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
PANELS: Final = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS: Final = {
    f"{panel['title']} {target['refId']} ({panel['id']})": target["expr"] for panel in PANELS for target in panel["targets"]
}
ALONE: Final = {"DpdkWebhookNotRedundant"}
# what the traffic of these tests deserves, and what befalls the certificates
NOTICED: Final = ALONE | {
    "DpdkWebhookBadReviews",
    "DpdkWebhookHandshakeFailures",
    "DpdkWebhookCaBundleWrong",
    "DpdkWebhookRotationStuck",
    "DpdkWebhookCertificateErrors",
    "DpdkWebhookClockSkew",
}


def _filled(expression: str) -> str:
    """As Grafana sends it with everything selected."""
    return expression.replace("$__rate_interval", INTERVAL).replace("$job", ".*").replace("$instance", ".*")


# --- the dashboard


@pytest.mark.parametrize("title", EXPRESSIONS)
def test_every_panel_shows_numbers_once_everything_has_happened(seen: Seen, title: str) -> None:
    found = seen.watched.query(_filled(EXPRESSIONS[title]))
    assert found
    assert all(math.isfinite(float(series["value"][1])) for series in found), found


def test_the_dashboard_asks_for_nothing_but_the_chosen_replicas() -> None:
    for title, expression in EXPRESSIONS.items():
        for selector in re.findall(r"\b(?:controller_runtime|dpdk_webhook|process)_\w+(\{[^}]*\})?", expression):
            assert selector.startswith('{job=~"$job", instance=~"$instance"'), title


def test_the_panels_stand_beside_each_other_and_have_ids_and_titles_of_their_own() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_the_choices_of_the_dashboard_are_those_of_our_metrics(seen: Seen) -> None:
    queries = {v["name"]: v["query"]["query"] for v in DASHBOARD["templating"]["list"] if v["type"] == "query"}
    assert queries == {
        "job": "label_values(dpdk_webhook_build_info, job)",
        "instance": 'label_values(dpdk_webhook_build_info{job=~"$job"}, instance)',
    }
    [found] = seen.watched.query("dpdk_webhook_build_info")
    assert found["metric"]["instance"] == f"127.0.0.1:{seen.server.health_port}"


# --- the alerts


@pytest.mark.parametrize("alert", [rule["alert"] for rule in RULES])
def test_every_series_that_an_alert_reads_is_there(seen: Seen, alert: str) -> None:
    [expression] = [rule["expr"] for rule in RULES if rule["alert"] == alert]
    selectors = seen.watched.selectors(expression)
    assert selectors
    for selector in selectors:
        assert seen.watched.query(f"last_over_time({selector}[1h])"), selector


def test_prometheus_evaluates_every_alert_and_only_what_is_wrong_is_pending(seen: Seen) -> None:
    rules = seen.watched.rules()
    assert [rule["name"] for rule in rules] == [rule["alert"] for rule in RULES]
    assert [rule["lastError"] for rule in rules if rule["health"] != "ok"] == []
    assert seen.quiet == ALONE
    assert seen.watched.noticed() == NOTICED


def test_the_commands_of_the_runbook_find_out_which_rights_are_gone(seen: Seen) -> None:
    before, after = seen.rights
    assert set(before) == {"yes"}
    assert len(after) == len(before)
    assert after.count("no") == 2  # to patch, of each configuration


def test_what_the_replica_fails_at_is_counted_for_as_long_as_it_fails(seen: Seen) -> None:
    forbidden = 'dpdk_webhook_certificate_errors_total{reason="forbidden"}'
    counted = seen.server.counted(forbidden)
    eventually(lambda: seen.server.counted(forbidden) > counted, 5, "one more is counted")


# --- the metrics


def _families(text: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Name as it is exposed → (type, labels)."""
    families = {}
    for family in text_string_to_metric_families(text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = frozenset(label for sample in family.samples for label in sample.labels)
        families[name] = (family.type, labels - {"le"} if family.type == "histogram" else labels)
    return families


def test_what_is_exposed_is_documented_and_what_is_documented_is_exposed(seen: Seen) -> None:
    documented = {}
    for name, kind, labels in re.findall(r"^\| `(\w+)` \| (counter|gauge|histogram) \|([^|]*)\|", OBSERVABILITY, re.MULTILINE):
        documented[name] = (kind, frozenset(re.findall(r"`(\w+)`", labels)))
    assert documented == _families(seen.server.health("/metrics")[1])


def test_no_value_of_a_label_is_missing_from_the_documentation(seen: Seen) -> None:
    for family in text_string_to_metric_families(seen.server.health("/metrics")[1]):
        for sample in family.samples:
            for label, value in sample.labels.items():
                if label in ("outcome", "reason", "result", "phase"):
                    assert f"`{value}`" in OBSERVABILITY, (sample.name, value)


def test_promtool_finds_nothing_wrong_with_the_metrics(seen: Seen, prometheus: Path) -> None:
    exposed = seen.server.health("/metrics")[1]
    run = subprocess.run(
        [prometheus / "promtool", "check", "metrics"], input=exposed, capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_there_are_fewer_than_500_series_and_no_more_by_what_clients_do(seen: Seen) -> None:
    samples = [
        sample for family in text_string_to_metric_families(seen.server.health("/metrics")[1]) for sample in family.samples
    ]
    known = {"webhook", "code", "le", "outcome", "rule", "reason", "result", "phase", "version", "python"}
    assert 200 < len(samples) < 500
    assert {label for sample in samples for label in sample.labels} == known


def test_what_happened_is_what_is_counted(seen: Seen) -> None:
    counted = seen.server.counted
    assert counted('controller_runtime_webhook_requests_total{code="200",webhook="/mutate"}') == 18
    assert counted('controller_runtime_webhook_latency_seconds_count{webhook="/mutate"}') == 27
    assert counted('controller_runtime_webhook_latency_seconds_bucket{le="+Inf",webhook="/mutate"}') == 27
    for code in (400, 405, 413):
        assert counted(f'controller_runtime_webhook_requests_total{{code="{code}",webhook="/mutate"}}') == 3
    outcomes = {"changed": 9, "unchanged": 3, "refused": 3, "ignored": 3}
    for outcome, count in outcomes.items():
        assert counted(f'dpdk_webhook_decisions_total{{outcome="{outcome}",webhook="/mutate"}}') == count
    assert counted('dpdk_webhook_rejections_total{rule="host_users"}') >= 9
    assert counted('dpdk_webhook_tls_handshake_failures_total{reason="unknown_ca"}') == 3
    assert counted('dpdk_webhook_tls_handshake_failures_total{reason="not_tls"}') == 3
    assert counted("dpdk_webhook_decision_memo_hits_total") > 0
    assert counted("dpdk_webhook_decision_memo_entries") > 0
    for webhook in ("/mutate", "/mutate/baseline", "/validate", "/warn", "/warn/baseline"):
        assert counted(f'controller_runtime_webhook_requests_in_flight{{webhook="{webhook}"}}') == 0
