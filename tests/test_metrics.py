"""What is counted, before anybody scrapes it; tests/monitoring has what a real Prometheus says of it."""

import timeit

import pytest
from prometheus_client.parser import text_string_to_metric_families

from certs.rotate import PHASES
from webhook.metrics import BUCKETS, CERTIFICATE_ERRORS, HANDSHAKE_FAILURES, SHED, WEBHOOKS, Metrics
from webhook.rules import OPT_IN, RULES
from webhook.verdict import Verdict

REFUSED = Verdict("refused", rejections=(("resources", 2), ("hugepages", 1)), warnings=(("exec_probes", 1),))
CHANGED = Verdict("changed", 9, (("resources", 4), ("hugepages", 3), ("ipc_lock", 1), ("eal_env", 1)))


def _value(metrics: Metrics, name: str, **labels: str) -> float:
    body, _ = metrics.expose()
    [value] = [
        sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
        if sample.name == name and sample.labels == labels
    ]
    return value


def test_everything_stands_at_zero_from_the_start() -> None:
    families = list(text_string_to_metric_families(Metrics().expose()[0].decode()))
    ours = [
        sample
        for family in families
        if family.name.startswith(("dpdk_webhook_", "controller_runtime_")) and family.name != "dpdk_webhook_build_info"
        for sample in family.samples
    ]
    assert len(ours) > 200
    assert [sample for sample in ours if sample.value != 0] == []
    rules = {sample.labels["rule"] for sample in ours if sample.name == "dpdk_webhook_edits_total"}
    assert rules == {OPT_IN.id, *(rule.id for rule in RULES)}


def test_prometheus_text_format_is_what_is_announced() -> None:
    assert Metrics().expose()[1] == "text/plain; version=0.0.4; charset=utf-8"


def test_an_answer_is_counted_by_path_code_and_outcome_and_each_rule_by_how_much_it_said() -> None:
    metrics = Metrics()
    metrics.answered("/mutate", 200, 0.0002, CHANGED)
    metrics.answered("/mutate", 200, 0.0003, REFUSED)
    metrics.answered("/validate", 200, 0.0003, REFUSED)
    metrics.answered("/mutate", 400, 0.0001, None)
    requests = "controller_runtime_webhook_requests_total"
    assert _value(metrics, requests, webhook="/mutate", code="200") == 2
    assert _value(metrics, requests, webhook="/mutate", code="400") == 1
    assert _value(metrics, requests, webhook="/validate", code="200") == 1
    decisions = "dpdk_webhook_decisions_total"
    assert _value(metrics, decisions, webhook="/mutate", outcome="changed") == 1
    assert _value(metrics, decisions, webhook="/mutate", outcome="refused") == 1
    assert _value(metrics, decisions, webhook="/validate", outcome="changed") == 0
    assert _value(metrics, "dpdk_webhook_edits_total", rule="resources") == 4
    assert _value(metrics, "dpdk_webhook_rejections_total", rule="resources") == 4
    assert _value(metrics, "dpdk_webhook_rejections_total", rule="hugepages") == 2
    assert _value(metrics, "dpdk_webhook_warnings_total", rule="exec_probes") == 2


def test_a_code_that_nobody_thought_of_is_counted_all_the_same() -> None:
    metrics = Metrics()
    metrics.answered("/warn", 418, 0.001, None)
    assert _value(metrics, "controller_runtime_webhook_requests_total", webhook="/warn", code="418") == 1


@pytest.mark.parametrize("bound", BUCKETS)
def test_a_bucket_holds_what_took_at_most_so_many_seconds(bound: float) -> None:
    metrics = Metrics()
    metrics.answered("/mutate", 200, bound, None)
    metrics.answered("/mutate", 200, bound * 1.01, None)
    name = "controller_runtime_webhook_latency_seconds"
    assert _value(metrics, f"{name}_bucket", webhook="/mutate", le=str(bound)) == 1
    assert _value(metrics, f"{name}_bucket", webhook="/mutate", le="+Inf") == 2
    assert _value(metrics, f"{name}_count", webhook="/mutate") == 2
    assert _value(metrics, f"{name}_sum", webhook="/mutate") == pytest.approx(bound * 2.01)


def test_what_takes_longer_than_every_bucket_is_in_the_last_one() -> None:
    metrics = Metrics()
    metrics.answered("/mutate", 200, 60, None)
    name = "controller_runtime_webhook_latency_seconds_bucket"
    assert _value(metrics, name, webhook="/mutate", le="10.0") == 0
    assert _value(metrics, name, webhook="/mutate", le="+Inf") == 1


