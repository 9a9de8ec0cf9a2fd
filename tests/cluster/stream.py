"""Those who create pods while an API server goes and comes back, and while the webhook is installed and uninstalled."""

import json
import time
from dataclasses import dataclass
from typing import Any

import httpx

from tests.cluster.creators import Create, Creators, pod
from tests.oracle import violations

NOBODY = "nobody"  # a scheduler that there isn't: the pods stay where nothing is done with them
STORED = 4  # each so many-th
PLAIN = 3  # each so many-th
UNREACHABLE = "000 "


@dataclass(frozen=True, slots=True)
class Made(Create):
    """One create. `version` is that of the pod that was stored, in the one row of all that etcd has written; 0: none was."""

    version: int = 0

    @property
    def unmutated(self) -> bool:
        """Whether the pod is there, annotated, and not as it should be: what it lacks is told, and no status."""
        return self.annotated and bool(self.problem) and not self.problem[:3].isdigit()

    @property
    def refused(self) -> bool:
        return self.problem[:3].isdigit()


class Stream(Creators):
    """As an open loop of Creators, of which every third is plain and every fourth is stored; those that fail are counted."""

    def made(self) -> list[Made]:
        """All that ended so far."""
        return [create for create in list(self.creates) if isinstance(create, Made)]

    async def _create(self, number: int, due: float, *, annotated: bool) -> None:
        annotated, stored = number % PLAIN != 0, number % STORED == 0
        wanted = pod(number, annotated=annotated)
        wanted["spec"]["schedulerName"] = NOBODY
        path = self._path + ("" if stored else "?dryRun=All")
        status, answer = await self._tried("POST", path, json.dumps(wanted).encode())
        seconds = time.monotonic() - due
        problem = f"{status:03} {answer.get('message')}" if status != httpx.codes.CREATED else ""
        version = 0
        if not problem:
            problem = "; ".join(violations(answer)) if annotated else ""
            version = int(answer["metadata"].get("resourceVersion") or 0) if stored else 0
            if stored:  # nobody looks at what became of it: where the API server goes away, it stays
                await self._tried("DELETE", f"{self._path}/{answer['metadata']['name']}?gracePeriodSeconds=0", b"")
        self.creates.append(Made(annotated, stored, due, seconds, problem, version))

    async def _tried(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        try:
            return await self._api.ask(method, path, body)
        except (OSError, ValueError) as error:
            return 0, {"message": f"{type(error).__name__}: {error}"}
