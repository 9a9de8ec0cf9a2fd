"""Manifests as people write them, and as nobody should: a pod comes out, or one sentence, in bounded time and memory."""

import time
import tracemalloc
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from webhook.manifest import read
from webhook.settings import Settings
from webhook.shape import Malformed
from webhook.workload import review_all

POD = b"kind: Pod\nspec: {containers: [{name: app}]}\n"
PLAIN: dict[str, Any] = {"kind": "Pod", "spec": {"containers": [{"name": "app"}]}}


def _with(more: str) -> Any:
    """What becomes of further lines behind a pod's."""
    [document] = read(POD + more.encode())
    raw = dict(document)
    assert {key: raw.pop(key) for key in PLAIN} == PLAIN
    return raw


def _problem(body: bytes) -> str:
    with pytest.raises(Malformed) as caught:
        review_all(read(body), Settings())
    return str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(POD, id="YAML"),
        pytest.param(orjson.dumps(PLAIN), id="JSON"),
        pytest.param(b" \n" + orjson.dumps(PLAIN, option=orjson.OPT_INDENT_2), id="JSON behind blanks"),
        pytest.param(b"{kind: Pod, spec: {containers: [{name: app}]}}", id="a flow mapping, which begins like JSON"),
        pytest.param(b"\xef\xbb\xbf" + POD, id="byte order mark"),
        pytest.param(POD.replace(b"\n", b"\r\n"), id="Windows line ends"),
        pytest.param(b"%YAML 1.1\n---\n" + POD + b"...\n", id="directive and document end"),
        pytest.param(b"---\n# empty\n---\n" + POD + b"---\n", id="empty documents around it"),
    ],
)
def test_a_pod(body: bytes) -> None:
    assert read(body) == [PLAIN]


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("x: 2001-01-01", "2001-01-01"),
        ("x: 2001-01-01T00:00:00Z", "2001-01-01T00:00:00Z"),
        ("x: 22:22", "22:22"),
        ("x: 1:30.5", "1:30.5"),
        ("x: =", "="),
        ("x: !!str 1", "1"),
        ("x: '1'", "1"),
        ("x: 1", 1),
        ("x: 0x10", 16),
        ("x: 1.5", 1.5),
        ("x: yes", True),
        ("x: ~", None),
        ("x:", None),
        ("x: !!null ''", None),
        ("x: |\n  a\n  b\n", "a\nb\n"),
        ("x: [1, a, {b: c}]", [1, "a", {"b": "c"}]),
        ("x: {=: 1}", {"=": 1}),
    ],
)
def test_values_are_what_kubectl_takes_them_for(line: str, value: object) -> None:
    assert _with(line) == {"x": value}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("x: &a [1]\ny: *a", {"x": [1], "y": [1]}, id="an alias"),
        pytest.param(
            "x: &a {k: 1, l: 1}\ny: {<<: *a, k: 2}", {"x": {"k": 1, "l": 1}, "y": {"k": 2, "l": 1}}, id="own keys win"
        ),
        pytest.param(
            "x: &a {k: 1}\ny: &b {k: 2}\nz: {<<: [*a, *b]}", {"x": {"k": 1}, "y": {"k": 2}, "z": {"k": 1}}, id="first wins"
        ),
        pytest.param(
            "x: &a {k: 1}\ny: {in: {&b deeper: &c {<<: *a, k: 2}}}\nz: {<<: *c}",
            {"x": {"k": 1}, "y": {"in": {"deeper": {"k": 2}}}, "z": {"k": 2}},
            id="merged from further down, before it is built itself",
        ),
    ],
)
def test_aliases_and_merges(text: str, value: object) -> None:
    assert _with(text) == value


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "there is no manifest in it"),
        (b"---\n---\n", "there is no manifest in it"),
        (b"- a", "an object is expected, not a list"),
        (b"text", "an object is expected, not a string"),
        (b"[]", "an object is expected, not a list"),
        (b"kind: [Pod]", "kind: a string is expected, not a list"),
    ],
)
def test_no_pod(body: bytes, problem: str) -> None:
    assert _problem(body) == problem


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ("kind: Pod", "not YAML: key kind stands twice in {}, line 3, column 1"),
        ("x: {a: 1, 'a': 2}", "not YAML: key a stands twice in {}, line 3, column 11"),
        (
            "x:\n\ty: 1",
            "not YAML: while scanning for the next token found character that cannot start any token in {}, line 4, column 1",
        ),
        ("x: *a", "not YAML: found undefined alias in {}, line 3, column 4"),
        ("x: \x07", "not YAML: unacceptable character #x0007: control characters are not allowed in {}, position 47"),
        ("x: &x [*x]", "nested deeper than 64 levels"),
        ("x: &x {y: *x}", "nested deeper than 64 levels"),
        (
            "x: &x {<<: *x}",
            "not YAML: could not determine a constructor for the tag 'tag:yaml.org,2002:merge' in {}, line 3, column 8",
        ),
        ("x: {<<: 3}", "not YAML: << takes an object or a list of objects in {}, line 3, column 9"),
        ("x: {<<: [3]}", "not YAML: << takes an object or a list of objects in {}, line 3, column 9"),
        (
            "x: !!set {a}",
            "not YAML: could not determine a constructor for the tag 'tag:yaml.org,2002:set' in {}, line 3, column 4",
        ),
        (
            "x: !!binary YQ==",
            "not YAML: could not determine a constructor for the tag 'tag:yaml.org,2002:binary' in {}, line 3, column 4",
        ),
        (
            "x: !!python/int",
            "not YAML: could not determine a constructor for the tag 'tag:yaml.org,2002:python/int' in {}, line 3, column 4",
        ),
        (
            "x: !!timestamp x",
            "not YAML: could not determine a constructor for the tag 'tag:yaml.org,2002:timestamp' in {}, line 3, column 4",
        ),
        ("x: !!int ''", "not YAML: '' is not a whole number in {}, line 3, column 4"),
        ("x: !!int 1:30", "not YAML: '1:30' is not a whole number in {}, line 3, column 4"),
        ("x: !!bool maybe", "not YAML: 'maybe' is not a boolean in {}, line 3, column 4"),
        ("x: .inf", "not YAML: '.inf' is not a number in {}, line 3, column 4"),
        ("x: .nan", "not YAML: '.nan' is not a number in {}, line 3, column 4"),
        ("x: 111111111111111111111111111111", "not a manifest: Integer exceeds 64-bit range"),
        ("1: 2", "not a manifest: Dict key must be str"),
        ("~: 2", "not a manifest: Dict key must be str"),
        (
            "? [a]\n: b",
            "not YAML: while constructing a mapping in {}, line 1, column 1 found unhashable key in {}, line 3, column 3",
        ),
    ],
)
def test_what_a_manifest_can_not_say(more: str, problem: str) -> None:
    assert _problem(POD + more.encode()) == problem.replace("{}", '"<byte string>"')


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (
            b"\x00\x01",
            'not YAML: unacceptable character #x0000: control characters are not allowed in "<byte string>", position 0',
        ),
        (b"\x80", "not YAML: 'utf-8' codec can't decode byte 0x80 in position 0: invalid start byte"),
        (POD.decode().encode("utf-16"), "not YAML: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        (b'{"kind": "Pod",', "not JSON: unexpected end of data: line 1 column 16 (char 15)"),
        (b'{"kind": "\\ud800"}', "not JSON: no low surrogate in string: line 1 column 11 (char 10)"),
    ],
)
def test_what_is_neither_json_nor_yaml(body: bytes, problem: str) -> None:
    assert _problem(body) == problem


