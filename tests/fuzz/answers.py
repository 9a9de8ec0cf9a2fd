"""What may be answered to any bytes at all, by the app itself, with no socket and no client between."""

import asyncio
import base64
import json
from typing import Any, Final

import jsonpatch
import orjson
from starlette.types import Message

from tests.fuzz.corpus import review
from webhook.app import create_app
from webhook.settings import Settings

PATHS: Final = ("/mutate", "/validate")


class InProcess:
    """The app, asked by one event loop after the other."""

    def __init__(self) -> None:
        self._app = create_app(Settings())
        self._loop = asyncio.new_event_loop()

    def close(self) -> None:
        """Leave no process and no loop behind."""
        self._loop.run_until_complete(self._app.aclose())
        self._loop.close()

    def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer; whatever the app raises is raised here."""
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body}

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": [], "http_version": "1.1"}
        self._loop.run_until_complete(self._app(scope, receive, send))
        return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


def problem(app: InProcess, body: bytes) -> str | None:
    """What is wrong with what the app answers to these bytes, or None."""
    for path in PATHS:
        status, answer = app.post(path, body)
        found = _of_refusal(status, answer) if status != 200 else _of_review(app, path, body, orjson.loads(answer))
        if found:
            return f"{path}: {found}"
    return None


def _of_refusal(status: int, answer: bytes) -> str | None:
    line = answer.decode()
    if status not in (400, 413) or line.count("\n") != 1 or not line[:-1].isprintable() or len(line) > 1_000:
        return f"{status} {line!r}"
    return None


def _read(body: bytes) -> dict[str, Any]:
    try:
        read: dict[str, Any] = orjson.loads(body)
    except orjson.JSONDecodeError:
        # a number beyond a double, such as 1e400: no matter where no rule reads it
        read = json.loads(body, parse_int=lambda digits: int(digits) if len(digits) < 19 else float(digits))
    return read


def _of_review(app: InProcess, path: str, body: bytes, answer: dict[str, Any]) -> str | None:
    asked, response = _read(body)["request"], answer["response"]
    if response["uid"] != asked["uid"]:
        return f"the answer is to {response['uid']!r}"
    if any(not line.isprintable() or len(line) > 120 for line in response.get("warnings", ())):
        return f"a warning that can't be shown: {response['warnings']}"
    if not response["allowed"]:
        return None if response["status"]["message"] else "refused for no reason"
    if path != "/mutate" or asked["operation"] != "CREATE":
        return None if "patch" not in response else "a patch of what can't be changed"
    operations = orjson.loads(base64.b64decode(response.get("patch", "W10=")))
    patched = jsonpatch.JsonPatch(operations).apply(asked["object"])
    _, again = app.post("/validate", orjson.dumps(review(patched)))
    if not orjson.loads(again)["response"]["allowed"]:
        return f"what /mutate made of it is refused: {again.decode()}"
    return None
