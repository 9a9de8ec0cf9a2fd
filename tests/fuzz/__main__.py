"""`python -m tests.fuzz`: /mutate and /validate under bytes that coverage guides, for as long as one likes.

Needs atheris (Linux on x86-64), which the tests don't. Arguments are libFuzzer's, such as -max_total_time=600; without any it
runs for a minute. What it learns stays in build/fuzz/corpus and the next run begins with it; a body that breaks something is
left in build/fuzz, and `python -m tests.fuzz FILE` runs it again.
"""

import importlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random

_DIRECTORY = Path("build/fuzz")
_LARGEST = 1 << 16  # bytes of one body: what is larger is slow and finds nothing else


def main(arguments: Sequence[str]) -> int:
    """Fuzz until libFuzzer ends the process, which it does by itself; 2 when there is no atheris."""
    try:
        atheris = importlib.import_module("atheris")
    except ImportError:
        print("fuzz: atheris is not installed; pip install atheris (Linux on x86-64 only)", file=sys.stderr)
        return 2
    with atheris.instrument_imports(include=["webhook"]):
        answers = importlib.import_module("tests.fuzz.answers")
    corpus, damage = (importlib.import_module(f"tests.fuzz.{name}") for name in ("corpus", "damage"))
    logging.getLogger("dpdk-webhook").disabled = True  # a line for each body that is no review
    app = answers.InProcess()

    def one(body: bytes) -> None:
        found = answers.problem(app, body)
        if found is not None:
            raise AssertionError(found)

    def mutate(body: bytes, most: int, number: int) -> bytes:
        random = Random(number)  # noqa: S311 - the same again matters, secrets don't
        made: bytes = damage.damaged(body, random) if random.random() < 0.8 else atheris.Mutate(body, most)
        return made[:most]

    learnt = _DIRECTORY / "corpus"
    learnt.mkdir(parents=True, exist_ok=True)
    for name, body in corpus.corpus().items():
        if len(body) <= _LARGEST:
            (learnt / name).write_bytes(body)
    is_replay = any(not argument.startswith("-") for argument in arguments)
    fixed = [f"-max_len={_LARGEST}", f"-artifact_prefix={_DIRECTORY}/", "-max_total_time=60"]
    atheris.Setup([sys.argv[0], *fixed, *arguments, *([] if is_replay else [str(learnt)])], one, custom_mutator=mutate)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
