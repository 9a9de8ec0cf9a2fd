"""The golden files in tests/cases: what comes in is written by people, what comes out by `python -m tests.golden`.

tests/cases/<rule>/<the-sentence-with-hyphens>.yaml holds, by hand: `rows` of the contract that it shows, perhaps a `note`,
`settings`, and what is sent: `pod` to /mutate, or `to: validate`; with `old` it is an UPDATE, `old` alone is a DELETE; or
`review`, a request body to the letter; or nothing, when the settings themselves are refused.

Below it stands what became of that: `patch`, unless it was refused, with the `reasons` for it; the `reasons` of a refusal;
`warnings`; `pod_out`, where the patch changes anything; or the HTTP `status` and `text`. `kubernetes` is what the API server
says of the pod when no webhook is called, in a mapping where versions differ: {"1.36": …} is meant from 1.36 on.
"""

import argparse
import asyncio
import base64
import logging
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeAlias

import httpx
import orjson
import yaml

from scripts.review import admission_review
from tests.cluster.binaries import DEFAULT, MODULES
from tests.cluster.cluster import Answer, Cluster
from tests.oracle import Site
from webhook.app import create_app
from webhook.contract import ROWS
from webhook.edits import UNSET
from webhook.manifest import read_yaml
from webhook.path import dotted
from webhook.pod import parse_pod
from webhook.review import Change, review
from webhook.rules import OPT_IN, RULES
from webhook.settings import Settings, SettingsError, load
from webhook.shape import Malformed

Pod: TypeAlias = dict[str, Any]
Said: TypeAlias = str | list[str]  # by Kubernetes: "accepts", a message, or the causes
Version: TypeAlias = tuple[int, int]

DIRECTORY: Final = Path(__file__).with_name("cases")
COMMAND: Final = "python -m tests.golden"
FOLDERS: Final = ("admission", "settings", *(rule.id for rule in (OPT_IN, *RULES)))
WRITTEN: Final = ("rows", "note", "settings", "to", "old", "pod", "review")  # by people
GENERATED: Final = ("status", "text", "patch", "reasons", "warnings", "pod_out", "kubernetes")
NUMBER: Final = re.compile(r"[-+]?[0-9.]+([eE][-+]?[0-9]+)?")  # to kubectl; PyYAML takes 2e0 for text
SENTENCE: Final = re.compile(r"\w+(-\w+)*", re.ASCII)
ACCEPTS: Final = "accepts"


def _version(text: str) -> Version:
    major, minor = text.split(".")
    return int(major), int(minor)


VERSIONS: Final = sorted(map(_version, MODULES))  # that the API server is built in

_HEAD: Final = re.compile(rf"^({'|'.join(GENERATED)}):.*\Z", re.MULTILINE | re.DOTALL)
PATHS: Final = ("mutate", "mutate/baseline", "validate")  # of the server, without the first slash


class CaseError(Exception):
    """A file that is no case; the message begins with its path."""


@dataclass(frozen=True, slots=True)
class Case:
    """One file."""

    path: Path
    head: str  # the text that people wrote
    rows: tuple[int, ...]
    settings: Mapping[str, Any]
    to: str
    pod: Pod | None
    old: Pod | None
    review: str | None
    kubernetes: Said | Mapping[str, Said] | None
    found: Mapping[str, Any]  # what the file says became of it

    @property
    def name(self) -> str:
        """<rule>/<sentence>"""
        return f"{self.folder}/{self.path.stem}"

    @property
    def folder(self) -> str:
        return self.path.parent.name

    @property
    def is_creation(self) -> bool:
        """Of a pod, which the mutating webhook is called for: what an API server can be asked about as it stands."""
        return self.pod is not None and self.old is None and self.to == "mutate"

    @property
    def is_allowed(self) -> bool:
        """What comes out is a patch, if only an empty one."""
        return "patch" in self.found

    @property
    def is_opted_in(self) -> bool:
        """The pod says so, to the letter."""
        return self._annotations.get("dpdk") == "true"

    @property
    def _annotations(self) -> Mapping[str, str]:
        annotations: Mapping[str, str] = (self.pod or {}).get("metadata", {}).get("annotations") or {}
        return annotations

    @property
    def pod_out(self) -> Pod:
        """The pod as it would be."""
        pod: Pod = self.found.get("pod_out", self.pod)
        return pod

    @property
    def site(self) -> Site:
        """The settings, as the judge takes them; it knows no pod that asks for less than its site."""
        is_less = self._annotations.get("dpdk/whole-cpus") == "dpdk"
        return Site(
            cpu_step=self.settings.get("cpu_step", 1),
            whole_cpus_all=self.settings.get("whole_cpus") == "all" and not is_less,
            eal_env=self.settings.get("eal_env", "DPDK_EAL_ARGS"),
            allow_user_namespace=self.settings.get("allow_user_namespaces", False),
        )

    @property
    def body(self) -> bytes:
        """The review that is sent."""
        if self.review is not None:
            return self.review.encode()
        body = admission_review(self.pod or {})
        operation = "CREATE" if self.old is None else "UPDATE" if self.pod else "DELETE"
        body["request"] |= {"operation": operation, "object": self.pod, "oldObject": self.old}
        return orjson.dumps(body)

    def said(self, version: Version) -> Said | None:
        """What this version of Kubernetes says of the pod."""
        if not isinstance(self.kubernetes, Mapping):
            return self.kubernetes
        known = {_version(text): said for text, said in self.kubernetes.items()}
        return known[max((since for since in known if since <= version), default=min(known))]

    def text(self) -> str:
        """The file as it should be."""
        outcome = outcome_of(self) | ({} if self.kubernetes is None else {"kubernetes": self.kubernetes})
        return self.head + dumped(outcome)


