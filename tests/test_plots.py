"""The plots in docs/ are those of the results, and legible."""

from xml.etree import ElementTree

from bench.plots import plots
from scripts.docs import PLOTTED, results


def test_the_plots_are_up_to_date() -> None:
    written = {path.name: path.read_text() for path in PLOTTED.iterdir()}
    drawn = plots(results())
    assert written.keys() == drawn.keys()
    assert [name for name in drawn if drawn[name] != written[name]] == [], "run `make docs`"


def test_a_peer_gets_bars_of_its_own() -> None:
    measured = results()
    row = {"cpu_us": 4321.0, "rps": 100, "p50_ms": 1.0, "p99_ms": 2.0}
    first = next(iter(measured["connections"].values()))
    first["peers"] = {"other known": row, "other new": row, "unwatched new": row | {"cpu_us": None}}
    drawn = plots({"connections": measured["connections"]})
    assert list(drawn) == ["cost.svg"]
    texts = [element.text for element in ElementTree.fromstring(drawn["cost.svg"]).iter() if element.text]  # noqa: S314
    assert texts.count("4321") == 2
    assert "other new" in texts
    assert "unwatched new" not in texts
