"""Every body of the corpus has the answer that is written down beside it: by the app, and by a real server over TLS."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fuzz.answers import PATHS, InProcess, problem
from tests.fuzz.corpus import FILES, GENERATED, corpus
from tests.serving import Server
from webhook.app import create_app
from webhook.settings import Settings

NOT_JSON = "400 not JSON: "  # what follows is the parser's
EXPECTED: dict[str, str] = json.loads((Path(__file__).parent / "expected.json").read_text())


def outcome(answers: list[tuple[int, Any]]) -> str:
    """The answers of both routes as they are written down: once where they are the same."""
    said = []
    for status, answer in answers:
        if status == 200:
            response = json.loads(answer)["response"]
            said.append("patched" if "patch" in response else "allowed" if response["allowed"] else "denied")
        else:
            text = f"{status} {answer.decode().removesuffix(chr(10))}"
            said.append(NOT_JSON if text.startswith(NOT_JSON) else text)
    return "; ".join(dict.fromkeys(said))


@pytest.fixture(scope="module")
def app() -> Iterator[InProcess]:
    running = InProcess()
    yield running
    running.close()


def test_an_answer_is_written_down_for_every_body_and_no_other() -> None:
    assert sorted(EXPECTED) == sorted(corpus())
    assert not {path.stem for path in FILES.iterdir()} & set(GENERATED)


@pytest.mark.parametrize("name", EXPECTED)
def test_the_app_gives_the_answer(name: str) -> None:
    async def ask() -> list[tuple[int, Any]]:
        app = create_app(Settings())
        transport = httpx.ASGITransport(app)
        async with aclosing(app), httpx.AsyncClient(transport=transport, base_url="https://webhook") as client:
            return [(a.status_code, a.content) for a in [await client.post(path, content=corpus()[name]) for path in PATHS]]

    assert outcome(asyncio.run(ask())) == EXPECTED[name]


@pytest.mark.parametrize("name", EXPECTED)
def test_the_answer_makes_sense(name: str, app: InProcess) -> None:
    assert problem(app, corpus()[name]) is None


def test_a_real_server_gives_the_same_answers_and_goes_on(server: Server) -> None:
    answered = {}
    with server.http() as http:
        for name, body in corpus().items():
            answers = [http.post(path, content=body) for path in PATHS]
            answered[name] = outcome([(answer.status_code, answer.content) for answer in answers])
    assert answered == EXPECTED
    assert server.answers()
