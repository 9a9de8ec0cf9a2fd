"""Four times as many creators as can be served: they wait, and they succeed."""

from collections.abc import Callable

from tests.cluster.play import Figures


def test_overload_costs_time_and_no_create(scenario: Callable[..., Figures]) -> None:
    figures = scenario("overload", "--seconds", "4", "--step", "0.5", "--warm", "2")
    assert figures["broken"] == []
    for name in ("ample", "scarce"):
        assert figures[name]["creates"]["annotated"] > figures[name]["creators"]
        assert figures[name]["dry_runs"]["200"] > 0
    shed = [count for answer, count in figures["scarce"]["webhook_answers"].items() if answer.endswith(" 503")]
    assert sum(shed) > 0
