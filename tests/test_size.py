"""What the server loads, and that the benches of its size and of its patience measure what they say."""

import subprocess
import sys

import pytest

from bench import size, starve
from webhook.manifest import read

FRAMEWORK = {"fastapi", "httptools", "starlette", "uvicorn", "uvloop"}
OBSERVERS = {"opentelemetry", "prometheus_client", "structlog"}
# what only some need: it is loaded where a setting asks for it, or never by a server
RARE = {"google", "h11", "httpx", "hypothesis", "jinja2", "kubernetes", "matplotlib", "multipart", "requests", "urllib3"}


def _loads(*modules: str) -> set[str]:
    """The modules that importing these in a new interpreter loads."""
    program = f"import sys, {', '.join(modules)}; print(*sys.modules, sep='\\n')"
    return set(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split())


def test_the_server_loads_nothing_that_only_some_need() -> None:
    loaded = _loads("webhook.cli", "webhook.server")
    assert "webhook.app" in loaded
    assert not loaded & RARE
    # the interface is FastAPI's; what records and exports is for those who set an endpoint
    assert not {name for name in loaded if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))}
    assert not {name for name in loaded if name.partition(".")[0] in ("bench", "scripts", "tests")}


@pytest.mark.parametrize("module", ["webhook.admission", "webhook.dry_run", "webhook.cli"])
def test_what_decides_loads_no_server_and_nobody_who_watches(module: str) -> None:
    assert not _loads(module) & (FRAMEWORK | OBSERVERS | RARE | {"cryptography"})


def test_a_short_run_tells_the_size_of_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("STARTS", 1), ("WARM", 10), ("_SECONDS", 0.3)):
        monkeypatch.setattr(size, name, value)
    figures = size.measure(reviews=20)
    assert 0.05 < figures["ready_s"] <= figures["ready_without_byte_code_s"] < 20
    memory = figures["memory"]
    assert memory["reviews"] >= 20
    assert all(20 < memory[at] <= memory["peak_mib"] < 200 for at in ("start_mib", "warm_mib", "end_mib"))
    *packages, everything = figures["imports_ms"].items()
    assert len(packages) == 10
    assert packages == sorted(packages, key=lambda package: -package[1])
    assert "webhook" in dict(packages)
    assert everything[0] == "all"
    assert everything[1] > sum(taken for _, taken in packages)


def test_the_size_is_told_in_three_lines() -> None:
    memory = {"reviews": 200_123, "start_mib": 60.04, "warm_mib": 70.0, "end_mib": 71.0, "peak_mib": 72.0}
    figures = {"ready_s": 0.4, "ready_without_byte_code_s": 1.1, "imports_ms": {"a": 20.4, "all": 30.0}, "memory": memory}
    assert size.table(figures).splitlines() == [
        "ready in 0.40 s, in 1.10 s without byte code",
        "60.0 MiB at the start, 70.0 after 50,000 reviews, 71.0 after 200,123, 72.0 at most",
        "imports: a 20 ms, all 30 ms",
    ]


def test_a_short_run_tells_what_admission_notices_of_people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starve, "SIZES", (10_000, 100_000, 3_000_000, 5_000_000))
    figures = starve.measure(seconds=0.5)
    for row in (figures["alone"], figures["beside"]):
        assert 0 < row["p50_ms"] <= row["p99_ms"] <= row["worst_ms"]
    assert set(figures["dry_run"]) <= {"200", "400", "503"}
    assert figures["dry_run"]["200"] > 0


def test_what_admission_notices_is_told_in_four_lines() -> None:
    alone, beside = ({"p50_ms": p50, "p99_ms": 10 * p50, "worst_ms": 100 * p50} for p50 in (0.9, 1.25))
    figures = {"reviews_per_second": 200, "alone": alone, "beside": beside, "dry_run": {"200": 32, "400": 11}}
    assert starve.table(figures).splitlines() == [
        "/mutate, 200 reviews/s           p50 ms    p99 ms  worst ms",
        "alone                              0.90      9.00      90.0",
        "beside 4 clients of /dry-run       1.25     12.50     125.0",
        "/dry-run answered 32 × 200, 11 × 400",
    ]


def test_the_manifests_are_of_the_promised_sizes_and_mean_the_same() -> None:
    by_size = {len(body): body for body in starve.manifests()}
    ordered = sorted(by_size)
    pairs = list(zip(ordered[::2], ordered[1::2], strict=True))
    for size_, (flow, block) in zip(starve.SIZES, pairs, strict=True):
        assert size_ * 0.9 < flow < block < size_ * 1.6
    for flow, block in pairs[:2]:
        assert read(by_size[flow]) == read(by_size[block])
