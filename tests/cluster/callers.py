"""`python -m tests.cluster.callers`: a webhook that asks for a certificate, and an API server that has one.

Set up from docs/client-authentication.md, with only the directories changed. Exit status 1 when anybody else is answered.
"""

import argparse
import os
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import yaml

from tests.cluster.cluster import OVERLAY, Cluster
from tests.cluster.creators import pod
from tests.cluster.play import Figures, play
from tests.cluster.replicas import NAMESPACE, ROUTING, SERVICE, Replica, Replicas
from tests.oracle import violations

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "client-authentication.md"
CONTROL_PLANE, MOUNTED = "/etc/kubernetes/admission", "/etc/dpdk-webhook/callers"
SUBJECT = "/CN=kube-apiserver"


def run(options: argparse.Namespace) -> Figures:
    """One replica that asks for certificates; who is answered."""
    guide = GUIDE.read_text()
    with TemporaryDirectory(prefix="dpdk-webhook-") as temporary:
        directory = Path(temporary)
        issue, *_ = re.findall(r"```sh\n(.*?)```", guide, re.DOTALL)
        ours, others = _issued(directory / "ours", issue), _issued(directory / "others", issue)
        stranger = _issued(directory / "stranger", issue.replace(SUBJECT, "/CN=somebody"), ca=ours)
        for path, content in re.findall(rf"```yaml\n# {CONTROL_PLANE}/(\S+)\n(.*?)```", guide, re.DOTALL):
            (ours / path).write_text(content.replace(CONTROL_PLANE, str(ours)))
        shutil.copyfile(ours / "callers-ca.crt", ours / "ca.crt")
        flag = re.findall(r"^--admission-control-config-file=.*", guide, re.MULTILINE)[0]
        with Cluster(flags=[ROUTING, flag.replace(CONTROL_PLANE, str(ours))]) as cluster:
            settings = _settings(cluster, directory, guide, ours)
            with Replicas(cluster, directory, 1, settings=settings) as replicas, cluster.namespace() as namespace:
                (replica,) = replicas.running
                return {
                    "settings": {name: value.replace(str(ours), MOUNTED) for name, value in settings.items()},
                    "kube-apiserver": _create(cluster, namespace),
                    "the same certificate": _ask(replica, replicas.ca, ours),
                    "nobody": _ask(replica, replicas.ca, None),
                    "another subject": _ask(replica, replicas.ca, stranger),
                    "another CA": _ask(replica, replicas.ca, others),
                    "health": {path: httpx.get(replica.health_url + path).status_code for path in ("/readyz", "/metrics")},
                }


def _issued(directory: Path, commands: str, *, ca: Path | None = None) -> Path:
    """The directory in which the commands of the guide were run; with the CA of another one, only those for the client."""
    directory.mkdir()
    if ca:
        for name in ("callers-ca.key", "callers-ca.crt"):
            shutil.copyfile(ca / name, directory / name)
        commands = commands[commands.index("openssl req -newkey") :]
    subprocess.run(["sh", "-euc", commands], cwd=directory, check=True, capture_output=True)
    return directory


def _settings(cluster: Cluster, directory: Path, guide: str, files: Path) -> dict[str, str]:
    """What the Deployment sets with the guide's patch that it does not set without, as settings of the server."""
    overlay = directory / "my"
    overlay.mkdir()
    patch = re.findall(r"```yaml\n# my/(\S+)\n(.*?)```", guide, re.DOTALL)
    for name, content in patch:
        (overlay / name).write_text(content)
    listed = {"resources": [os.path.relpath(OVERLAY, overlay.resolve())], "patches": [{"path": name} for name, _ in patch]}
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(listed))
    before, after = (_container(cluster, place) for place in (OVERLAY, overlay))
    mounts = [mount["mountPath"] for mount in after["volumeMounts"] if mount not in before.get("volumeMounts", [])]
    assert mounts == [MOUNTED]
    return {
        variable["name"].removeprefix("DPDK_WEBHOOK_").lower(): variable["value"].replace(MOUNTED, str(files))
        for variable in after["env"]
        if variable not in before["env"]
    }


def _container(cluster: Cluster, directory: Path) -> dict[str, Any]:
    documents = yaml.safe_load_all(cluster.kubectl("kustomize", directory).stdout)
    (deployment,) = (document for document in documents if document["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return dict(container)


def _create(cluster: Cluster, namespace: str) -> str:
    made = cluster.api("POST", f"/api/v1/namespaces/{namespace}/pods", pod(0, annotated=True))
    return f"{made.status} {violations(made.body)}"


def _ask(replica: Replica, ca: Path, client: Path | None) -> str:
    """What somebody who comes with this certificate, or with none, gets: a status, or the error that ended the connection."""
    context = ssl.create_default_context(cafile=ca)
    if client:
        context.load_cert_chain(client / "client.crt", client / "client.key")
    with httpx.Client(verify=context, trust_env=False) as http:
        try:
            name = {"sni_hostname": f"{SERVICE}.{NAMESPACE}.svc"}
            return str(http.get(f"{replica.url}/rules", extensions=name).status_code)
        except httpx.TransportError as error:
            return str(error)


def broken(figures: Figures) -> list[str]:
    """Whoever gets something else than he should."""
    answered = {
        "kube-apiserver": figures["kube-apiserver"] == "201 []",
        "the same certificate": figures["the same certificate"] == "200",
        "health": set(figures["health"].values()) == {200},
    }
    turned_away = {name: not figures[name].isdecimal() for name in ("nobody", "another subject", "another CA")}
    return [f"{name}: {figures[name]}" for name, is_right in {**answered, **turned_away}.items() if not is_right]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.callers", description=(__doc__ or "").partition("\n")[0])
    return play(parser, arguments, run, broken)


if __name__ == "__main__":
    sys.exit(main())
