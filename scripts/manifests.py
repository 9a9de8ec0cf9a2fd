"""`python -m scripts.manifests`: write the objects in deploy/{base,overlays,components} as the chart has them.

The chart is the only place where they are written by hand; kustomizations and their patches are, too. With --check nothing is
written: exit status 1 and a line for each file that isn't what the chart gives.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
DEPLOY: Final = ROOT / "deploy"
CHART: Final = DEPLOY / "chart"
NAME: Final = "dpdk-webhook"  # of the release and of its namespace, as kustomize has them
OLDEST: Final = "1.30.0"  # Kubernetes; what is rendered is the same for all
EVERYTHING: Final = ("networkPolicy", "serviceMonitor", "prometheusRule", "grafana.dashboard")
HEAD: Final = "# From deploy/chart, by python -m scripts.manifests: changes are made there.\n"
# the mode of which they are taken, and the template, by the file that they become
FILES: Final[Mapping[str, tuple[str, str]]] = {
    "base/serviceaccount.yaml": ("self", "serviceaccount.yaml"),
    "base/service.yaml": ("self", "service.yaml"),
    "base/deployment.yaml": ("self", "deployment.yaml"),
    "base/poddisruptionbudget.yaml": ("self", "poddisruptionbudget.yaml"),
    "base/webhooks.yaml": ("self", "webhooks.yaml"),
    "base/policy.yaml": ("self", "policy.yaml"),
    "overlays/self/rbac.yaml": ("self", "rbac.yaml"),
    "overlays/self/accountpolicy.yaml": ("self", "accountpolicy.yaml"),
    "overlays/self/certificates.yaml": ("self", "certificates.yaml"),
    "overlays/cert-manager/certificates.yaml": ("cert-manager", "cert-manager.yaml"),
    "components/monitoring/monitoring.yaml": ("self", "monitoring.yaml"),
    "components/dashboard/dashboard.yaml": ("self", "dashboard.yaml"),
    "components/network-policy/networkpolicy.yaml": ("self", "networkpolicy.yaml"),
    "components/network-policy-without-egress/networkpolicy.yaml": ("files", "networkpolicy.yaml"),
}


def rendered(helm: Path, mode: str, chart: Path = CHART) -> dict[str, str]:
    """What each template gives in this mode, with everything that can be enabled: YAML, with the chart's comments.

    Raises CalledProcessError when helm refuses it.
    """
    values = [f"certificates.mode={mode}", *(f"{key}.enabled=true" for key in EVERYTHING)]
    command: list[str | Path] = [helm, "template", NAME, chart, "--namespace", NAME]
    command += ["--kube-version", OLDEST, "--set", ",".join(values)]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    documents: dict[str, list[str]] = {}
    for part in re.split(rf"^---\n# Source: {NAME}/templates/", text, flags=re.MULTILINE)[1:]:
        template, document = part.split("\n", 1)
        documents.setdefault(template, []).append(document.strip("\n") + "\n")
    return {template: "---\n".join(parts) for template, parts in documents.items()}


def files(helm: Path, chart: Path = CHART) -> dict[str, str]:
    """What each generated file holds, by its path below deploy/."""
    modes = {mode: rendered(helm, mode, chart) for mode in sorted({mode for mode, _ in FILES.values()})}
    return {path: HEAD + modes[mode][template] for path, (mode, template) in FILES.items()}


def stale(wanted: Mapping[str, str], directory: Path = DEPLOY) -> list[str]:
    """The files that aren't there, or hold something else."""
    return [path for path, text in wanted.items() if not (file := directory / path).is_file() or file.read_text() != text]


def _helm() -> Path:
    from tests.cluster.binaries import installers  # only who has none needs the tests

    return installers() / "helm"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write them, or tell which are out of date."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.manifests", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--helm", type=Path, help="helm 4; without it the one of the tests is used, and built if need be")
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args(arguments)
    wanted = files(options.helm or _helm())
    old = stale(wanted, DEPLOY)
    for path in old:
        if options.check:
            print(f"deploy/{path} is out of date: make it anew by python -m scripts.manifests")
        else:
            file = DEPLOY / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(wanted[path])
            print(f"deploy/{path}")
    return 1 if options.check and old else 0


if __name__ == "__main__":
    sys.exit(main())