def _fill(text: bytes, size: int = 3 * 1024 * 1024) -> bytes:
    return (text * (size // len(text) + 1))[:size]


def _aliases(inner: str, levels: int) -> bytes:
    """Each level names the one below it ten times."""
    lines = [f"a{n}: &a{n} {inner.format(','.join([f'*a{n - 1}'] * 10))}" for n in range(1, levels)]
    return "\n".join([f"a0: &a0 {{{','.join(f'k{n}: 1' for n in range(1000))}}}", *lines, ""]).encode()


TOO_LARGE = "above 3145728 bytes, which is all that the API server takes"
WRITTEN_OUT = "above 3145728 bytes once its aliases are written out"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        pytest.param(_fill(b"a", 3145729), TOO_LARGE, id="a byte too many"),
        pytest.param(_aliases("[{}]", 30) + POD, WRITTEN_OUT, id="a billion laughs"),
        pytest.param(
            b"s: &s " + _fill(b"x", 1_000_000) + b"\nx: [" + _fill(b"*s,", 300_000) + b"]\n" + POD,
            WRITTEN_OUT,
            id="a long text, often",
        ),
        pytest.param(
            b"s: &s {" + _fill(b"x", 1_000) + b": 1}\nx: [" + _fill(b"*s,", 300_000) + b"]\n" + POD,
            WRITTEN_OUT,
            id="a long key, often",
        ),
        pytest.param(_aliases("{{<<: [{}]}}", 12) + POD, "not YAML: << brings more than 100000 values", id="a billion merges"),
        pytest.param(b"x: " + b"[" * 30_000, "nested deeper than 64 levels", id="a stack overflow in C"),
        pytest.param(b"- " * 1_000_000, "nested deeper than 64 levels", id="nested lists without brackets"),
        pytest.param(_fill(b"{"), "not JSON: unexpected character", id="braces"),
        pytest.param(_fill(b'{"a":'), "not JSON: depth limit exceeded", id="nested JSON"),
        pytest.param(b"x: [" + _fill(b"1,", 3_000_000), "more than 200000 values", id="a long list"),
        pytest.param(_fill(b"---\n"), "more than 200000 values", id="documents without end"),
        pytest.param(
            b"".join(b"%%TAG !a%d! x\n" % n for n in range(150_000)), "more than 100 %TAG directives", id="directives"
        ),
        pytest.param(b"x: " + _fill(b"1", 3_000_000), "not YAML: '1111111111111111111…' is not a whole number", id="digits"),
        pytest.param(
            b"x: !!int 1" + _fill(b":30", 3_000_000), "not YAML: '1:30:30:30:30:30:30…' is not a whole number", id="base 60"
        ),
        pytest.param(
            b"x: !!float 1" + _fill(b":30", 3_000_000),
            "not YAML: '1:30:30:30:30:30:30…' is not a number",
            id="base 60 as a float",
        ),
    ],
)
def test_hostile_manifests_are_refused_in_bounded_time_and_memory(body: bytes, problem: str) -> None:
    tracemalloc.start()
    began = time.process_time()
    try:
        assert _problem(body).startswith(problem)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert time.process_time() - began < 10  # seconds; the worst is near 1 without tracemalloc
    assert peak < 200 * 1024 * 1024


SNIPPETS = [
    "a",
    "1",
    ":",
    " ",
    "\n",
    "\n  ",
    "- ",
    "? ",
    "[",
    "]",
    "{",
    "}",
    ",",
    "&x ",
    "*x",
    "<<",
    "!!int ",
    "!!set ",
    "!",
    "'",
    '"',
    "|",
    ">",
    "#",
    "%",
    "---\n",
    "~",
    "=",
    ".inf",
    "\t",
    "\\x",
    "0x",
    "kind: Pod",
]


@given(st.lists(st.sampled_from(SNIPPETS), max_size=30).map("".join))
@example("!!timestamp x")
@example("? &x [*x]\n: b")
def test_only_malformed_comes_out_of_yaml(text: str) -> None:
    for body in (text.encode(), POD + b"x: " + text.encode()):
        try:
            assert review_all(read(body), Settings())
        except Malformed as error:
            assert "\n" not in str(error)  # noqa: PT017 - a pod is as good an outcome


@given(st.binary(max_size=60))
def test_only_malformed_comes_out_of_bytes(body: bytes) -> None:
    assert _problem(body)
