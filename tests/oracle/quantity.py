"""Kubernetes quantities as exact fractions, written from the grammar in apimachinery's `resource.Quantity`.

    quantity ::= sign? number suffix?     number ::= digits | digits.digits | digits. | .digits
    suffix   ::= Ki Mi Gi Ti Pi Ei | n u m k M G T P E | (e|E) sign? digits

JSON numbers are read by their text, as the API server does, and null is zero. What lies between two thousandths is rounded
away from zero: the API server's defaulting does that to every resource of a pod (`SetDefaults_ResourceList`).
"""

import re
from fractions import Fraction
from typing import Final

NUMBER: Final = re.compile(
    r"(?P<sign>[+-]?)(?P<number>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?P<suffix>[KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,3}|)",
    re.ASCII,
)
BINARY: Final = {unit: 1024**power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), start=1)}
DECIMAL: Final = {
    unit: Fraction(10) ** power
    for unit, power in {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}.items()
}
LONGEST: Final = 128  # characters; a number nobody writes by hand is refused before any arithmetic
MILLI: Final = Fraction(1, 10**3)


class UnreadableError(ValueError):
    """The value is no Kubernetes quantity."""


def parse(value: object) -> Fraction:
    """The amount that a JSON value stands for; raises UnreadableError."""
    if value is None:
        return Fraction(0)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise UnreadableError(value)
    if isinstance(value, int) and value.bit_length() > 4 * LONGEST:
        raise UnreadableError("too long")
    text = value if isinstance(value, str) else repr(value)
    match = NUMBER.fullmatch(text) if len(text) <= LONGEST else None
    if match is None:
        raise UnreadableError(text)
    suffix = match["suffix"]
    if suffix in BINARY:
        factor = Fraction(BINARY[suffix])
    elif suffix in DECIMAL:
        factor = DECIMAL[suffix]
    else:
        factor = Fraction(10) ** int(suffix[1:])
    whole, _, fraction = match["number"].partition(".")
    size = Fraction(int(whole + fraction or "0"), 10 ** len(fraction)) * factor
    size = -(-size // MILLI) * MILLI
    return -size if match["sign"] == "-" else size


def canonical_bytes(size: int) -> str:
    """Bytes in the spelling a node advertises: the largest binary unit that leaves a whole number."""
    for unit, factor in reversed(BINARY.items()):
        if size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)
