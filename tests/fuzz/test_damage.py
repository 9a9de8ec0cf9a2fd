"""Whatever is done to the bodies of the corpus, the answer is a review, or one line that says what is wrong with them."""

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from random import Random

import orjson
import pytest

from tests.fuzz.answers import InProcess, problem
from tests.fuzz.corpus import FILES, corpus
from tests.fuzz.damage import damaged

LOTS, EACH = 20, 100


@pytest.fixture(scope="module")
def app() -> Iterator[InProcess]:
    running = InProcess()
    yield running
    running.close()


def mutation(number: int) -> bytes:
    """The same body for a number each time."""
    random = Random(number)  # noqa: S311 - the same again matters, secrets don't
    small = sorted(path.stem for path in FILES.iterdir())
    return damaged(corpus()[random.choice(small if random.random() < 0.5 else ["plain", *_REVIEWS])], random)


# half of the damage is done to what is answered, for damage to what isn't is mostly answered as before
_REVIEWS = ["keys-with-slashes-and-tildes", "null-everywhere-in-the-spec", "env-that-holds-itself", "command-line-of-dashes"]


@pytest.mark.parametrize("lot", range(LOTS))
def test_damaged_bodies_are_answered(lot: int, app: InProcess) -> None:
    for number in range(lot * EACH, (lot + 1) * EACH):
        body = mutation(number)
        try:
            found = problem(app, body)
        except Exception as error:  # noqa: BLE001 - a crash is what is looked for
            found = repr(error)
        assert found is None, f"mutation {number}, {body!r}: {found}"


def test_the_damage_is_of_every_kind(app: InProcess) -> None:
    answers = [app.post("/mutate", mutation(number)) for number in range(500)]
    reviews = [orjson.loads(answer)["response"] for status, answer in answers if status == 200]
    refusals = {answer.partition(b":")[0] for status, answer in answers if status == 400}
    assert sum("patch" in review for review in reviews) > 25
    assert sum(not review["allowed"] for review in reviews) > 25
    assert len(refusals) > 25


def test_a_mutation_is_the_same_each_time() -> None:
    assert [mutation(number) for number in range(50)] == [mutation(number) for number in range(50)]
    assert len({mutation(number) for number in range(500)}) > 450


def test_fuzzing_by_coverage_says_what_it_needs() -> None:
    # whether atheris is there or not: -runs=0 ends as soon as the corpus is read
    ran = subprocess.run([sys.executable, "-m", "tests.fuzz", "-runs=0"], capture_output=True, text=True, check=False)
    if importlib.util.find_spec("atheris"):
        assert ran.returncode == 0, ran.stderr
    else:
        message = "fuzz: atheris is not installed; pip install atheris (Linux on x86-64 only)\n"
        assert (ran.returncode, ran.stdout, ran.stderr) == (2, "", message)
