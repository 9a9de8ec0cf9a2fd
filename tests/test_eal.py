"""What EAL reads: references resolved as the kubelet resolves them, words as a shell or an argument list makes them."""

from time import perf_counter
from typing import Any

import pytest

from webhook.eal import UNKNOWN, Value, Variables, command_line, huge_dirs, without_huge_dir

ENV: list[dict[str, Any]] = [
    {"name": "A", "value": "1"},
    {"name": "B", "value": "$(A)$(C)"},
    {"name": "C", "value": "3"},
    {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    {"name": "E"},
    {"name": "F", "value": "$(EAL) -n 4"},
    {"name": "EAL", "value": "-l 2"},
    {"name": "A", "value": "$(A)1"},
    {"value": "nameless"},
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("-l 2", "-l 2", id="no reference"),
        pytest.param("$(C)/$(C)", "3/3", id="a literal, twice"),
        pytest.param("$(A)", "11", id="the last of two, which may refer to the one before"),
        pytest.param("$(B)", f"1{UNKNOWN}", id="an entry knows those before it alone"),
        pytest.param("$(D)", UNKNOWN, id="a valueFrom"),
        pytest.param("[$(E)]", "[]", id="no value"),
        pytest.param("$(X)", UNKNOWN, id="a name that is not there"),
        pytest.param("$(EAL) $(F)", "$(EAL) $(EAL) -n 4", id="ours stays what it is"),
        pytest.param("$$(A) $$$(A) $$$$", "$(A) $11 $$", id="two dollars are one, and no reference"),
        pytest.param("$A ${A} $(A $(", "$A ${A} $(A $(", id="what only a shell reads"),
        pytest.param("$(cat $(A))", "$(cat 11)", id="a reference within a shell's command"),
    ],
)
def test_references_are_resolved_as_the_kubelet_does(text: str, expected: str) -> None:
    assert Variables(ENV, "EAL").read(text) == expected


def test_references_that_multiply_are_given_up_in_good_time() -> None:
    growing = [{"name": f"A{number}", "value": f"$(A{number - 1})" * 1000} for number in range(1, 1000)]
    begun = perf_counter()
    variables = Variables([{"name": "A0", "value": "x" * 1000}, *growing], "EAL")
    assert UNKNOWN in variables.read("$(A999)")
    assert len(variables.read("$(A999)" * 1000)) < 1_000_000
    assert perf_counter() - begun < 10


@pytest.mark.parametrize("text", ["$(" * 500_000, "$" * 1_000_001, " -" * 500_000, "--huge-dir" + " " * 1_000_000])
def test_a_long_text_takes_no_longer_than_its_length(text: str) -> None:
    begun = perf_counter()
    Value(text, Variables((), "EAL"))
    command_line(["-c", text], Variables((), "EAL"))
    assert perf_counter() - begun < 10


@pytest.mark.parametrize(
    ("text", "words", "longer", "is_one_word"),
    [
        pytest.param("", [], "NEW", False, id="nothing"),
        pytest.param("-l", ["-l"], "-l NEW", True, id="one word"),
        pytest.param("-l 2", ["-l", "2"], "-l 2 NEW", False, id="two words"),
        pytest.param("-l ", ["-l"], "-l  NEW", False, id="a blank behind it"),
        pytest.param("-f='x y'", ["-f='x", "y'"], "-f='x y' NEW", False, id="quotes stay"),
        pytest.param("-l;", ["-l;"], "-l; NEW", True, id="as does a shell's punctuation"),
        pytest.param("-l 2 -- -i", ["-l", "2"], "-l 2 NEW -- -i", False, id="a lone --"),
        pytest.param("--", [], "NEW --", False, id="nothing but a lone --"),
        pytest.param("-l $(END)", ["-l", "4"], "NEW -l $(END)", False, id="a lone -- that a reference brings"),
        pytest.param("$(END) -- -x", ["4"], "NEW $(END) -- -x", False, id="a lone -- behind one that a reference brings"),
        pytest.param("$(END)", ["4"], "NEW $(END)", False, id="several words that a reference brings"),
        pytest.param("--a-- --b", ["--a--", "--b"], "--a-- --b NEW", False, id="two dashes within a word"),
    ],
)
def test_a_value_has_words_and_takes_one_more_where_eal_reads_it(
    text: str, words: list[str], longer: str, is_one_word: bool
) -> None:
    value = Value(text, Variables([{"name": "END", "value": "4 -- -i"}], "EAL"))
    assert value.words == words
    assert value.with_option("NEW") == longer
    assert value.is_one_word is is_one_word


@pytest.mark.parametrize(
    ("elements", "words", "application"),
    [
        pytest.param([], [], [], id="nothing"),
        pytest.param(["fwd", "-l", "2"], ["fwd", "-l", "2"], [], id="an element is a word"),
        pytest.param(["fwd", "-l=';'"], ["fwd", "-l=';'"], [], id="with all that is in it"),
        pytest.param(["fwd", "-l", "--", "-i", "--", "-x"], ["fwd", "-l"], ["-i", "-x"], id="a lone -- ends them"),
        pytest.param(["sh", "-c", "fwd"], ["sh", "-c", "fwd"], [], id="a script of one word"),
        pytest.param(["sh", "-ec", "'fwd';"], ["sh", "-ec", "fwd"], [], id="a script's quotes and punctuation go"),
        pytest.param(["(a -l \"1\" -f'x' \\\n -n|b)>c&"], ["a", "-l", "1", "-fx", "-n", "b", "c"], [], id="a script's words"),
        pytest.param(["a -l -- -i; b", "-x"], ["a", "-l", "-x"], ["-i", "b"], id="a lone -- within a script ends it alone"),
        pytest.param(["fwd", "--", "a b -- c"], ["fwd"], ["a", "b", "c"], id="a script of the application's"),
        pytest.param(["fwd", "$(TWO)", ""], ["fwd", "-l", "2"], [], id="a variable that some entry point may take apart"),
    ],
)
def test_a_command_line_has_words_of_eal_and_of_the_application(
    elements: list[str], words: list[str], application: list[str]
) -> None:
    line = command_line(elements, Variables([{"name": "TWO", "value": "-l 2"}], "EAL"))
    assert line.words == words
    assert line.application == application


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param([], [], id="no words"),
        pytest.param(["--huge-dir=/x"], ["/x"], id="one word"),
        pytest.param(["--huge-dir", "/x"], ["/x"], id="two words"),
        pytest.param(["-l", "--huge-dir"], [""], id="no path"),
        pytest.param(["--huge-dir="], [""], id="an empty path"),
        pytest.param(["--huge-dir=/x", "--huge-dir", "/y"], ["/x", "/y"], id="two options"),
        pytest.param(["--huge-dirs=/x", "-huge-dir=/x", "--x--huge-dir=/x"], [], id="options that look alike"),
        pytest.param(["'--huge-dir=/x"], ["'/x"], id="a quote in front"),
        pytest.param(['"--huge-dir', '/x"'], ['"/x"'], id="quotes around two words"),
    ],
)
def test_huge_dirs(words: list[str], expected: list[str]) -> None:
    assert huge_dirs(words) == expected


def test_the_first_option_that_does_without_huge_dir() -> None:
    assert without_huge_dir(["-l", "--no-huge", "--in-memory"]) == "--no-huge"
    assert without_huge_dir(["--no-hugepages", "--in-memory=1"]) is None
