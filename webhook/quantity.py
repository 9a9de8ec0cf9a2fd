"""Kubernetes quantities, exact: compared as numbers, never as strings or floats.

Source: k8s.io/apimachinery/pkg/api/resource (grammar and canonical form); k8s.io/kubernetes/pkg/apis/core/v1 rounds every
resource of a pod up to thousandths before a webhook sees it, so thousandths are the unit here too.
"""

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from webhook.path import shown

_DIGITS = 40  # far above anything countable; keeps a million-digit number from costing a second
_EXPONENT = 40
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_SUFFIX = {power: suffix for suffix, power in _DECIMAL.items()}
_GRAMMAR = re.compile(
    r"(?P<sign>[+-]?)(?P<whole>[0-9]*)(?:\.(?P<fraction>[0-9]*))?"
    r"(?:[eE](?P<exponent>[+-]?[0-9]{1,4})|(?P<binary>[KMGTPE]i)|(?P<decimal>[numkMGTPE]?))"
)


class QuantityError(ValueError):
    """Not a quantity; `problem` says why, without the field's path."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


@dataclass(frozen=True, slots=True, order=True)
class Quantity:
    """A number of thousandths (of a CPU, of a byte), remembering which family of suffixes it was written in."""

    millis: int
    form: Literal["binary", "decimal", "exponent"] = field(default="decimal", compare=False)

    @property
    def is_whole(self) -> bool:
        """No fraction: 2, not 1500m."""
        return self.millis % 1000 == 0

    def round_up(self, step: int) -> "Quantity":
        """The next multiple of `step` whole units that is not smaller."""
        unit = step * 1000
        return Quantity(-(-self.millis // unit) * unit, self.form)

    def __str__(self) -> str:
        """The canonical form that the API server stores: 2, 1500m, 2Gi, 100e18."""
        if self.form == "binary" and abs(self.millis) >= 1_024_000 and self.is_whole:
            number, suffix = self.millis // 1000, ""
            for unit in _BINARY:
                if number % 1024:
                    break
                number, suffix = number // 1024, unit
            return f"{number}{suffix}"
        number, power = self.millis, -3
        while number and number % 1000 == 0 and (power < 18 or self.form == "exponent"):
            number, power = number // 1000, power + 3
        if not number:
            return "0"
        if self.form == "exponent":
            return f"{number}e{power}" if power else f"{number}"
        return f"{number}{_SUFFIX[power]}"


def parse(value: object) -> Quantity:
    """The quantity that a string or a JSON number stands for; QuantityError for anything else."""
    if isinstance(value, str):
        return _parse(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise QuantityError(f"{json_type(value)} is not a quantity")
    if isinstance(value, int) and abs(value) >= 10**_DIGITS:
        raise QuantityError(f"a number of more than {_DIGITS} digits is not a quantity")
    # repr is the shortest spelling that reads back as the same float: what the user typed
    return _parse(repr(value))


@lru_cache(maxsize=4096)
def _parse(text: str) -> Quantity:
    if len(text) > 2 * _DIGITS:
        raise _too_long(text)
    match = _GRAMMAR.fullmatch(text)
    if match is None or not (match["whole"] or match["fraction"]):
        raise QuantityError(f"'{shown(text)}' is not a quantity")
    fraction = match["fraction"] or ""
    digits = match["whole"] + fraction
    if len(digits) > _DIGITS:
        raise _too_long(text)
    power = int(match["exponent"] or 0)
    if abs(power) > _EXPONENT:
        raise QuantityError(f"'{shown(text)}' has an exponent beyond ±{_EXPONENT}")
    numerator = int(digits) * 1000
    form: Literal["binary", "decimal", "exponent"] = "decimal"
    if match["binary"]:
        numerator *= 1024 ** _BINARY[match["binary"]]
        form = "binary"
    elif match["exponent"]:
        form = "exponent"
    else:
        power = _DECIMAL[match["decimal"]]
    power -= len(fraction)
    millis = numerator * 10**power if power >= 0 else -(-numerator // 10**-power)
    if millis >= 10**_DIGITS:
        raise QuantityError(f"'{shown(text)}' is too large for an amount")
    return Quantity(-millis if match["sign"] == "-" else millis, form)


def _too_long(text: str) -> QuantityError:
    return QuantityError(f"'{shown(text, 20)}' is too long: a quantity has at most {_DIGITS} digits")


def json_type(value: object) -> str:
    """What a JSON value is, in words for a message: "a list", "null"."""
    names = {type(None): "null", bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list"}
    return names.get(type(value), "an object")
