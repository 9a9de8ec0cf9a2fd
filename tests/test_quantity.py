"""Quantities: exact values, Kubernetes' canonical text, and whole sentences for what is none."""

from decimal import ROUND_UP, Context
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.quantity import Quantity, QuantityError, json_type, parse

EXACT = Context(prec=200, rounding=ROUND_UP)

# what is written, in thousandths, as the API server stores it
VALUES: list[tuple[Any, int, str]] = [
    ("0", 0, "0"),
    ("-0", 0, "0"),
    ("0Gi", 0, "0"),
    ("0e3", 0, "0"),
    ("2", 2_000, "2"),
    ("2000m", 2_000, "2"),
    ("2.0", 2_000, "2"),
    ("2e0", 2_000, "2"),
    ("+2", 2_000, "2"),
    ("02", 2_000, "2"),
    (2, 2_000, "2"),
    (2.0, 2_000, "2"),
    ("1.", 1_000, "1"),
    (".5", 500, "500m"),
    (0.5, 500, "500m"),
    ("1.500", 1_500, "1500m"),
    ("1500m", 1_500, "1500m"),
    ("-1.5", -1_500, "-1500m"),
    ("3.0000001", 3_001, "3001m"),
    ("0.0005", 1, "1m"),
    ("-0.0005", -1, "-1m"),
    ("500u", 1, "1m"),
    ("1n", 1, "1m"),
    (1e-07, 1, "1e-3"),
    ("1e-40", 1, "1e-3"),
    ("5e-1", 500, "500e-3"),
    ("1E3", 1_000_000, "1e3"),
    ("15e2", 1_500_000, "1500"),
    ("1e20", 10**23, "100e18"),
    ("2k", 2_000_000, "2k"),
    ("1024", 1_024_000, "1024"),
    ("1000", 1_000_000, "1k"),
    ("1M", 10**9, "1M"),
    ("1E", 10**21, "1E"),
    ("1000E", 10**24, "1000E"),
    ("1Ki", 1_024_000, "1Ki"),
    ("0.5Ki", 512_000, "512"),
    ("1.5Ki", 1_536_000, "1536"),
    ("0.1Gi", 107_374_182_400, "107374182400m"),
    ("2048Mi", 2**31 * 1000, "2Gi"),
    ("1.5Gi", 3 * 2**29 * 1000, "1536Mi"),
    ("-2048Mi", -(2**31) * 1000, "-2Gi"),
    ("1Ei", 2**60 * 1000, "1Ei"),
    ("1024Ei", 2**70 * 1000, "1024Ei"),
    (1073741824, 2**30 * 1000, "1073741824"),
    ("9" * 37, int("9" * 37) * 1000, "9" * 37),
]


@pytest.mark.parametrize(("written", "millis", "canonical"), VALUES)
def test_value_and_canonical_text(written: Any, millis: int, canonical: str) -> None:
    quantity = parse(written)
    assert quantity.millis == millis
    assert str(quantity) == canonical


LONG = "is too long: a quantity has at most 40 digits"

REFUSED: list[tuple[str, Any, str]] = [
    ("a word", "two", "'two' is not a quantity"),
    ("nothing", "", "'' is not a quantity"),
    ("a lone point", ".", "'.' is not a quantity"),
    ("a lone sign", "-", "'-' is not a quantity"),
    ("a lone suffix", "Mi", "'Mi' is not a quantity"),
    ("not a number", "NaN", "'NaN' is not a quantity"),
    ("infinity", "inf", "'inf' is not a quantity"),
    ("not a number, as YAML reads it", float("nan"), "'nan' is not a quantity"),
    ("infinity, as YAML reads it", float("inf"), "'inf' is not a quantity"),
    ("Python's underscores", "1_000", "'1_000' is not a quantity"),
    ("a blank in front", " 2", "' 2' is not a quantity"),
    ("a blank behind", "2 ", "'2 ' is not a quantity"),
    ("a blank inside", "2 Gi", "'2 Gi' is not a quantity"),
    ("a line break", "2\n", "'2\\n' is not a quantity"),
    ("a capital K", "1K", "'1K' is not a quantity"),
    ("a byte sign", "1GB", "'1GB' is not a quantity"),
    ("a small suffix", "1gi", "'1gi' is not a quantity"),
    ("an exponent without digits", "1e", "'1e' is not a quantity"),
    ("an exponent and a suffix", "1e3Ki", "'1e3Ki' is not a quantity"),
    ("two signs", "+-1", "'+-1' is not a quantity"),
    ("two points", "1.2.3", "'1.2.3' is not a quantity"),
    ("hexadecimal", "0x10", "'0x10' is not a quantity"),
    ("an Arabic digit", "٣", "'٣' is not a quantity"),
    ("a fullwidth digit", "２", "'２' is not a quantity"),
    ("true", True, "a boolean is not a quantity"),
    ("null", None, "null is not a quantity"),
    ("a list", [2], "a list is not a quantity"),
    ("an object", {"cpu": 2}, "an object is not a quantity"),
    ("an exponent beyond four digits", "1e999999999", "'1e999999999' is not a quantity"),
    ("an exponent beyond forty", "1e41", "'1e41' has an exponent beyond ±40"),
    ("an exponent below minus forty", "1e-41", "'1e-41' has an exponent beyond ±40"),
    ("a float beyond forty digits", 1e300, "'1e+300' has an exponent beyond ±40"),
    ("more than an amount can be", "1e37", "'1e37' is too large for an amount"),
    ("less than an amount can be", "-1e37", "'-1e37' is too large for an amount"),
    ("forty-one digits", "1" * 41, f"'1111111111111111111…' {LONG}"),
    ("a million digits", "1" * 1_000_000, f"'1111111111111111111…' {LONG}"),
    ("a million zeros behind the point", "0." + "0" * 1_000_000, f"'0.00000000000000000…' {LONG}"),
    ("a million control characters", "\0" * 1_000_000, f"'\\x00\\x00\\x00\\x00\\x0…' {LONG}"),
    ("a number of a million digits", 10**1_000_000, "a number of more than 40 digits is not a quantity"),
    ("a negative number of a million digits", -(10**1_000_000), "a number of more than 40 digits is not a quantity"),
]