def read(path: Path) -> Case:
    """The case in a file; CaseError for anything that is not exactly one."""
    where = "/".join(path.parts[-3:])
    text = path.read_text()
    try:
        documents = read_yaml(text.encode())
    except Malformed as error:
        raise CaseError(f"{where}: {error}") from error
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise CaseError(f"{where}: one object is expected")
    (document,) = documents
    for problem in _problems(path, document):
        raise CaseError(f"{where}: {problem}")
    return Case(
        path,
        _HEAD.sub("", text),
        tuple(document["rows"]),
        document.get("settings") or {},
        document.get("to", "mutate"),
        document.get("pod"),
        document.get("old"),
        document.get("review"),
        document.get("kubernetes"),
        {key: value for key, value in document.items() if key in GENERATED and key != "kubernetes"},
    )


def _problems(path: Path, document: Mapping[str, Any]) -> Iterator[str]:
    rows, sent = document.get("rows"), [key for key in ("old", "pod", "review") if document.get(key) is not None]
    by_people = [key in WRITTEN for key in document]
    if path.parent.name not in FOLDERS:
        yield f"there is no rule {path.parent.name}"
    if not SENTENCE.fullmatch(path.stem):
        yield "the name is no sentence with hyphens"
    for key in document:
        if key not in (*WRITTEN, *GENERATED):
            yield f"there is no key {key}"
    if sorted(by_people, reverse=True) != by_people:
        yield "what is generated comes last"
    if not isinstance(rows, list) or not rows:
        yield "rows: a list of the contract's rows is expected"
    for row in rows or ():
        if row not in {known.number for known in ROWS}:
            yield f"rows: the contract has no row {row}"
    if sent not in (["pod"], ["old"], ["old", "pod"], ["review"], []):
        yield f"{' and '.join(sent)} can't go together"
    if not sent and path.parent.name != "settings":
        yield "pod, old or review is missing"
    if document.get("to", "mutate") not in PATHS:
        yield f"to: one of {', '.join(PATHS)} is expected"


def by_name(case: Case) -> str:
    return case.name


@cache
def cases(directory: Path = DIRECTORY) -> tuple[Case, ...]:
    """Every case there is, by folder and sentence."""
    found = tuple(read(path) for path in sorted(directory.glob("*/*")))
    by_sentence: dict[str, Case] = {}
    for case in found:
        other = by_sentence.setdefault(case.path.stem, case)
        if other is not case:
            raise CaseError(f"{case.name}: {other.name} has the same sentence")
    return found


def outcome_of(case: Case) -> dict[str, Any]:
    """What becomes of what is sent."""
    if case.pod is None and case.old is None and case.review is None:
        return {"reasons": refused_settings(case.settings)}
    settings = Settings(**case.settings)
    outcome = answered(asyncio.run(_post(settings, case)))
    if not outcome.get("patch"):
        return outcome
    decision = review(parse_pod(case.pod), settings)
    return outcome | {"reasons": [_line(change) for change in decision.changes], "pod_out": decision.pod}


async def _post(settings: Settings, case: Case) -> httpx.Response:
    transport = httpx.ASGITransport(create_app(settings))
    async with httpx.AsyncClient(transport=transport, base_url="https://webhook") as http:
        return await http.post(case.to, content=case.body)


