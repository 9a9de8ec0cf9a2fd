"""What a create takes is measured on a real API server, where every way comes to the same pod."""

import pytest

from bench import latency
from bench.goals import goals


@pytest.mark.usefixtures("cluster")  # builds the programs beforehand; the bench starts a cluster of its own
def test_a_short_run_tells_what_each_way_adds_to_a_create() -> None:
    figures = latency.measure(1, creates=latency.BLOCK)
    assert figures["creates"] == latency.BLOCK
    assert list(figures["ways"]) == ["none", "floor", "known", "new", "installed", "policy"]
    for row in figures["ways"].values():
        assert 0 < row["p50_ms"] <= row["p99_ms"] < 5_000
        assert row["added_p50_ms"] == pytest.approx(row["p50_ms"] - figures["ways"]["none"]["p50_ms"], abs=0.011)
    assert len(latency.table(figures).splitlines()) == 7
    assert len(goals({"latency": figures})) == 2
