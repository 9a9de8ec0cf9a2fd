"""docs/rotation.md: what `make rotation-report` counted last."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cluster.rotation import CROSS, GAP, MEMORY, PROMISED, SERVERS, UNTRUSTED

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "rotation.json"


def table() -> str:
    """A row a figure, with what is promised of it."""
    seen = json.loads(RESULTS.read_text())
    rows = "\n".join(f"| {what} | {_short(figure)} | {promised} |" for what, figure, promised in _rows(seen))
    about = (
        f"Played on {seen['date']} with Kubernetes {seen['kubernetes']}, Python {seen['python']}, {seen['replicas']} replicas "
        f"and a lag of {seen['lag_seconds']:g} s, on {seen['cores']} cores for all of it. "
        f"Promises broken: {'; '.join(seen['broken']) or 'none'}."
    )
    return f"{about}\n\n| what | seen | promised |\n| --- | --- | --- |\n{rows}"


def _rows(seen: dict[str, Any]) -> list[tuple[str, Any, object]]:
    rotated, newcomers, end = seen["rotated"], seen["newcomers"], seen["end"]
    trusted = [newcomers["trusted"][server] for server in SERVERS]
    failures = seen["failed_handshakes"]
    memory = max(replica["server"] for replica in seen["memory_mib"])
    duration = f"{rotated['seconds_median']:.1f}, {rotated['seconds_max']:.1f}"

    def each(figure: Callable[[str], Any]) -> str:
        return ", ".join(str(_short(figure(server))) for server in SERVERS)

    return [
        ("rotations of the CA; of the leaf alone", f"{rotated['cas']}; {rotated['leaves_alone']}", ""),
        ("different CAs", rotated["different_cas"], rotated["cas"] + 1),
        ("different leaves", rotated["different_leaves"], rotated["cas"] + rotated["leaves_alone"] + 1),
        ("seconds of load", seen["seconds"], ""),
        ("annotated creates a second, both API servers together", seen["annotated_per_second"], f"≥ {PROMISED}"),
        ("annotated creates: first, second API server", each(lambda name: seen["creates"][name]["annotated"]), ""),
        ("plain creates", each(lambda name: seen["creates"][name]["plain"]), ""),
        ("creates that failed", each(lambda name: seen["creates"][name]["failed"]), "0, 0"),
        (
            "`apiserver_admission_webhook_rejection_count`, of any error type",
            each(lambda name: sum(seen["api_servers"][name]["rejections"].values())),
            "0, 0",
        ),
        (
            "`apiserver_admission_webhook_fail_open_count`",
            each(lambda name: seen["api_servers"][name]["failed_open"]),
            "0, 0",
        ),
        (
            "seconds between two annotated creates that succeeded, at most",
            each(lambda name: seen["longest_gap_seconds"][name]),
            f"≤ {GAP:g}",
        ),
        (
            "milliseconds of a create, p50: the second API server's hold the lag",
            each(lambda name: seen["creates"][name]["p50"]),
            "",
        ),
        *((f"handshakes that failed at the replicas: `{reason}`", failures.get(reason, 0), 0) for reason in UNTRUSTED),
        ("connections that API servers made, at least", newcomers["connections_of_api_servers"], f"≥ {4 * rotated['cas']}"),
        ("newcomers who were let in", sum(sum(by.values()) for by in trusted), ""),
        (f"of these, who trusted {CROSS}", ", ".join(str(by.get(CROSS, 0)) for by in trusted), "second ≥ 1"),
        ("newcomers who were not, or who met one they don't trust", sum(newcomers["failed"].values()), 0),
        ("seconds of a rotation without the margin: median, longest", duration, ""),
        (
            "entries that trust the last CA alone in the end",
            each(lambda name: f"{end['entries_with_the_ca_alone'][name]} of {end['entries'][name]}"),
            "all",
        ),
        ("what the Secret holds in the end", ", ".join(f"`{key}`" for key in end["secret"]), "no `old-ca.crt`"),
        ("MiB resident at the end, the largest replica", memory, f"≤ {MEMORY}"),
    ]


def _short(figure: Any) -> Any:
    return f"{figure:,.2f}" if isinstance(figure, float) else f"{figure:,}" if isinstance(figure, int) else figure