def answered(reply: httpx.Response) -> dict[str, Any]:
    """The server's answer as the files write it: the patch, or the reasons why there is none; and the warnings."""
    if reply.status_code != httpx.codes.OK:
        return {"status": reply.status_code, "text": reply.text.removesuffix("\n")}
    response = reply.json()["response"]
    if response["allowed"]:
        outcome: dict[str, Any] = {"patch": orjson.loads(base64.b64decode(response.get("patch") or "W10="))}
    else:
        outcome = {"reasons": response["status"]["message"].splitlines()[1:]}
    return outcome | ({"warnings": response["warnings"]} if "warnings" in response else {})


def refused_settings(settings: Mapping[str, Any]) -> list[str]:
    """The lines with which the server ends instead of starting; AssertionError when it would start."""
    with tempfile.NamedTemporaryFile(suffix=".yaml") as file:
        path = Path(file.name)
        path.write_text(yaml.safe_dump(dict(settings)))
        try:
            load(path)
        except SettingsError as error:
            return list(error.lines)
    raise AssertionError(f"a server starts with {settings}; a case needs a pod")


def _line(change: Change) -> str:
    subject = f"container {change.container}, " if change.container else ""
    before, after = _value(change.operation.before), _value(change.after)
    effect = f"{before} goes" if change.operation.op == "remove" else f"{before} → {after}"
    return f"{change.rule}: {subject}{dotted(change.operation.path)} {effect}: {change.why}"


def _value(value: object) -> str:
    if value is UNSET:
        return "(unset)"
    return value if isinstance(value, str) and value else orjson.dumps(value).decode()


class _Dumper(yaml.SafeDumper):
    """Block style without anchors, in the order in which things were put."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def represent_text(self, data: str) -> yaml.Node:
        style = "|" if "\n" in data else "'" if NUMBER.fullmatch(data) else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(str, _Dumper.represent_text)


def dumped(document: Mapping[str, Any]) -> str:
    """The document as the files write it: a line for each reason, however long."""
    ordered = {key: document[key] for key in (*WRITTEN, *GENERATED) if key in document}
    return yaml.dump(ordered, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)


def kubernetes_says(cluster: Cluster, pod: Pod) -> Said:
    """What the API server says of a pod that none of our webhooks is called for: those of kube-system are left out."""
    return said(cluster.api("POST", "/api/v1/namespaces/kube-system/pods?dryRun=All&fieldValidation=Ignore", pod))


def said(answer: Answer) -> Said:
    """That it "accepts", or the causes of a refusal, or its message where it has none."""
    if answer.status == 201:
        return ACCEPTS
    causes = (answer.body.get("details") or {}).get("causes")
    if causes:
        return [f"{cause['field']}: {cause['message']}" for cause in causes]
    message: str = answer.body["message"]
    return message


def learned(case: Case, version: Version, now: Said) -> Said | Mapping[str, Said]:
    """`kubernetes`, when this version says `now`.

    Where the default version says something new, the pod is another, and others say the same until they are asked.
    """
    if version == _version(DEFAULT) and case.said(version) != now:
        return now
    said = {each: now if each == version else case.said(each) or now for each in sorted({*VERSIONS, version})}
    since: dict[str, Said] = {}
    for each, what in said.items():
        if not since or list(since.values())[-1] != what:
            since["{}.{}".format(*each)] = what
    return since if len(since) > 1 else now


def refresh(found: Sequence[Case]) -> list[Case]:
    """Write what should stand in the files; the cases whose file changed."""
    changed = [case for case in found if case.text() != case.path.read_text()]
    for case in changed:
        case.path.write_text(case.text())
    return changed


def ask(found: Sequence[Case]) -> list[Case]:
    """The cases with what a real API server says of their pods."""
    with Cluster() as cluster:
        return [
            replace(case, kubernetes=learned(case, cluster.version, kubernetes_says(cluster, case.pod)))
            if case.is_creation and case.pod
            else case
            for case in found
        ]


def main() -> None:
    parser = argparse.ArgumentParser(prog=COMMAND, description="Write what comes out anew in every file of tests/cases.")
    parser.add_argument("--kubernetes", action="store_true", help="ask a real API server as well")
    logging.disable()  # of the reviews that are bad on purpose
    found = cases()
    changed = refresh(ask(found) if parser.parse_args().kubernetes else found)
    for case in changed:
        print(case.name)
    print(f"{len(changed)} of {len(found)} files changed")


if __name__ == "__main__":
    main()
