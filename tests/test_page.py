"""The page for people: nothing that a pod says becomes HTML, and a form comes back as it was sent."""

from html.parser import HTMLParser
from urllib.parse import urlencode

import pytest

from webhook.diff import manifest
from webhook.manifest import read
from webhook.page import EXAMPLE, answer, render
from webhook.settings import Settings
from webhook.workload import review_all

HOSTILE = """</textarea></pre><script>alert("1")</script><img src=x onerror='x'>&amp;{x}"""
POD = """kind: Pod
metadata: {{name: {name}, annotations: {{dpdk: "{dpdk}", dpdk/hugepages-2Mi: 64Mi}}}}
spec: {{containers: [{{name: {name}, resources: {{limits: {{cpu: {cpu}, memory: 1Gi}}}}}}], hostUsers: {host}}}
"""


class _Reader(HTMLParser):
    """Which elements there are, what stands in the field, and everything that is read aloud."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.field = ""
        self.feed(html)
        self.close()
        # a browser drops the first line break
        self.field = self.field.removeprefix("\n")

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag: str) -> None:
        self.elements.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.elements and self.elements[-1] == "textarea":
            self.field += data


def _answer(pod: str) -> _Reader:
    return _Reader(answer(urlencode({"pod": pod}).encode(), Settings()))


def _pod(name: str = "app", dpdk: str = "true", cpu: str = "1500m", host: str = "true") -> str:
    return POD.format(name=name, dpdk=dpdk, cpu=cpu, host=host)


@pytest.mark.parametrize(
    ("pod", "verdict"),
    [
        (_pod(), "Allowed"),
        (_pod(dpdk="false"), 'Left alone: no annotation dpdk: "true"'),
        (_pod(host="false"), "Refused"),
        ("kind: Job\n", "Not a pod"),
        ("", "Not a pod"),
    ],
)
def test_the_verdict(pod: str, verdict: str) -> None:
    page = _answer(pod)
    assert f"\n{verdict}" in page.text
    assert page.field == pod


def test_a_pod_that_is_right_is_allowed_as_it_is() -> None:
    page = _answer(manifest(review_all(read(_pod().encode()), Settings())[0].after))
    assert "\nAllowed as it is" in page.text
    assert "ins" not in page.elements


def test_changed_lines_are_marked() -> None:
    html = answer(urlencode({"pod": _pod()}).encode(), Settings())
    assert "<del>-          cpu: 1500m</del>" in html
    assert (
        "<ins>+          cpu: &#x27;2&#x27;  # resources: a polling core cannot be shared; rounded up to whole CPUs</ins>"
        in html
    )


def test_reasons_of_a_refusal_are_shown() -> None:
    detail = "IPC_LOCK is not effective in a user namespace; remove hostUsers: false"
    assert f"rejected  host_users: user namespace (spec.hostUsers): {detail}" in _answer(_pod(host="false")).text


@pytest.mark.parametrize(
    "pod",
    [
        pytest.param(_pod(name="'" + HOSTILE.replace("'", "''") + "'"), id="a name"),
        pytest.param(_pod(dpdk="<script>"), id="an annotation"),
        pytest.param(_pod(cpu="<script>"), id="a quantity in a rejection"),
        pytest.param(_pod(name="'" + HOSTILE.replace("'", "''") + "'", host="false"), id="a name in a rejection"),
        pytest.param(f"kind: {HOSTILE!r}", id="an error"),
        pytest.param(HOSTILE, id="no YAML at all"),
    ],
)
def test_nothing_in_a_pod_becomes_html(pod: str) -> None:
    plain, page = _answer("kind: Job\n"), _answer(pod)
    assert set(page.elements) <= set(plain.elements) | {"ins", "/ins", "del", "/del"}
    assert "script" not in page.elements
    assert {name for name, _ in page.attributes} == {name for name, _ in plain.attributes}
    assert page.field == pod


def test_the_page_loads_and_runs_nothing() -> None:
    page = _Reader(render(EXAMPLE))
    assert not {"script", "link", "img", "iframe"} & set(page.elements)
    assert {value for name, value in page.attributes if name in ("src", "href", "action")} == {"/", "/rules", "/openapi.json"}
    assert page.field == EXAMPLE


def test_the_example_is_allowed() -> None:
    assert "\nAllowed" in _answer(EXAMPLE).text


@pytest.mark.parametrize("form", [b"", b"pod", b"nod=1", b"\xff\x00=%", b"pod=%ff%fe", b"pod=%ud800", "pod=é".encode()])
def test_any_bytes_are_a_form(form: bytes) -> None:
    assert "Not a pod" in answer(form, Settings())


@pytest.mark.parametrize("pod", ["\n\nkind: Pod\n", "a: b\n", "{x}{0}%s", "é\u2028\U0001f680"])
def test_the_field_comes_back_as_it_was_sent(pod: str) -> None:
    assert _answer(pod).field == pod
