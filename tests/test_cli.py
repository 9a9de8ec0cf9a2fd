"""The command line as a process: what is printed where, and the exit status."""

import io
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import orjson
import pytest
import yaml

from webhook.cli import main
from webhook.contract import ROWS, Row
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
    is_withheld = (pod, output) == (REFUSED, "yaml")  # what follows in a pipe would create half-mended pods
    assert (returned, stdout == "", stderr == "") == (status, is_withheld, not is_withheld)
    if output == "json":
        assert orjson.loads(stdout)["allowed"] is (pod != REFUSED)
    if output == "yaml" and not is_withheld:
        assert yaml.safe_load(stdout)["spec"]["containers"]
    assert (stdout or stderr).endswith("\n")
    assert not (stdout or stderr).endswith("\n\n")


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


# --- workloads, Lists, several documents

SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: fwd}\n"
TEMPLATE = "{metadata: {annotations: {dpdk: 'true'}}, spec: {containers: [{name: app}]}}"
WORKLOADS = f"""\
{SERVICE}---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: fwd}}
spec: {{template: {TEMPLATE}}}
---
{LEFT_ALONE}"""


def test_every_pod_and_template_of_a_file_is_checked() -> None:
    status, stdout, stderr = _run("check", "-f", "-", stdin=WORKLOADS)
    assert (status, stderr) == (1, "")
    blocks = [block.splitlines() for block in stdout.split("\n\n")]
    assert [block[0] for block in blocks] == ["Deployment/fwd", "Pod/without a name"]
    assert blocks[0][-2].startswith(
        "rejected  resources: no memory (container app, spec.template.spec.containers[0].resources."
    )
    assert blocks[1][1:] == ['left alone: no annotation dpdk: "true"']


def test_a_file_is_written_back_whole() -> None:
    example = (ROOT / "examples" / "deployment.yaml").read_text()
    status, stdout, _ = _run("mutate", "-f", "-", "-o", "yaml", stdin=f"{SERVICE}---\n{example}")
    assert status == 0
    service, deployment = yaml.safe_load_all(stdout)
    assert service == yaml.safe_load(SERVICE)
    before = yaml.safe_load(example)
    assert deployment["spec"].pop("template") != before["spec"].pop("template")
    assert deployment == before
    assert _run("check", "-f", "-", stdin=stdout) == (0, "compliant\n", "")


@pytest.mark.parametrize("command", ["check", "mutate"])
def test_of_a_refused_pod_nothing_can_be_piped_on(command: str) -> None:
    status, stdout, stderr = _run(command, "-f", "-", "-o", "yaml", stdin=REFUSED)
    assert (status, stdout) == (1, "")
    assert [line.split(":")[0] for line in stderr.splitlines() if line.startswith("rejected")] == [
        "rejected  resources",
        "rejected  hugepages",
    ]


def test_the_diff_of_a_workload_is_that_of_the_whole_object() -> None:
    status, stdout, _ = _run("mutate", "-f", ROOT / "examples" / "deployment.yaml")
    assert status == 0
    lines = stdout.splitlines()
    assert " kind: Deployment" in lines
    assert [line for line in lines if "IPC_LOCK" in line] == [
        "+                - IPC_LOCK  # ipc_lock: pages are locked so that devices can reach them"
    ]
    assert "Service" not in _run("mutate", "-f", "-", stdin=f"{SERVICE}---\n{LEFT_ALONE}")[1]
    both, _, _ = (_run("mutate", "-f", "-", stdin=f"{LEFT_ALONE}---\n{LEFT_ALONE}"))[1].partition("\n ---\n")
    assert both == " kind: Pod\n spec:\n   containers:\n     - name: app"


def test_json_of_several_is_a_list_with_kind_name_and_path() -> None:
    records = orjson.loads(_run("check", "-f", "-", "-o", "json", stdin=WORKLOADS)[1])
    assert [(each["kind"], each["name"], each["path"], each["allowed"]) for each in records] == [
        ("Deployment", "fwd", "spec.template", False),
        ("Pod", "without a name", "", True),
    ]


@pytest.mark.parametrize("command", ["check", "mutate"])
@pytest.mark.parametrize(
    ("name", "stdin", "problem"),
    [
        ("none.yaml", "", "none.yaml: No such file or directory"),
        ("examples", "", "examples: Is a directory"),
        ("-", "", "-: there is no manifest in it"),
        ("-", "kind: Pod", "-: spec: a pod needs it"),
        ("-", "kind: Deployment", "-: spec: an object is expected, not null"),
        (
            "-",
            "kind: Service",
            "-: there is no pod or workload here that can be read; those are Pod, Deployment, StatefulSet, DaemonSet, "
            "ReplicaSet, Job, CronJob and List",
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


@pytest.mark.parametrize("command", [("check", "-f", "-"), ("mutate", "-f", "-"), ("serve",), ("explain",)])
def test_no_option_may_be_shortened(tmp_path: Path, command: tuple[str, ...]) -> None:
    """The chart refuses --config in extraArgs, and can't know every prefix of it."""
    given = "--hel" if command == ("explain",) else f"--conf={tmp_path / 'none.yaml'}"
    status, stdout, stderr = _run(*command, given)
    assert (status, stdout) == (2, "")
    assert stderr.endswith(f"dpdk-webhook: error: unrecognized arguments: {given}\n")


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
def test_explain_prints_a_card_and_its_rows_of_the_contract(rule: Rule) -> None:
    rows = [f"{row.number:>2}  {row.given}: {row.outcome}. Why: {row.why}." for row in ROWS if row.rule == rule.id]
    assert rows
    assert _run("explain", rule.id) == (0, "\n".join([rule.card, "", *rows, ""]), "")
    assert all(f"\n{part}:" in rule.card for part in CARD)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.number))
def test_explain_prints_one_row(row: Row) -> None:
    assert _explained(str(row.number)) == f"{row.number:>2}  {row.given}: {row.outcome}. Why: {row.why}.\n"


def _explained(what: str) -> str:
    """In this process: 64 of their own would take a while."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        assert main(["explain", what]) == 0
    return printed.getvalue()


@pytest.mark.parametrize("what", ["hugepage", "0", "65", "01"])
def test_explain_of_neither_a_rule_nor_a_row_names_them(what: str) -> None:
    known = ", ".join(rule.id for rule in (OPT_IN, *RULES))
    status, stdout, stderr = _run("explain", what)
    assert (status, stdout) == (2, "")
    assert stderr.endswith(f"argument RULE|ROW: there is no {what}; choose from {known} and the rows 1 to 64\n")


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
