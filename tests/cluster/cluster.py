"""A real kube-apiserver with etcd and the controllers that pods need, on 127.0.0.1, thrown away afterwards.

A second kube-apiserver may share the etcd, and hear of everything there some seconds late.
"""

import base64
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import httpx
import yaml

from scripts.throwaway import free_ports
from tests.cluster.binaries import binaries
from tests.cluster.counters import Counted
from tests.cluster.pki import Keys
from tests.cluster.tied import Tied, until

OVERLAY = Path(__file__).resolve().parents[2] / "deploy" / "overlays" / "self"
# namespace-controller makes a deleted namespace go away; no scheduler and no kubelet: pods stay Pending.
CONTROLLERS = "deployment-controller,replicaset-controller,serviceaccount-controller,namespace-controller"
# Whatever else an installation meets, where pods do run: see kubelet.py.
FURTHER = (
    "endpointslice-controller,endpoints-controller,root-ca-certificate-publisher-controller,garbage-collector-controller,"
    "disruption-controller,pod-garbage-collector-controller,node-lifecycle-controller,taint-eviction-controller"
)
SOON = ("--node-monitor-grace-period=8s", "--node-monitor-period=1s", "--node-eviction-rate=10")  # a node is lost
WARNING = re.compile(r'^299 \S+ "(?P<text>(?:[^"\\]|\\.)*)"')
LAGGING = (
    # a question of etcd takes as long as the lag: it is no sign of bad health
    "--etcd-healthcheck-timeout=60s",
    "--etcd-readycheck-timeout=60s",
    # where a namespace has no LimitRange or ResourceQuota, they ask etcd for one every 30 s, and pods wait for several lags
    "--disable-admission-plugins=LimitRanger,ResourceQuota",
)


class Answer(NamedTuple):
    status: int
    body: dict[str, Any]
    warnings: list[str]


class ApiServer:
    """One kube-apiserver, as the cluster administrator meets it."""

    url: str
    kubeconfig: Path
    administrator: ssl.SSLContext  # trusts the API server, and is trusted by it
    process: Tied  # which may be killed, and launched again
    _command: Sequence[str | Path]
    _log: Path
    _http: httpx.Client

    def launch(self) -> None:
        """Start its process, on the same port each time, and don't wait."""
        self.process = Tied(self._command, log=self._log)

    def wait_ready(self) -> None:
        """Return when it says that it is."""
        self.process.wait_ready(lambda: answers_ok(self._http, "/readyz"), seconds=60)

    def api(self, method: str, path: str, body: object = None, *, content_type: str = "application/json") -> Answer:
        """Send one request as cluster administrator; nothing is raised for a refusal."""
        content = None if body is None else json.dumps(body)
        reply = self._http.request(method, path, content=content, headers={"Content-Type": content_type})
        headers = reply.headers.get_list("Warning")
        found = [match["text"] for header in headers if (match := WARNING.match(header))]
        return Answer(reply.status_code, reply.json(), [re.sub(r"\\(.)", r"\1", text) for text in found])

    def metrics(self) -> str:
        """Return the API server's own metrics, in Prometheus' text format; where it lags that takes two lags."""
        return self._http.get("/metrics").raise_for_status().text

    def webhook_calls(self, name: str) -> int:
        """Return how often the API server has called a webhook, whatever came of it."""
        calls = Counted.of(self.metrics()).calls
        return sum(number for (called, _), number in calls.items() if called == name)

    def heard_of(self, path: str) -> bool:
        """Tell whether it has heard of an object: etcd, which may know more, is not asked."""
        return self.api("GET", f"{path}?resourceVersion=0").status == httpx.codes.OK

    def wait_for_namespace(self, name: str) -> None:
        """Return when pods can be made in it: this server has heard of it, and of its default ServiceAccount."""
        namespace = f"/api/v1/namespaces/{name}"
        account = f"{namespace}/serviceaccounts/default"
        waiting_for = f"the default ServiceAccount of {name}"
        until(lambda: self.heard_of(namespace) and self.heard_of(account), seconds=30, waiting_for=waiting_for)


