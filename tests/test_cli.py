"""The command line as a process: what is printed where, and the exit status."""

import subprocess
import sys
from pathlib import Path

import orjson
import pytest
import yaml

from webhook.rules import CARD, OPT_IN, RULES, Rule

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
EXAMPLE = ROOT / "examples" / "testpmd.yaml"
LEFT_ALONE = "kind: Pod\nspec: {containers: [{name: app}]}\n"
REFUSED = 'metadata: {annotations: {dpdk: "true"}}\nspec: {containers: [{name: app}]}\n'


def _run(
    *arguments: str | Path, stdin: str = "", program: tuple[str | Path, ...] = (sys.executable, "-m", "webhook")
) -> tuple[int, str, str]:
    """(exit status, stdout, stderr)"""
    result = subprocess.run(
        [*program, *arguments], cwd=ROOT, input=stdin, capture_output=True, text=True, check=False, timeout=60
    )
    return result.returncode, result.stdout, result.stderr


def _compliant() -> str:
    status, stdout, _ = _run("mutate", "-f", EXAMPLE, "-o", "yaml")
    assert status == 0
    return stdout


@pytest.mark.parametrize(
    ("command", "pod", "status"),
    [
        ("check", LEFT_ALONE, 0),
        ("mutate", LEFT_ALONE, 0),
        ("check", EXAMPLE.read_text(), 1),
        ("mutate", EXAMPLE.read_text(), 0),
        ("check", REFUSED, 1),
        ("mutate", REFUSED, 1),
    ],
)
@pytest.mark.parametrize("output", ["text", "diff", "yaml", "json"])
def test_exit_status_and_output(command: str, pod: str, status: int, output: str) -> None:
    returned, stdout, stderr = _run(command, "-f", "-", "-o", output, stdin=pod)
    assert (returned, stderr) == (status, "")
    if output == "json":
        assert orjson.loads(stdout)["allowed"] is (pod != REFUSED)
    if output == "yaml":
        assert yaml.safe_load(stdout)["spec"]["containers"]
    assert stdout.endswith("\n")
    assert not stdout.endswith("\n\n")


def test_check_says_in_words_what_is_missing() -> None:
    status, stdout, _ = _run("check", "-f", EXAMPLE)
    lines = [line.split("  ") for line in stdout.splitlines()]
    assert status == 1
    assert [part.strip() for part in lines[0] if part] == [
        "testpmd",
        "resources.limits.cpu",
        "1500m → 2",
        "resources",
        "a polling core cannot be shared; rounded up to whole CPUs",
    ]


@pytest.mark.parametrize(
    ("pod", "text"), [(_compliant, "compliant\n"), (lambda: LEFT_ALONE, 'left alone: no annotation dpdk: "true"\n')]
)
def test_check_of_a_pod_that_needs_nothing(pod: object, text: str) -> None:
    assert callable(pod)
    assert _run("check", "-f", "-", stdin=pod()) == (0, text, "")


def test_mutate_shows_a_diff_with_reasons_and_then_the_findings() -> None:
    _, stdout, _ = _run("mutate", "-f", EXAMPLE)
    assert "-          cpu: 1500m\n+          cpu: '2'  # resources: a polling core cannot be shared" in stdout
    status, refused, _ = _run("mutate", "-f", "-", stdin=REFUSED)
    assert status == 1
    assert refused.splitlines()[-1].startswith("rejected  hugepages: no hugepages (container app, ")


def test_what_mutate_gives_check_accepts() -> None:
    assert _run("check", "-f", "-", stdin=_compliant())[0] == 0


@pytest.mark.parametrize("command", ["check", "mutate"])
@pytest.mark.parametrize(
    ("name", "stdin", "problem"),
    [
        ("none.yaml", "", "none.yaml: No such file or directory"),
        ("examples", "", "examples: Is a directory"),
        ("-", "", "-: one manifest is expected, not 0"),
        ("-", "kind: Pod", "-: spec: a pod needs it"),
        (
            "-",
            "kind: Deployment",
            "-: kind: 'Pod' is expected, not 'Deployment'; "
            "the pod of a workload stands in its spec.template; give that, with kind: Pod",
        ),
    ],
)
def test_what_can_not_be_read_is_one_line(command: str, name: str, stdin: str, problem: str) -> None:
    assert _run(command, "-f", name, stdin=stdin) == (2, "", f"dpdk-webhook: {problem}\n")


@pytest.mark.parametrize("command", [("check", "-f", "-"), ("mutate", "-f", "-"), ("serve",)])
def test_settings_that_can_not_be_used_are_a_line_each(tmp_path: Path, command: tuple[str, ...]) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text("cpu_stp: 2\nother_cpu: ''\n")
    assert _run(*command, "--config", config) == (
        2,
        "",
        "dpdk-webhook: settings: other_cpu (DPDK_WEBHOOK_OTHER_CPU): an amount is needed\n"
        "dpdk-webhook: settings: cpu_stp: there is no such setting; did you mean cpu_step?\n",
    )


def test_settings_of_the_site_hold(tmp_path: Path) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text("cpu_step: 4\n")
    _, stdout, _ = _run("mutate", "-f", EXAMPLE, "-o", "json", "--config", config)
    assert orjson.loads(stdout)["pod"]["spec"]["containers"][0]["resources"]["limits"]["cpu"] == "4"


def test_explain_lists_every_rule_with_its_promise() -> None:
    status, stdout, _ = _run("explain")
    assert status == 0
    assert [line.split("  ", 1)[0] for line in stdout.splitlines()] == [rule.id for rule in (OPT_IN, *RULES)]
    assert all(line.endswith(rule.promise) for line, rule in zip(stdout.splitlines(), (OPT_IN, *RULES), strict=True))


@pytest.mark.parametrize("rule", [OPT_IN, *RULES], ids=lambda rule: rule.id)
def test_explain_prints_a_card(rule: Rule) -> None:
    assert _run("explain", rule.id) == (0, f"{rule.card}\n", "")
    assert all(f"\n{part}:" in rule.card for part in CARD)


def test_explain_of_no_rule_names_them() -> None:
    status, stdout, stderr = _run("explain", "hugepage")
    assert (status, stdout) == (2, "")
    assert "argument rule: invalid choice: 'hugepage' (choose from" in stderr
    assert "hugepages" in stderr


@pytest.mark.parametrize(
    ("program", "name"),
    [
        ((sys.executable, "-m", "webhook"), "dpdk-webhook"),
        ((BIN / "dpdk-webhook",), "dpdk-webhook"),
        ((BIN / "kubectl-dpdk",), "kubectl dpdk"),
    ],
)
def test_it_calls_itself_what_it_was_called(program: tuple[str | Path, ...], name: str) -> None:
    status, stdout, _ = _run("--help", program=program)
    assert (status, stdout.splitlines()[0]) == (0, f"usage: {name} [-h] COMMAND ...")
    status, _, stderr = _run(program=program)
    assert (status, stderr.splitlines()[-1]) == (2, f"{name}: error: the following arguments are required: COMMAND")
    assert _run("check", "-f", "none", program=program) == (2, "", f"{name}: none: No such file or directory\n")


@pytest.mark.parametrize("command", ["check", "mutate", "explain"])
def test_only_serve_loads_a_web_framework(command: str) -> None:
    arguments = [command] if command == "explain" else [command, "-f", str(EXAMPLE)]
    code = f"import sys; from webhook.cli import main; main({arguments}); sys.exit('fastapi' in sys.modules)"
    assert _run(program=(sys.executable, "-c", code))[0] == 0