def test_an_evicted_decision_was_a_miss() -> None:
    metrics = Metrics()
    for result in ("hit", "hit", "miss", "evicted"):
        metrics.memo(result)
    metrics.memo_entries = lambda: 7
    found = [_value(metrics, f"dpdk_webhook_decision_memo_{name}_total") for name in ("hits", "misses", "evictions")]
    assert found == [2, 2, 1]
    assert _value(metrics, "dpdk_webhook_decision_memo_entries") == 7


def test_reasons_are_counted_apart_and_an_unknown_one_makes_no_new_series() -> None:
    metrics = Metrics()
    for reason in SHED:
        metrics.shed(reason)
        assert _value(metrics, "dpdk_webhook_shed_total", reason=reason) == 1
    for reason in (*HANDSHAKE_FAILURES, "SSLV3_ALERT_SOMETHING_NEW"):
        metrics.handshake_failed(reason)
    for reason in HANDSHAKE_FAILURES:
        expected = 2 if reason == "other" else 1
        assert _value(metrics, "dpdk_webhook_tls_handshake_failures_total", reason=reason) == expected


def test_what_went_wrong_with_the_renewal_is_counted_by_its_reason() -> None:
    metrics = Metrics()
    for reason in (*CERTIFICATE_ERRORS, "something new"):
        metrics.certificate_error(reason)
    found = [_value(metrics, "dpdk_webhook_certificate_errors_total", reason=reason) for reason in CERTIFICATE_ERRORS]
    assert dict(zip(CERTIFICATE_ERRORS, found, strict=True)) == {
        "forbidden": 1,
        "conflict": 1,
        "unreachable": 1,
        "invalid": 1,
        "other": 2,
    }


def test_each_step_of_a_rotation_is_counted_in_its_phase() -> None:
    metrics = Metrics()
    for phase in ("restoring", "trusting", "trusting"):
        metrics.rotation_step(phase)
    found = {phase: _value(metrics, "dpdk_webhook_rotation_steps_total", phase=phase) for phase in PHASES}
    assert found == dict.fromkeys(PHASES, 0) | {"restoring": 1, "trusting": 2}


def test_what_nobody_has_looked_at_is_not_exposed() -> None:
    metrics = Metrics()
    untouched = metrics.expose()[0]
    for name in (b"ca_bundle_matches", b"rotation_phase", b"clock_skew"):
        assert name not in untouched
    for matches in (True, False):
        metrics.set_ca_bundle_matches(matches)
        assert _value(metrics, "dpdk_webhook_ca_bundle_matches") == matches
    for skew in (-0.25, 0.0):
        metrics.set_clock_skew(skew)
        assert _value(metrics, "dpdk_webhook_clock_skew_seconds") == skew
    for phase in PHASES:
        metrics.set_rotation_phase(phase)
        found = {each: _value(metrics, "dpdk_webhook_rotation_phase", phase=each) for each in PHASES}
        assert found == dict.fromkeys(PHASES, 0) | {phase: 1}
    metrics.set_ca_bundle_matches(None)
    metrics.set_clock_skew(None)
    metrics.set_rotation_phase(None)
    assert b"rotation_phase" not in metrics.expose()[0]
    assert b"clock_skew" not in metrics.expose()[0]
    assert b"ca_bundle_matches" not in metrics.expose()[0]


def test_the_state_of_the_server_is_exposed_as_it_is() -> None:
    dropped = 0
    metrics = Metrics(lambda: dropped)
    assert b"certificate_expiry" not in metrics.expose()[0]
    metrics.set_certificate_expiry(1_800_000_000)
    metrics.set_draining(True)
    metrics.certificate_reloaded("ok")
    metrics.certificate_reloaded("mismatch")
    metrics.in_flight["/mutate"] += 1
    dropped = 3
    assert _value(metrics, "dpdk_webhook_certificate_expiry_timestamp_seconds") == 1_800_000_000
    assert _value(metrics, "dpdk_webhook_draining") == 1
    assert _value(metrics, "dpdk_webhook_certificate_reloads_total", result="ok") == 1
    assert _value(metrics, "dpdk_webhook_certificate_reloads_total", result="mismatch") == 1
    assert _value(metrics, "dpdk_webhook_certificate_reloads_total", result="unreadable") == 0
    assert _value(metrics, "dpdk_webhook_log_lines_dropped_total") == 3
    assert [_value(metrics, "controller_runtime_webhook_requests_in_flight", webhook=each) for each in WEBHOOKS] == [
        1,
        0,
        0,
        0,
        0,
    ]
    metrics.set_draining(False)
    assert _value(metrics, "dpdk_webhook_draining") == 0


def test_counting_costs_microseconds() -> None:
    metrics = Metrics()
    repeated = timeit.repeat(lambda: metrics.answered("/mutate", 200, 0.0002, CHANGED), number=1000, repeat=20)
    assert min(repeated) / 1000 < 4e-6
