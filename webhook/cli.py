"""The command line: serve · check · mutate · explain. Also `kubectl dpdk`, when kubectl finds kubectl-dpdk on PATH."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from webhook import report
from webhook.contract import ROWS
from webhook.diff import diff, manifest
from webhook.manifest import read
from webhook.rules import OPT_IN, RULES
from webhook.settings import SettingsError, load
from webhook.shape import Malformed
from webhook.workload import Reviewed, review_all

OK, NOT_COMPLIANT, UNUSABLE = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 fine, 1 the pod is refused or needs changes, 2 the input or the settings can't be used."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except SettingsError as error:
        for line in error.lines:
            print(f"{_name()}: settings: {line}", file=sys.stderr)
        return UNUSABLE
    except (Malformed, _InputError) as error:
        print(f"{_name()}: {options.filename}: {error}", file=sys.stderr)
        return UNUSABLE
    return status


class _InputError(Exception):
    pass


def _name() -> str:
    """What the user typed: kubectl starts kubectl-dpdk for `kubectl dpdk`."""
    return "kubectl dpdk" if Path(sys.argv[0]).name == "kubectl-dpdk" else "dpdk-webhook"


class _Unabbreviated(argparse.ArgumentParser):
    """Nor do its commands take a part of an option's name: the chart, which refuses --config, can't know each of them."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given, allow_abbrev=False)


def _parser() -> argparse.ArgumentParser:
    parser = _Unabbreviated(prog=_name(), description='Pods that say dpdk: "true" run DPDK properly.')
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="answer the API server's admission reviews")
    serve.add_argument("--config", type=Path, metavar="FILE", help="settings as YAML; DPDK_WEBHOOK_* variables win over it")
    serve.set_defaults(run=_serve)

    check = commands.add_parser("check", help="say what is wrong with a pod or workload; fails unless it is right as it stands")
    check.set_defaults(run=_check)
    mutate = commands.add_parser("mutate", help="show what would be changed; fails only when a pod would be refused")
    mutate.set_defaults(run=_mutate)
    for command, output in ((check, "text"), (mutate, "diff")):
        command.add_argument(
            "-f", "--filename", required=True, metavar="FILE", help="pods and workloads, YAML or JSON; - for standard input"
        )
        command.add_argument("--config", type=Path, metavar="FILE", help="settings as YAML")
        command.add_argument(
            "-o", "--output", choices=["text", "diff", "yaml", "json"], default=output, help="(default: %(default)s)"
        )

    explain = commands.add_parser("explain", help="print a rule's spec card and its rows of the contract, or one row")
    explain.add_argument(
        "rule",
        nargs="?",
        metavar="RULE|ROW",
        type=_rule_or_row,
        help="without: all rules, a line each",
    )
    explain.set_defaults(run=_explain)
    return parser


def _rule_or_row(text: str) -> str:
    known = [rule.id for rule in (OPT_IN, *RULES)]
    if text in known or text in {str(row.number) for row in ROWS}:
        return text
    raise argparse.ArgumentTypeError(f"there is no {text}; choose from {', '.join(known)} and the rows 1 to {len(ROWS)}")


def _serve(options: argparse.Namespace) -> int:
    from webhook.server import ServeError, serve  # the other commands start without a web framework

    settings = load(options.config)
    try:
        serve(settings)
    except ServeError as error:
        print(f"{_name()}: {error}", file=sys.stderr)
        return UNUSABLE
    return OK


def _check(options: argparse.Namespace) -> int:
    reviewed = _reviewed(options)
    return OK if all(decision.is_compliant for each in reviewed for decision in each.decisions) else NOT_COMPLIANT


def _mutate(options: argparse.Namespace) -> int:
    reviewed = _reviewed(options)
    return OK if all(decision.allowed for each in reviewed for decision in each.decisions) else NOT_COMPLIANT


def _reviewed(options: argparse.Namespace) -> list[Reviewed]:
    """Review what the file holds, and print it."""
    settings = load(options.config)
    try:
        body = sys.stdin.buffer.read() if options.filename == "-" else Path(options.filename).read_bytes()
    except OSError as error:
        raise _InputError(error.strerror) from error
    reviewed = review_all(read(body), settings)
    match options.output:
        case "json":
            print(orjson.dumps(report.record(reviewed), option=orjson.OPT_INDENT_2).decode())
        case "diff":
            print("\n ---\n".join(_diff(each) for each in reviewed if each.subjects))
        case "yaml" if not all(decision.allowed for each in reviewed for decision in each.decisions):
            # what follows in a pipe would create half-mended pods
            print("\n".join(line for each in reviewed for line in _findings(each)), file=sys.stderr)
        case "yaml":
            print("---\n".join(manifest(each.after) for each in reviewed), end="")
        case _:
            print(_text(reviewed))
    return reviewed


def _diff(reviewed: Reviewed) -> str:
    return "\n".join([diff(reviewed.given, *reviewed.decisions), *_findings(reviewed)])


def _findings(reviewed: Reviewed) -> list[str]:
    return [line for decision in reviewed.decisions for line in report.findings(decision)]


def _text(reviewed: list[Reviewed]) -> str:
    found = [pair for each in reviewed for pair in zip(each.subjects, each.decisions, strict=True)]
    texts = [
        report.text(decision) or ("compliant" if decision.is_promised else 'left alone: no annotation dpdk: "true"')
        for _, decision in found
    ]
    if len(texts) == 1:
        return texts[0]
    return "\n\n".join(f"{subject.kind}/{subject.name}\n{text}" for (subject, _), text in zip(found, texts, strict=True))


def _explain(options: argparse.Namespace) -> int:
    rules = (OPT_IN, *RULES)
    if options.rule is None:
        width = max(len(rule.id) for rule in rules)
        for rule in rules:
            print(f"{rule.id.ljust(width)}  {rule.promise}")
        return OK
    if not options.rule.isdecimal():
        print(next(rule.card for rule in rules if rule.id == options.rule), end="\n\n")
    for row in ROWS:
        if options.rule in (row.rule, str(row.number)):
            print(f"{row.number:>2}  {row.given}: {row.outcome}. Why: {row.why}.")
    return OK
