"""The command line: serve · check · mutate · explain. Also `kubectl dpdk`, when kubectl finds kubectl-dpdk on PATH."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import orjson

from webhook import report
from webhook.diff import diff, manifest
from webhook.manifest import read_pod
from webhook.pod import Pod
from webhook.review import Decision, review
from webhook.rules import OPT_IN, RULES
from webhook.settings import SettingsError, load
from webhook.shape import Malformed

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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=_name(), description='Pods that say dpdk: "true" run DPDK properly.')
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="answer the API server's admission reviews")
    serve.add_argument("--config", type=Path, metavar="FILE", help="settings as YAML; DPDK_WEBHOOK_* variables win over it")
    serve.set_defaults(run=_serve)

    check = commands.add_parser("check", help="say what is wrong with a pod; fails unless it is right as it stands")
    check.set_defaults(run=_check)
    mutate = commands.add_parser("mutate", help="show what would be changed; fails only when the pod would be refused")
    mutate.set_defaults(run=_mutate)
    for command, output in ((check, "text"), (mutate, "diff")):
        command.add_argument(
            "-f", "--filename", required=True, metavar="FILE", help="a Pod, YAML or JSON; - for standard input"
        )
        command.add_argument("--config", type=Path, metavar="FILE", help="settings as YAML")
        command.add_argument(
            "-o", "--output", choices=["text", "diff", "yaml", "json"], default=output, help="(default: %(default)s)"
        )

    explain = commands.add_parser("explain", help="print a rule's spec card")
    explain.add_argument(
        "rule", nargs="?", choices=[rule.id for rule in (OPT_IN, *RULES)], help="all of them, a line each, without"
    )
    explain.set_defaults(run=_explain)
    return parser


def _serve(options: argparse.Namespace) -> int:
    from webhook.server import ServeError, serve  # the other commands start without a web framework

    settings = load(options.config)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # its own notes of start and end say less than ours
    try:
        serve(settings)
    except ServeError as error:
        print(f"{_name()}: {error}", file=sys.stderr)
        return UNUSABLE
    return OK


def _check(options: argparse.Namespace) -> int:
    pod, decision = _review(options)
    print(_rendered(options.output, pod, decision))
    return OK if decision.is_compliant else NOT_COMPLIANT


def _mutate(options: argparse.Namespace) -> int:
    pod, decision = _review(options)
    print(_rendered(options.output, pod, decision))
    return OK if decision.allowed else NOT_COMPLIANT


def _review(options: argparse.Namespace) -> tuple[Pod, Decision]:
    settings = load(options.config)
    try:
        body = sys.stdin.buffer.read() if options.filename == "-" else Path(options.filename).read_bytes()
    except OSError as error:
        raise _InputError(error.strerror) from error
    pod = read_pod(body)
    return pod, review(pod, settings)


def _rendered(output: str, pod: Pod, decision: Decision) -> str:
    match output:
        case "json":
            return orjson.dumps(report.as_json(decision), option=orjson.OPT_INDENT_2).decode()
        case "diff":
            return "\n".join([diff(pod.raw, decision), *report.findings(decision)])
        case "yaml":
            return manifest(decision.pod).rstrip("\n")
        case _:
            return report.text(decision) or ("compliant" if decision.is_promised else 'left alone: no annotation dpdk: "true"')


def _explain(options: argparse.Namespace) -> int:
    rules = (OPT_IN, *RULES)
    if options.rule is None:
        width = max(len(rule.id) for rule in rules)
        for rule in rules:
            print(f"{rule.id.ljust(width)}  {rule.promise}")
    else:
        print(next(rule.card for rule in rules if rule.id == options.rule))
    return OK