class Other:
    """Another program of the cluster."""

    def __init__(self, command: Sequence[str | Path], log: Path) -> None:
        self._command, self._log = command, log
        self.launch()

    def launch(self) -> None:
        self.process = Tied(self._command, log=self._log)


class Cluster(ApiServer):
    """`with Cluster() as cluster:` starts it; leaving the block, or dying in it, ends every process.

    Its API server is this very object. `second` gives it another one, which is that many seconds behind with everything that
    it hears from etcd: as one of several is when it is busy, or far away. A `whole` one has every controller that pods need
    which run, and a scheduler.
    """

    directory: Path  # logs, certificates, kubeconfigs
    programs: Path
    version: tuple[int, int]  # of Kubernetes, as the server says: (1, 36)
    second: ApiServer  # only of a cluster that was asked for one

    def __init__(self, *, flags: Sequence[str] = (), second: float | None = None, whole: bool = False) -> None:
        self._flags = flags  # further ones of each kube-apiserver
        self._lag = second
        self._whole = whole
        self._others: list[Other] = []  # etcd first

    def __enter__(self) -> Self:
        self.programs = binaries()
        with ExitStack() as stack:
            temporary = tempfile.TemporaryDirectory(prefix="dpdk-webhook-cluster-")
            self.directory = Path(stack.enter_context(temporary))
            etcd = self._start_etcd(stack)
            keys = Keys.made(self.directory)
            self._start_apiserver(stack, self, "kube-apiserver", etcd, keys)
            major, minor, *_ = self.api("GET", "/version").body["gitVersion"].removeprefix("v").split(".")
            self.version = int(major), int(minor)
            if self._lag is not None:
                self._start_second(stack, etcd, keys, self._lag)
            self._start_controllers(stack, keys)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def kubectl(
        self,
        *args: str | Path,
        input: str | None = None,  # noqa: A002 - as subprocess.run names it
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as cluster administrator; `check` raises with what it printed to stderr as a note."""
        run = subprocess.run(
            [self.programs / "kubectl", *args],
            # Another cluster may have had our port: its discovery cache, or somebody's kuberc, would lead us astray.
            env=os.environ
            | {"KUBECONFIG": str(self.kubeconfig), "KUBECACHEDIR": str(self.directory / "kubectl"), "KUBERC": "off"},
            input=input,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if check and run.returncode:
            failure = subprocess.CalledProcessError(run.returncode, run.args, run.stdout, run.stderr)
            failure.add_note(run.stderr)
            raise failure
        return run

    @contextmanager
    def namespace(self, labels: Mapping[str, str] | None = None) -> Iterator[str]:
        """Give the name of a fresh namespace in which pods can be made; it is deleted afterwards."""
        metadata = {"generateName": "test-", "labels": dict(labels or {})}
        made = self.api("POST", "/api/v1/namespaces", {"metadata": metadata})
        if made.status != httpx.codes.CREATED:
            raise RuntimeError(f"no namespace: {made.body}")
        name: str = made.body["metadata"]["name"]
        self.wait_for_namespace(name)
        try:
            yield name
        finally:
            self.api("DELETE", f"/api/v1/namespaces/{name}")

    def register(self, url: str, ca_pem: bytes) -> None:
        """Apply deploy/overlays/self, with both configurations calling `url` instead of the Service; return when they do.

        Meant once for a cluster: a second url is called only some time after the old one.
        """
        documents = self._install()
        for webhook in _webhooks(documents):
            webhook["clientConfig"] = {"url": url + webhook["clientConfig"]["service"]["path"]}
        self.wait_until_called(self._apply(documents, ca_pem))

    def register_service(self, ca_pem: bytes) -> list[str]:
        """Apply it as it is, except that the Service has no selector: its endpoints are whatever the test says.

        Return the names of the webhooks, which `wait_until_called` takes as soon as an endpoint is ready.
        """
        documents = self._install()
        for document in documents:
            if document["kind"] == "Service":
                del document["spec"]["selector"]
        return self._apply(documents, ca_pem)

    def _install(self) -> list[dict[str, Any]]:
        """Without the policy for pods: it would refuse, first, what the validating webhook is to be seen refusing."""
        documents = list(yaml.safe_load_all(self.kubectl("kustomize", OVERLAY).stdout))
        policies = {each["metadata"]["name"] for each in documents if each["kind"] == "MutatingWebhookConfiguration"}
        return [
            each
            for each in documents
            if not (each["kind"].startswith("ValidatingAdmissionPolicy") and each["metadata"]["name"] in policies)
        ]

    def _apply(self, documents: list[dict[str, Any]], ca_pem: bytes) -> list[str]:
        webhooks = _webhooks(documents)
        for webhook in webhooks:
            if ca_pem:  # without one, it is for the webhook itself to say
                webhook["clientConfig"]["caBundle"] = base64.b64encode(ca_pem).decode()
        self.kubectl("apply", "--server-side", "--validate=strict", "-f", "-", input=yaml.safe_dump_all(documents))
        return [webhook["name"] for webhook in webhooks]

    def wait_until_called(self, names: list[str]) -> None:
        """Return when each of these webhooks is called: the API server picks them up a little after it has stored them."""
        before = {name: self.webhook_calls(name) for name in names}
        answers: list[Answer] = []

        def called() -> bool:
            pod = _compliant_pod()
            answers[:] = [
                self.api("POST", f"{group}/namespaces/{namespace}/{resource}?dryRun=All", body)
                for group, resource, body in (("/api/v1", "pods", pod), ("/apis/apps/v1", "deployments", _deployment(pod)))
                for namespace in ("default", strict)
            ]
            return all(self.webhook_calls(name) > count for name, count in before.items())

        # one of them is for namespaces under Pod Security alone
        with self.namespace({"pod-security.kubernetes.io/enforce": "baseline"}) as strict:
            try:
                until(called, seconds=30, waiting_for=f"a call of each of {', '.join(names)}")
            except TimeoutError as error:
                error.add_note(f"the last dry runs were answered with {answers}")
                raise

    def _start_etcd(self, stack: ExitStack) -> str:
        """Start etcd and return its URL."""
        client, peer = (f"http://127.0.0.1:{port}" for port in free_ports(2))
        etcd = self._other(
            stack,
            self.programs / "etcd",
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        )
        with httpx.Client(trust_env=False) as http:
            # its /readyz is younger than Kubernetes 1.30
            etcd.wait_ready(lambda: answers_ok(http, f"{client}/health"), seconds=30)
        return client

    def _start_apiserver(
        self, stack: ExitStack, server: ApiServer, name: str, etcd: str, keys: Keys, flags: Sequence[str] = ()
    ) -> None:
        """Start one on this etcd, and let `server` be it when it is ready."""
        (port,) = free_ports(1)
        server.url = f"https://127.0.0.1:{port}"
        server.kubeconfig = self.directory / f"{name}.kubeconfig"
        server.kubeconfig.touch(mode=0o600)
        server.kubeconfig.write_text(json.dumps(keys.kubeconfig(server.url)))
        server._log = self.directory / f"{name}.log"
        server._command = (
            self.programs / "kube-apiserver",
            f"--etcd-servers={etcd}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",  # otherwise it looks for a default route, which a machine may not have
            f"--secure-port={port}",
            "--endpoint-reconciler-type=none",  # nobody reaches it as a Service, and loopback may not be an endpoint
            f"--tls-cert-file={keys.serving.certificate}",
            f"--tls-private-key-file={keys.serving.key}",
            f"--client-ca-file={keys.authority}",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={keys.accounts}",
            f"--service-account-signing-key-file={keys.accounts}",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--allow-privileged=true",
            *flags,
            *self._flags,
        )
        server.launch()
        stack.callback(lambda: server.process.kill())  # the one of then: it may have been launched again
        server.administrator = ssl.create_default_context(cafile=keys.authority)
        server.administrator.load_cert_chain(keys.admin.certificate, keys.admin.key)
        http = httpx.Client(base_url=server.url, verify=server.administrator, trust_env=False, timeout=60)
        server._http = stack.enter_context(http)
        server.wait_ready()

    def _start_second(self, stack: ExitStack, etcd: str, keys: Keys, lag: float) -> None:
        """Start the second server on time, as it asks etcd much before it is ready, and only then let it lag."""
        (port,) = free_ports(1)
        command = ("-m", "tests.cluster.lagging", str(port), str(urlsplit(etcd).port), str(lag))
        proxy = self._start(stack, Path(sys.executable), *command, log="lagging")
        proxied = f"http://127.0.0.1:{port}"
        with httpx.Client(trust_env=False) as http:
            proxy.wait_ready(lambda: answers_ok(http, f"{proxied}/health"), seconds=30)
        self.second = ApiServer()
        self._start_apiserver(stack, self.second, "second-kube-apiserver", proxied, keys, LAGGING)
        os.kill(proxy.pid, signal.SIGUSR1)

    def _start_controllers(self, stack: ExitStack, keys: Keys) -> None:
        client = (f"--kubeconfig={self.kubeconfig}", "--leader-elect=false", "--secure-port=0")
        chosen = [f"--controllers={CONTROLLERS}"]
        if self._whole:
            chosen = [f"--controllers={CONTROLLERS},{FURTHER}", f"--root-ca-file={keys.authority}", *SOON]
            self._other(stack, self.programs / "kube-scheduler", *client)
        controllers = self._other(stack, self.programs / "kube-controller-manager", *client, *chosen)
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        controllers.wait_ready(lambda: self.api("GET", account).status == httpx.codes.OK, seconds=60)

    def halt(self) -> None:
        """End every process at once; what etcd has stored stays."""
        self.process.kill()
        for other in self._others:
            other.process.kill()

    def resume(self) -> None:
        """Start them all again, and return when the API server is ready."""
        for other in self._others:
            other.launch()
        self.launch()
        self.wait_ready()

    def _other(self, stack: ExitStack, program: Path, *flags: str) -> Tied:
        """Start one that may be killed, and launched again."""
        other = Other([program, *flags], self.directory / f"{program.name}.log")
        stack.callback(lambda: other.process.kill())  # the one of then; nothing in it is worth a slow goodbye
        self._others.append(other)
        return other.process

    def _start(self, stack: ExitStack, program: Path, *flags: str, log: str | None = None) -> Tied:
        child = Tied([program, *flags], log=self.directory / f"{log or program.name}.log")
        stack.callback(child.kill)  # nothing in it is worth a slow goodbye
        return child


def answers_ok(http: httpx.Client, url: str) -> bool:
    try:
        return http.get(url).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _webhooks(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [webhook for document in documents for webhook in document.get("webhooks", [])]


def _deployment(pod: dict[str, Any]) -> dict[str, Any]:
    metadata = pod["metadata"] | {"labels": {"app": "registered"}}
    spec = {"selector": {"matchLabels": metadata["labels"]}, "template": pod | {"metadata": metadata}}
    return {"metadata": {"name": "registered"}, "spec": spec}


def _compliant_pod() -> dict[str, Any]:
    """Return a pod that the mutating webhook leaves alone, so that the validating one is called as well."""
    amounts = {"cpu": "1", "memory": "128Mi", "hugepages-2Mi": "64Mi"}
    container = {
        "name": "dpdk",
        "image": "dpdk",
        "env": [{"name": "DPDK_EAL_ARGS", "value": "--huge-dir=/dev/hugepages"}],
        "resources": {"requests": amounts, "limits": amounts},
        "securityContext": {"capabilities": {"add": ["IPC_LOCK"]}},
        "volumeMounts": [{"name": "hugepages-2mi", "mountPath": "/dev/hugepages"}],
    }
    volume = {"name": "hugepages-2mi", "emptyDir": {"medium": "HugePages-2Mi"}}
    metadata = {"generateName": "registered-", "annotations": {"dpdk": "true"}}
    return {"metadata": metadata, "spec": {"containers": [container], "volumes": [volume]}}
