"""The custom resources of the Prometheus operator and of cert-manager, as the Go modules that a go.mod pins define them."""

import json
import subprocess
from pathlib import Path
from typing import Final

from tests.cluster.binaries import BuildError, go_for

HERE: Final = Path(__file__).resolve().parent / "crds"
FILES: Final = {
    "github.com/cert-manager/cert-manager": (
        "deploy/crds/cert-manager.io_certificaterequests.yaml",
        "deploy/crds/cert-manager.io_certificates.yaml",
        "deploy/crds/cert-manager.io_clusterissuers.yaml",
        "deploy/crds/cert-manager.io_issuers.yaml",
    ),
    "github.com/prometheus-operator/prometheus-operator": (
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
    ),
}


def definitions() -> list[Path]:
    """Return the files, downloading the modules if need be; raises BuildError, also when one isn't what go.sum says."""
    go, environment = go_for(HERE)
    pinned = dict(line.split()[:2] for line in (HERE / "go.mod").read_text().splitlines() if line.startswith("\t"))
    sums = {tuple(line.split()[:2]): line.split()[2] for line in (HERE / "go.sum").read_text().splitlines()}
    wanted = [f"{module}@{version}" for module, version in pinned.items()]
    command: list[str | Path] = [go, "mod", "download", "-json", *wanted]
    run = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, check=False, timeout=280)
    if run.returncode:
        raise BuildError(f"the custom resources could not be downloaded:\n{run.stderr or run.stdout}")
    found: list[Path] = []
    decoder, rest = json.JSONDecoder(), run.stdout.strip()
    while rest:
        module, end = decoder.raw_decode(rest)
        rest = rest[end:].strip()
        if sums.get((module["Path"], module["Version"])) != module["Sum"]:
            raise BuildError(f"{module['Path']} {module['Version']} is not the one in go.sum")
        found += [Path(module["Dir"]) / file for file in FILES[module["Path"]]]
    return found
