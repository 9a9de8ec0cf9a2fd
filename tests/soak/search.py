"""Cases by their number, and the smallest case that breaks the same property.

A case is its seed and its number, whichever process meets it, so that one that fails is had again by itself.
"""

from dataclasses import dataclass

import yaml
from hypothesis import Phase, find, settings
from hypothesis.database import InMemoryExampleDatabase, choices_to_bytes
from hypothesis.errors import NoSuchExample

from tests.properties import PropertyError, check
from tests.strategies import Case, Seeded, any_case, cases
from webhook.settings import Settings

_KEY = b"soak"


@dataclass(frozen=True, slots=True)
class Failure:
    """A case that broke a property."""

    seed: int
    number: int
    property: str
    problem: str


def case(seed: int, number: int) -> Case:
    """The case of this number."""
    return any_case(Seeded(f"{seed}:{number}"))


def search(seed: int, numbers: range) -> Failure | None:
    """The first of these cases that breaks a property."""
    for number in numbers:
        try:
            check(case(seed, number))
        except PropertyError as error:
            return Failure(seed, number, error.name, str(error))
    return None


def shrunk(failure: Failure) -> Case:
    """A smaller case that breaks the same property, by hypothesis, which begins from the choices that made the large one."""
    drawn = Seeded(f"{failure.seed}:{failure.number}")
    large = any_case(drawn)
    database = InMemoryExampleDatabase()
    # with a choice too many: what needs exactly what is stored counts as shrunk already
    database.save(_KEY, choices_to_bytes([*drawn.choices, 0]))
    only_shrink = settings(database=database, phases=[Phase.reuse, Phase.shrink], deadline=None, derandomize=False)
    try:
        return find(cases(), lambda case: _breaks(case, failure.property), settings=only_shrink, database_key=_KEY)
    except NoSuchExample:  # it fails now and then only: the large one is all there is
        return large


def _breaks(case: Case, name: str) -> bool:
    try:
        check(case)
    except PropertyError as error:
        return error.name == name
    return False


def told(failure: Failure, smallest: Case) -> str:
    """The counterexample for people: the property, the pod as YAML, the site, and how to have it again."""
    usual = Settings()
    site = {name: value for name, value in smallest.settings if value != getattr(usual, name)}
    problem = failure.problem
    try:
        check(smallest)
    except PropertyError as error:
        problem = str(error)
    parts = [
        f"case {failure.number} breaks a property: {problem}",
        *([f"settings: {site}"] if site else []),
        f"operation: {smallest.operation}; rules: {', '.join(rule.id for rule in smallest.order)}",
        "---",
        yaml.safe_dump(smallest.pod, sort_keys=False, allow_unicode=True).rstrip(),
        "---",
        f"again: python -m tests.soak --seed {failure.seed} --case {failure.number}",
    ]
    return "\n".join(parts)
