"""`make run`: the server with throwaway certificates, a real review of an example pod, and the patch as a diff.

It stays up for a browser and for curl until Ctrl-C. PORT chooses the port (8443 without).
"""

import base64
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import httpx
import jsonpatch
import orjson

from scripts import throwaway
from scripts.review import admission_review
from webhook.diff import diff
from webhook.manifest import read
from webhook.pod import parse_pod
from webhook.report import findings
from webhook.review import review
from webhook.settings import Settings, SettingsError, load

EXAMPLE = Path(__file__).parent.parent / "examples" / "testpmd.yaml"
_COLOURS = {"+": "32", "-": "31"}  # green, red


class _RunError(Exception):
    """Nothing can be shown; one line."""


def main() -> int:
    """Exit status: 0 ended by a signal, 1 the server failed, 2 the port or the settings can't be used."""
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, _end)
    try:
        ports = _ports(os.environ.get("PORT", "8443"))
        with TemporaryDirectory(prefix="dpdk-webhook-") as directory:
            return _run(*ports, throwaway.issue(Path(directory)))
    except (_RunError, SettingsError) as error:
        print(f"make run: {error}", file=sys.stderr)
        return 2
    except throwaway.StartError as error:
        print(f"make run: {error}", file=sys.stderr)
        return 1


def _end(number: int, frame: FrameType | None) -> None:
    # what is cleaned up on the way out must not be cut short by a second Ctrl-C
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.SIG_IGN)
    sys.exit(0)


def _ports(text: str) -> tuple[int, int]:
    """The port that was asked for, and one for the health routes; nobody listens on either."""
    other = "PORT=9444" if text == "9443" else "PORT=9443"
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:6]) <= 65535):
        raise _RunError(f"PORT={text} is not a port number (1 to 65535); choose one: {other} make run")
    try:
        with closing(throwaway.listener(int(text))):
            return int(text), throwaway.free_ports(1)[0]
    except OSError as error:
        problem = (error.strerror or str(error)).lower()
        raise _RunError(f"port {text} can't be used: {problem}; choose another: {other} make run") from error


def _run(port: int, health_port: int, files: throwaway.Certificates) -> int:
    url = f"https://127.0.0.1:{port}"
    # the server inherits this environment, so that DPDK_WEBHOOK_CPU_STEP=2 make run shows what that does
    os.environ.update(throwaway.settings(files, port, health_port))
    settings = load()
    with throwaway.running(["webhook", "serve"], os.environ, f"{url}/readyz", files.trust) as server:
        with httpx.Client(base_url=url, verify=files.trust, trust_env=False) as http:
            for line in _show(http, settings):
                print(line)
        print(f"\npage     {url}/")
        print(f"try it   curl --cacert {files.ca} --data-binary @{os.path.relpath(EXAMPLE)} {url}/dry-run")
        print("end it   Ctrl-C", flush=True)
        server.wait()
    print(f"make run: the server ended with status {server.returncode}", file=sys.stderr)
    return 1


def _show(http: httpx.Client, settings: Settings) -> list[str]:
    """What the server answers to a review of the example, as lines to print."""
    [manifest] = read(EXAMPLE.read_bytes())
    pod = parse_pod(manifest)
    answer = http.post("/mutate", json=admission_review(pod.raw))
    lines = [f"POST {answer.url} an AdmissionReview of {EXAMPLE.name}, as kube-apiserver sends it"]
    if not answer.is_success:
        raise throwaway.StartError(f"the server answered {answer.status_code}: {answer.text.strip()}")
    response = answer.json()["response"]
    if not response["allowed"]:
        return [*lines, "refused:", response["status"]["message"]]
    patch = orjson.loads(base64.b64decode(response.get("patch", "W10=")))
    decision = review(pod, settings)
    _compare(jsonpatch.JsonPatch(patch).apply(pod.raw), decision.pod)
    lines += [f"allowed, with a patch of {len(patch)} operations; applied to the pod:", ""]
    return lines + _coloured(diff(pod.raw, decision).splitlines()) + findings(decision)


def _compare(patched: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """The reasons are computed here, the patch came over the wire: they must speak of the same pod."""
    if patched != expected:
        raise AssertionError("the patch that the server sent does not give the pod that the rules give here")


def _coloured(lines: list[str]) -> list[str]:
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return lines
    return [f"\x1b[{_COLOURS[line[0]]}m{line}\x1b[0m" if line[:1] in _COLOURS else line for line in lines]


if __name__ == "__main__":
    sys.exit(main())
