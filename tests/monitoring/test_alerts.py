"""Every alert fires when it should, says what is wrong, and is silent otherwise: judged by promtool on made-up series."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.monitoring.conftest import ALERTS
from tests.monitoring.keeping import RUNBOOKS, blocks
from webhook.aside import MEMORY

ROOT = Path(__file__).resolve().parents[2]
RULES: Final[list[dict[str, Any]]] = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]

REPLICA = 'job="dpdk-webhook", instance="10.0.0.1:8080"'
OTHER = 'job="other", instance="10.0.0.9:8080"'  # another webhook, which has metrics of the same names
OURS = {f'dpdk_webhook_build_info{{{REPLICA}, version="0.1.0"}}': "1x120"}
TWO = OURS | {'dpdk_webhook_build_info{job="dpdk-webhook", instance="10.0.0.2:8080", version="0.1.0"}': "1x120"}
BY_REPLICA = {"job": "dpdk-webhook", "instance": "10.0.0.1:8080"}

Series = Mapping[str, str]  # a value a minute, as promtool writes them: 0+60x30 is 0, 60, 120 … for half an hour


@dataclass(frozen=True, slots=True)
class Case:
    """`fires` after so many minutes and not a minute before, `silent` never."""

    fires: Series
    after: int
    labels: Mapping[str, str]
    description: str
    silent: tuple[Series, ...]


def _requests(code: int, values: str, of: str = REPLICA, webhook: str = "/mutate") -> dict[str, str]:
    return {f'controller_runtime_webhook_requests_total{{{of}, webhook="{webhook}", code="{code}"}}': values}


def _latency(below: Mapping[str, int], of: str = REPLICA) -> dict[str, str]:
    """How many reviews a minute take at most so many seconds."""
    name = "controller_runtime_webhook_latency_seconds_bucket"
    return {f'{name}{{{of}, webhook="/mutate", le="{le}"}}': f"0+{count}x60" for le, count in below.items()}


def _replica(name: str, values: str, labels: str = "", of: str = REPLICA) -> dict[str, str]:
    return {f"{name}{{{of}{labels}}}": values}


def _phases(**values: str) -> dict[str, str]:
    return {f'dpdk_webhook_rotation_phase{{{REPLICA}, phase="{phase}"}}': value for phase, value in values.items()}


CASES: Final = {
    "DpdkWebhookAbsent": Case(
        {"up": "1x60"},
        5,
        {},
        "Nothing has exposed dpdk_webhook_build_info for five minutes. Either no replica runs, and pods annotated dpdk: "
        '"true" can\'t be created, or Prometheus has lost sight of them.',
        (OURS,),
    ),
    "DpdkWebhookReplicaDown": Case(
        {f"up{{{REPLICA}}}": "1x10 0x50"} | {f'dpdk_webhook_build_info{{{REPLICA}, version="0.1.0"}}': "1x10 stale"},
        16,
        BY_REPLICA,
        "10.0.0.1:8080 was dpdk-webhook within the last hour and has not answered Prometheus for five minutes.",
        (OURS | {f"up{{{REPLICA}}}": "1x60"}, OURS | {f"up{{{OTHER}}}": "0x60"}),
    ),
    "DpdkWebhookNotRedundant": Case(
        OURS,
        15,
        {},
        '1 replica runs. When it goes too, pods annotated dpdk: "true" can\'t be created.',
        (TWO,),
    ),
    "DpdkWebhookRestarting": Case(
        OURS | _replica("process_start_time_seconds", "0x5 300x5 600x5 900x30"),
        18,
        BY_REPLICA,
        "10.0.0.1:8080 has started 3 times anew within half an hour.",
        (
            OURS | _replica("process_start_time_seconds", "0x5 300x5 600x50"),
            OURS | _replica("process_start_time_seconds", "0x5 300x5 600x5 900x30", of=OTHER),
        ),
    ),
    "DpdkWebhookErrors": Case(
        OURS | _requests(500, "0x10 1x50"),
        11,
        {"webhook": "/mutate"},
        "/mutate answers 0.00333 reviews a second with 500. That is a bug in dpdk-webhook; with failurePolicy Fail these pods "
        "can't be created.",
        (
            OURS | _requests(500, "7x60") | _requests(200, "0+600x60") | _requests(503, "0+60x60") | _requests(400, "0+60x60"),
            OURS | _requests(500, "0+60x60", OTHER),
        ),
    ),
    "DpdkWebhookBadReviews": Case(
        OURS | _requests(400, "0+60x60"),
        6,
        {"webhook": "/mutate"},
        "/mutate answers 1 requests a second with 4xx: a configuration sends it other kinds than it expects, or somebody who "
        "is not the API server calls it.",
        (
            OURS | _requests(400, "7x60") | _requests(200, "0+600x60") | _requests(499, "0+60x60"),
            OURS | _requests(400, "0+60x60", OTHER),
        ),
    ),
    "DpdkWebhookSlow": Case(
        OURS | _latency({"0.5": 900, "1.0": 980, "2.5": 1000, "+Inf": 1000}),
        11,
        {"webhook": "/mutate"},
        "One of a hundred reviews on /mutate takes 1.75s or more. The API server waits 5 s, and what comes later is a pod "
        "that can't be created.",
        (
            OURS | _latency({"0.5": 900, "1.0": 995, "2.5": 1000, "+Inf": 1000}),
            OURS | _latency({"0.5": 0, "1.0": 0, "2.5": 0, "+Inf": 0}),
            OURS | _latency({"0.5": 0, "1.0": 0, "2.5": 1000, "+Inf": 1000}, OTHER),
        ),
    ),
    "DpdkWebhookShedding": Case(
        OURS | _replica("dpdk_webhook_shed_total", "0+60x60", ', reason="late"'),
        6,
        {"reason": "late"},
        "1 requests a second are turned away (late). The API server asks again, until its timeout.",
        (OURS | _replica("dpdk_webhook_shed_total", "7x60", ', reason="late"'),),
    ),
    "DpdkWebhookBusy": Case(
        OURS | _replica("process_cpu_seconds_total", "0+57x60"),
        15,
        BY_REPLICA,
        "10.0.0.1:8080 uses 95% of the one CPU that its event loop can use.",
        (
            OURS | _replica("process_cpu_seconds_total", "0+30x60"),
            OURS | _replica("process_cpu_seconds_total", "0+57x60", of=OTHER),
        ),
    ),
    "DpdkWebhookMemoryHigh": Case(
        OURS | _replica("process_resident_memory_bytes", "220200960x60"),
        10,
        BY_REPLICA,
        "10.0.0.1:8080 holds 210MiB. It is meant to stay below 256 MiB: the rest of its limit belongs to the processes that"
        " work aside, and above the limit it is killed.",
        (
            OURS | _replica("process_resident_memory_bytes", "83886080x60"),
            OURS | _replica("process_resident_memory_bytes", "1048576000x60", of=OTHER),
        ),
    ),
    "DpdkWebhookFilesRunOut": Case(
        OURS | _replica("process_open_fds", "900x60") | _replica("process_max_fds", "1000x60"),
        5,
        BY_REPLICA,
        "10.0.0.1:8080 has 90% of the open files and connections that it may have; then nobody can connect any more.",
        (
            OURS | _replica("process_open_fds", "90x60") | _replica("process_max_fds", "1000x60"),
            OURS | _replica("process_open_fds", "900x60", of=OTHER) | _replica("process_max_fds", "1000x60", of=OTHER),
        ),
    ),
    "DpdkWebhookHandshakeFailures": Case(
        OURS | _replica("dpdk_webhook_tls_handshake_failures_total", "0+6x60", ', reason="unknown_ca"'),
        11,
        {"reason": "unknown_ca"},
        "0.1 connections a second end before TLS is agreed on (unknown_ca). If the API server is among them, pods annotated "
        'dpdk: "true" can\'t be created; python -m certs check says whether it trusts what is served.',
        (
            OURS | _replica("dpdk_webhook_tls_handshake_failures_total", "7x60", ', reason="unknown_ca"'),
            OURS | _replica("dpdk_webhook_tls_handshake_failures_total", "0+6x60", ', reason="reset"'),
        ),
    ),
    "DpdkWebhookCertificateExpiring": Case(
        OURS | _replica("dpdk_webhook_certificate_expiry_timestamp_seconds", f"{6 * 86400}x120"),
        60,
        BY_REPLICA,
        "The certificate that 10.0.0.1:8080 serves ends in 5d 23h 0m 0s, and whoever renews it has not done so: the "
        "replicas, cert-manager, OpenShift or you.",
        (OURS | _replica("dpdk_webhook_certificate_expiry_timestamp_seconds", f"{8 * 86400}x120"),),
    ),
    "DpdkWebhookCertificateEnds": Case(
        OURS | _replica("dpdk_webhook_certificate_expiry_timestamp_seconds", f"{23 * 3600}x60"),
        0,
        BY_REPLICA,
        "The certificate that 10.0.0.1:8080 serves ends in 23h 0m 0s. From then on the API server doesn't trust it, and pods "
        'annotated dpdk: "true" can\'t be created.',
        (OURS | _replica("dpdk_webhook_certificate_expiry_timestamp_seconds", f"{3 * 86400}x60"),),
    ),
    "DpdkWebhookReloadFailing": Case(
        OURS | _replica("dpdk_webhook_certificate_reloads_total", "0x10 1x50", ', result="mismatch"'),
        11,
        BY_REPLICA | {"result": "mismatch"},
        "10.0.0.1:8080 was given another certificate, or another client CA, that can't be served (mismatch). What it served "
        "before is served on, until it ends.",
        (
            OURS
            | _replica("dpdk_webhook_certificate_reloads_total", "0x10 1x50", ', result="ok"')
            | _replica("dpdk_webhook_certificate_reloads_total", "3x60", ', result="mismatch"'),
        ),
    ),
    "DpdkWebhookCaBundleWrong": Case(
        OURS | _replica("dpdk_webhook_ca_bundle_matches", "1x10 0x50"),
        12,
        {},
        "Of 1 replicas the caBundle does not trust the certificate. They are not ready, and where no other replica is, pods "
        'annotated dpdk: "true" can\'t be created.',
        (
            OURS | _replica("dpdk_webhook_ca_bundle_matches", "1x60"),
            OURS | _replica("dpdk_webhook_ca_bundle_matches", "1x10 0 1x49"),
            OURS,  # where others renew it, and nobody may read it back
        ),
    ),
    "DpdkWebhookRotationStuck": Case(
        OURS | _phases(stable="1x5 0x115", trusting="0x5 1x15 0x100", spreading="0x20 1x100"),
        66,
        {},
        "For an hour the certificates have been in another phase than stable, which takes three minutes. Calls go on "
        "meanwhile; python -m certs check says what is waited for.",
        (
            OURS | _phases(stable="1x60", spreading="0x60"),
            OURS | _phases(stable="1x5 0x3 1x52", settling="0x5 1x3 0x52"),
            OURS,
        ),
    ),
    "DpdkWebhookCertificateErrors": Case(
        OURS | _replica("dpdk_webhook_certificate_errors_total", "0+60x60", ', reason="forbidden"'),
        11,
        BY_REPLICA | {"reason": "forbidden"},
        "For ten minutes 10.0.0.1:8080 has failed at it (forbidden), and tries again. What is served is served on, until it "
        "ends.",
        (
            # the API server is away for five minutes
            OURS | _replica("dpdk_webhook_certificate_errors_total", "7x2 67 127 187 247 307x52", ', reason="unreachable"'),
            OURS | _replica("dpdk_webhook_certificate_errors_total", "0+60x60", ', reason="conflict"'),
        ),
    ),
    "DpdkWebhookClockSkew": Case(
        OURS | _replica("dpdk_webhook_clock_skew_seconds", "0x5 -90x55"),
        16,
        BY_REPLICA,
        "The clocks of 10.0.0.1:8080 and of the API server are 1m 30s apart. One of them is wrong.",
        (
            OURS | _replica("dpdk_webhook_clock_skew_seconds", "0.9x30 -50x30"),
            OURS | _replica("dpdk_webhook_clock_skew_seconds", "90x5 0x55"),
        ),
    ),
    "DpdkWebhookLogLinesLost": Case(
        OURS | _replica("dpdk_webhook_log_lines_dropped_total", "0x10 14x50"),
        11,
        BY_REPLICA,
        "10.0.0.1:8080 lost 14 log lines within a quarter of an hour: what reads its output is too slow, or gone. Reviews are "
        "answered all the same.",
        (OURS | _replica("dpdk_webhook_log_lines_dropped_total", "7x60"),),
    ),
}


def test_every_alert_has_a_case() -> None:
    assert list(CASES) == [rule["alert"] for rule in RULES]


def test_promtool_finds_nothing_wrong_with_the_rules(prometheus: Path) -> None:
    run = subprocess.run(
        [prometheus / "promtool", "check", "rules", "--lint=all", "--lint-fatal", ALERTS], capture_output=True, text=True
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert f"SUCCESS: {len(RULES)} rules found" in run.stdout


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_an_alert_fires_in_time_says_what_is_wrong_and_is_silent_otherwise(
    rule: dict[str, Any], prometheus: Path, tmp_path: Path
) -> None:
    case = CASES[rule["alert"]]
    annotations = {name: rule["annotations"][name] for name in ("summary", "runbook_url")}
    expected = {
        "exp_labels": {"severity": rule["labels"]["severity"], **case.labels},
        "exp_annotations": annotations | {"description": case.description},
    }
    tests = [_test(case.fires, (case.after, rule, [expected]))]
    if case.after:
        tests.append(_test(case.fires, (case.after - 1, rule, [])))
    tests += [_test(series, *((minute, rule, []) for minute in range(0, 61, 5))) for series in case.silent]
    _judge(prometheus, tmp_path, tests)


def test_a_certificate_of_30_days_is_renewed_without_an_alert_and_missed_three_days_later(
    prometheus: Path, tmp_path: Path
) -> None:
    day, ends = 24, "dpdk_webhook_certificate_expiry_timestamp_seconds"  # by the hour, as a month by the minute is long
    renewed = " ".join(f"{(30 + 20 * times) * 86400}x{20 * day - 1}" for times in range(3))
    # a phase lasts for three minutes
    rotated = " ".join(f"0 1x{20 * day - 2}" for _ in range(3))
    life = TWO | _phases(stable=rotated) | _replica(ends, renewed) | _replica("dpdk_webhook_ca_bundle_matches", f"1x{60 * day}")
    missed = TWO | _replica(ends, f"{30 * 86400}x{31 * day}")
    builds = dict.fromkeys(TWO, f"1x{60 * day}")
    fired = "sum by (alertname) (count_over_time(ALERTS{alertstate='firing'}[60d]))"
    hours = {"DpdkWebhookCertificateExpiring": 8 * day - 1, "DpdkWebhookCertificateEnds": 2 * day}
    samples = [{"labels": f'{{alertname="{alert}"}}', "value": value} for alert, value in hours.items()]
    tests = [
        _test(life | builds, unit="h") | {"promql_expr_test": [{"expr": fired, "eval_time": "59d", "exp_samples": []}]},
        _test(missed | builds, unit="h") | {"promql_expr_test": [{"expr": fired, "eval_time": "31d", "exp_samples": samples}]},
    ]
    _judge(prometheus, tmp_path, tests, every="1h")


def _judge(prometheus: Path, directory: Path, tests: list[dict[str, Any]], every: str = "1m") -> None:
    file = directory / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": every, "tests": tests}))
    run = subprocess.run([prometheus / "promtool", "test", "rules", file], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def _test(series: Series, *expected: tuple[int, dict[str, Any], list[dict[str, Any]]], unit: str = "m") -> dict[str, Any]:
    return {
        "interval": f"1{unit}",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [
            {"eval_time": f"{when}{unit}", "alertname": rule["alert"], "exp_alerts": alerts} for when, rule, alerts in expected
        ],
    }


def test_every_alert_has_a_severity_a_summary_a_description_and_a_runbook() -> None:
    for rule in RULES:
        assert rule["labels"]["severity"] in ("critical", "warning"), rule["alert"]
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}, rule["alert"]


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    named = {rule["alert"]: rule["annotations"]["runbook_url"] for rule in RULES}
    assert named == {alert: f"docs/runbooks/{alert}.md" for alert in named}
    assert {path.stem for path in RUNBOOKS.iterdir()} == set(named)
    for alert, runbook in named.items():
        text = (ROOT / runbook).read_text()
        assert text.startswith(f"# {alert}\n")
        headings = [line for line in text.splitlines() if line.startswith("##")]
        assert headings == ["## Meaning", "## Impact", "## Diagnosis", "## Mitigation"], alert


def test_memory_is_high_at_four_fifths_of_what_two_workers_leave_of_the_limit_in_deploy_base() -> None:
    deployment = yaml.safe_load((ROOT / "deploy" / "base" / "deployment.yaml").read_text())
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    limit = int(container["resources"]["limits"]["memory"].removesuffix("Mi"))
    [rule] = [rule for rule in RULES if rule["alert"] == "DpdkWebhookMemoryHigh"]
    expected = f"process_resident_memory_bytes > 0.8 * {limit - 2 * MEMORY} * 1024 * 1024"
    assert expected in " ".join(rule["expr"].split())


def test_the_runbook_asks_for_exactly_the_rights_of_mode_self() -> None:
    base = yaml.safe_load_all((ROOT / "deploy" / "overlays" / "self" / "rbac.yaml").read_text())
    given = {
        (verb, f"{resource}{'.' + group if group == 'coordination.k8s.io' else ''}{'/' + name if name else ''}")
        for document in base
        for rule in document.get("rules", [])
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    }
    [commands] = [block for block in blocks("DpdkWebhookCertificateErrors") if "can-i" in block]
    run = subprocess.run(["sh", "-c", f'kubectl() {{ echo "$3" "$4"; }}\n{commands}'], capture_output=True, text=True)
    asked = [tuple(line.split()) for line in run.stdout.splitlines()]
    assert sorted(asked) == sorted(given)
