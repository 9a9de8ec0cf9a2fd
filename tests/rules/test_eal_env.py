"""eal_env: what is too large for a golden file."""

from tests.minimal import APP, MINIMAL, decide, tweaked, warned

GROWING = [{"name": f"A{number}", "value": f"$(A{number - 1})" * 9} for number in range(1, 90)]


def test_variables_that_grow_beyond_what_an_argument_may_hold_are_not_followed() -> None:
    env = [{"name": "A0", "value": "x" * 9000}, *GROWING, {"name": "DPDK_EAL_ARGS", "value": "$(A89)"}]
    decision = decide(tweaked(MINIMAL, {f"{APP}.env": env}))
    assert warned(decision) == [
        "eal_env: container app, reference in DPDK_EAL_ARGS: can't be read here; a second --huge-dir is fatal"
    ]
    assert [change.after for change in decision.changes] == ["$(A89) --huge-dir=/dev/hugepages"]