@pytest.mark.parametrize(("written", "problem"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_refused(written: Any, problem: str) -> None:
    with pytest.raises(QuantityError) as caught:
        parse(written)
    assert caught.value.problem == problem
    assert str(caught.value) == problem


def test_a_long_text_is_refused_by_its_length_alone() -> None:
    """The grammar would call these something else: that it is never asked keeps the work constant."""
    for text in ("x" * 1_000_000, "1e" + "9" * 1_000_000, " " * 81):
        with pytest.raises(QuantityError, match=r"is too long: a quantity has at most 40 digits$"):
            parse(text)


def test_eighty_characters_are_still_judged_by_what_they_say() -> None:
    with pytest.raises(QuantityError, match=r"is not a quantity$"):
        parse("x" * 80)


SUFFIXES = {
    **{
        "n": "1e-9",
        "u": "1e-6",
        "m": "1e-3",
        "": "1",
        "k": "1e3",
        "M": "1e6",
        "G": "1e9",
        "T": "1e12",
        "P": "1e15",
        "E": "1e18",
    },
    **{suffix: str(1024**power) for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
    **{f"{e}{power}": f"1e{power}" for e in "eE" for power in (-9, -1, 0, 7)},
}
DIGITS = st.text("0123456789", max_size=9)


@given(st.sampled_from(["", "+", "-"]), DIGITS, st.none() | DIGITS, st.sampled_from(sorted(SUFFIXES)))
def test_the_value_is_that_of_exact_decimal_arithmetic(sign: str, whole: str, fraction: str | None, suffix: str) -> None:
    number = sign + (whole or "0") + ("" if fraction is None else f".{fraction}")
    thousandths = EXACT.multiply(EXACT.multiply(EXACT.create_decimal(number), EXACT.create_decimal(SUFFIXES[suffix])), 1000)
    assert parse(number + suffix).millis == int(thousandths.to_integral_value(ROUND_UP))


@given(
    st.integers(-(10**40) + 1, 10**40 - 1) | st.integers(-(10**7), 10**7),
    st.sampled_from(["binary", "decimal", "exponent"]),
)
def test_every_quantity_reads_back_as_itself(millis: int, form: Any) -> None:
    quantity = Quantity(millis, form)
    assert parse(str(quantity)) == quantity


@given(st.sampled_from(["", "+", "-"]), st.text("0123456789.", min_size=1, max_size=44), st.sampled_from(sorted(SUFFIXES)))
def test_whatever_is_a_quantity_reads_back_as_itself(sign: str, number: str, suffix: str) -> None:
    try:
        quantity = parse(sign + number + suffix)
    except QuantityError:
        return
    assert parse(str(quantity)) == quantity
    assert str(parse(str(quantity))) == str(quantity)


ROUNDED = [
    ("1500m", 1, "2"),
    ("2", 1, "2"),
    ("2001m", 1, "3"),
    ("1m", 1, "1"),
    ("1", 2, "2"),
    ("3", 2, "4"),
    ("4", 4, "4"),
    ("5", 4, "8"),
    ("0.5Ki", 1, "512"),
]


@pytest.mark.parametrize(("written", "step", "expected"), ROUNDED)
def test_round_up(written: str, step: int, expected: str) -> None:
    assert str(parse(written).round_up(step)) == expected


def test_quantities_compare_as_numbers() -> None:
    assert parse("2Gi") == parse("2048Mi") == parse(2**31)
    assert parse("900m") < parse("1") < parse("1k") < parse("1Ki")
    assert parse("2").is_whole
    assert not parse("1500m").is_whole


TYPES: list[tuple[Any, str]] = [
    (None, "null"),
    (True, "a boolean"),
    (1, "a number"),
    (1.5, "a number"),
    ("a", "a string"),
    ([], "a list"),
    ({}, "an object"),
]


@pytest.mark.parametrize(("value", "words"), TYPES)
def test_json_type(value: Any, words: str) -> None:
    assert json_type(value) == words
