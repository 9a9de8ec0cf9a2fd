"""`python -m certs check` on a real API server: what it prints, and the exit status."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certs.__main__ import main
from certs.check import check
from certs.cluster import CONFIGURATIONS, Clock, Kind, connect
from certs.issue import Pair, issue_leaf
from certs.keeper import SETTLED
from certs.rotate import MARGIN, Material
from scripts import throwaway
from tests.cluster.cluster import Cluster
from tests.cluster.placed import ENTRIES, Place, material, placed
from tests.serving import serving

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "certificates.md"
DAY = timedelta(days=1)
MENDED = "a running replica mends it within seconds; if none does, their logs say why"
MISSING = "apply the manifests; until then it is not called"
LOGS = "the logs of the replicas say why they don't"
STABLE = "phase       stable: one CA, trusted everywhere"
TRUSTED = "caBundle    all 3 entries trust what is served"


@pytest.fixture
def place(cluster: Cluster, tmp_path: Path) -> Iterator[Place]:
    with placed(cluster, tmp_path) as place:
        yield place


Run = Callable[..., tuple[int, list[str], str]]


@pytest.fixture
def run(place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("check", certificates="files")`: (exit status, lines of stdout, stderr), asked as cluster administrator."""

    def run(*arguments: str, kubeconfig: Path | None = None, **settings: object) -> tuple[int, list[str], str]:
        for key, value in place.environment(**settings).items():
            monkeypatch.setenv(key, value)
        status = main([*arguments, "--kubeconfig", str(kubeconfig or place.cluster.kubeconfig)])
        output = capsys.readouterr()
        return status, output.out.splitlines(), output.err

    return run


def days(ends: datetime, *, life: timedelta, left: int) -> str:
    due = ends - life / 3 - timedelta(minutes=5) / 3
    return f"{left} days left, until {ends:%F}; to be renewed on {due:%F}"


def lives(held: Material) -> list[str]:
    return [
        f"certificate {days(held.until, life=30 * DAY, left=29)}",
        f"CA          {days(held.until + 335 * DAY, life=365 * DAY, left=364)}",
    ]


def well(place: Place) -> Material:
    held = material(place.names.dns)
    place.trust(held.ca.certificate)
    place.hold(held.data())
    place.serve(one=held, two=held)
    return held


def test_an_installation_that_is_well_has_no_arrow(place: Place, run: Run) -> None:
    held = well(place)
    assert run("check") == (0, [*lives(held), TRUSTED, "replicas    2 of 2 serve it", STABLE], "")


def test_the_documentation_shows_what_is_printed(place: Place, run: Run) -> None:
    well(place)
    _, lines, _ = run("check")
    _, _, after = DOCUMENTATION.read_text().partition("-- python -m certs check\n")
    shown = after.partition("\n```")[0]
    assert re.sub(r"[0-9]+", "#", shown) == re.sub(r"[0-9]+", "#", "\n".join(lines))


def test_without_a_secret_nothing_is_said_of_ca_bundles(place: Place, run: Run) -> None:
    place.trust(b"")
    status, lines, stderr = run("check")
    assert (status, stderr) == (1, "")
    assert lines == [
        f"Secret      there is no Secret {place.names.namespace}/dpdk-webhook-tls -> {MENDED}",
        "replicas    none has said that it serves anything -> start one; if one runs, its log says why",
        "phase       issuing: there is no Secret: a new CA and a new leaf",
    ]


@pytest.mark.parametrize("damage", ["another key", "another name", "nothing"])
def test_a_secret_that_cannot_be_used_says_why(place: Place, run: Run, damage: str) -> None:
    held, other = material(place.names.dns), material("another.name.svc")
    data, why = {
        "another key": (held.data() | {"tls.key": other.leaf.key}, "tls.key is not the key of tls.crt"),
        "another name": (
            other.data(),
            "tls.crt does not come from ca.crt: leaf certificate has no matching subjectAltName",
        ),
        "nothing": ({}, "there is no ca.crt"),
    }[damage]
    place.trust(held.ca.certificate)
    place.hold(data)
    status, lines, stderr = run("check")
    assert (status, stderr) == (1, "")
    assert lines[0] == f"Secret      Secret {place.names.namespace}/dpdk-webhook-tls can't be used: {why} -> {MENDED}"
    assert [line.split()[0] for line in lines] == ["Secret", "replicas", "phase"]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (b"", "it is empty"),
        (material("x").ca.certificate, "it holds no CA that has signed it"),
        (material("x", age=400 * DAY).ca.certificate, "it holds no CA that is valid now"),
    ],
    ids=["empty", "another CA", "an old CA"],
)
def test_each_ca_bundle_that_is_wrong_is_named(place: Place, run: Run, wrong: bytes, why: str) -> None:
    held = material(place.names.dns)
    place.trust(held.ca.certificate, second=wrong, only=wrong)
    place.hold(held.data())
    place.serve(one=held)
    status, lines, stderr = run("check")
    assert (status, stderr) == (1, "")
    assert lines == [
        *lives(held),
        *(
            f"caBundle    of {entry} in the {kind} does not stand for what is served: {why} -> {MENDED}"
            for entry, kind in (
                ("second.mutate.test", "MutatingWebhookConfiguration"),
                ("only.validate.test", "ValidatingWebhookConfiguration"),
            )
        ),
        "replicas    1 of 1 serve it",
        "phase       trusting: the caBundle of only.validate.test, second.mutate.test lacks our CA",
    ]


@pytest.mark.parametrize("kind", CONFIGURATIONS)
def test_a_configuration_that_is_missing_is_named(place: Place, run: Run, kind: Kind) -> None:
    held = well(place)
    place.remove(kind)
    left = 3 - len(ENTRIES[kind])
    assert run("check") == (
        1,
        [
            f"webhooks    there is no {kind} {place.names.configuration} -> {MISSING}",
            *lives(held),
            f"caBundle    all {left} entries trust what is served",
            "replicas    2 of 2 serve it",
            STABLE,
        ],
        "",
    )


def test_in_the_wrong_namespace_there_is_nothing_and_no_entry_calls_there(place: Place, run: Run) -> None:
    well(place)
    status, lines, stderr = run("check", "--namespace", "default")
    assert (status, stderr) == (1, "")
    assert lines[:2] == [
        f"Secret      there is no Secret default/dpdk-webhook-tls -> {MENDED}",
        "caBundle    no entry calls the Service default/dpdk-webhook -> "
        "compare the settings service and namespace with clientConfig.service of the configurations",
    ]


def test_during_a_rotation_the_phase_says_until_when(place: Place, run: Run) -> None:
    old = material(place.names.dns)
    new = material(place.names.dns, old=old)
    settled = datetime.now(UTC).replace(microsecond=0)
    place.trust(new.ca.certificate + old.ca.certificate)
    place.hold(new.data(), {SETTLED: f"{settled:%Y-%m-%dT%H:%M:%SZ}"})
    place.serve(one=new, two=new)
    phase = f"phase       settling: waiting for API servers that learn late, until {settled + MARGIN:%T} UTC"
    assert run("check") == (0, [*lives(new), TRUSTED, "replicas    2 of 2 serve it", phase], "")


def test_a_replica_that_serves_something_else_is_named_until_that_has_ended(place: Place, run: Run) -> None:
    old = material(place.names.dns, age=10 * DAY)
    new = material(place.names.dns, old=old)
    gone = material(place.names.dns, age=31 * DAY)
    place.trust(new.ca.certificate + old.ca.certificate)
    place.hold(new.data())
    place.serve(one=new, two=old, three=gone)
    remedy = "if that lasts longer than a minute, restart it; if it is no more, it is waited for until"
    assert run("check") == (
        1,
        [
            *lives(new),
            TRUSTED,
            f"replicas    1 of 2 serve it, two another one -> {remedy} {old.until:%F %T} UTC",
            "phase       spreading: waiting for two to serve the new leaf",
        ],
        "",
    )


def test_what_nobody_has_renewed_in_time_has_an_arrow(place: Place, run: Run) -> None:
    held = material(place.names.dns, age=22 * DAY)
    place.trust(held.ca.certificate)
    place.hold(held.data())
    place.serve(one=held)
    status, [certificate, ca, *_, phase], stderr = run("check")
    due = held.until - 10 * DAY - timedelta(minutes=5) / 3
    assert (status, stderr) == (1, "")
    assert certificate == (f"certificate 7 days left, until {held.until:%F}; should have been renewed on {due:%F} -> {LOGS}")
    assert "->" not in ca
    assert phase == f"phase       issuing: a new leaf is due, as this one ends on {held.until:%F}"


@pytest.mark.parametrize(("hours", "word"), [(1, "ahead of"), (-1, "behind")])
def test_a_clock_that_is_wrong_is_told_of(place: Place, hours: int, word: str) -> None:
    well(place)
    wrong = Clock(wall=lambda: datetime.now(UTC) + timedelta(hours=hours))
    objects = connect(place.names, wrong, kubeconfig=str(place.cluster.kubeconfig))
    lines = check(objects, "self")
    objects.close()
    assert [line.subject for line in lines if line.remedy] == ["clock"]
    assert re.fullmatch(rf"3(600|599|601) s {word} the API server's", lines[-1].text)
    assert lines[-1].remedy == "set this machine's clock; certificates are judged by the API server's"


# --- what can't be found out


def test_who_may_not_read_is_told_what(place: Place, run: Run) -> None:
    namespace = place.names.namespace
    path = f"/api/v1/namespaces/{namespace}/secrets/dpdk-webhook-tls"
    assert run("check", kubeconfig=place.account("default")) == (
        2,
        [],
        f'error: GET {path}: secrets "dpdk-webhook-tls" is forbidden: User "system:serviceaccount:{namespace}:default" '
        f'cannot get resource "secrets" in API group "" in the namespace "{namespace}"\n',
    )


def test_an_api_server_that_is_not_there_is_told_of(place: Place, run: Run) -> None:
    (port,) = throwaway.free_ports(1)
    config = json.loads(place.cluster.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{port}"
    file = place.directory / "kubeconfig"
    file.write_text(json.dumps(config))
    path = f"/api/v1/namespaces/{place.names.namespace}/secrets/dpdk-webhook-tls"
    assert run("check", kubeconfig=file) == (
        2,
        [],
        f"error: GET {path}: the API server can't be asked: HTTPSConnection(host='127.0.0.1', port={port}): "
        "Failed to establish a new connection: [Errno 111] Connection refused\n",
    )


# --- the modes in which others renew


def mounted(place: Place, held: Material) -> dict[str, Path]:
    """The files that somebody else writes, as settings."""
    files = {"tls_cert": place.directory / "tls.crt", "tls_key": place.directory / "tls.key"}
    files["tls_cert"].write_bytes(held.leaf.certificate)
    files["tls_key"].write_bytes(held.leaf.key)
    return files


@pytest.mark.parametrize("mode", ["files", "cert-manager", "openshift"])
def test_in_the_other_modes_the_file_is_compared_and_no_secret_is_read(place: Place, run: Run, mode: str) -> None:
    held = material(place.names.dns)
    place.trust(held.ca.certificate)
    account = place.shipped_account()
    role = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{place.names.namespace}/rolebindings/dpdk-webhook"
    assert place.cluster.api("DELETE", role).status == 200
    expected = 0, [lives(held)[0], TRUSTED], ""
    assert run("check", kubeconfig=account, certificates=mode, **mounted(place, held)) == expected


@pytest.mark.parametrize(
    ("mode", "renew", "mend"),
    [
        (
            "files",
            "write a new pair to tls_cert and tls_key, of a CA that every caBundle holds",
            "write the CA of tls_cert there",
        ),
        (
            "cert-manager",
            "kubectl describe certificate says why cert-manager doesn't",
            "annotate the configuration with cert-manager.io/inject-ca-from: NAMESPACE/CERTIFICATE",
        ),
        (
            "openshift",
            "delete the Secret, and the service CA operator fills a new one",
            'annotate the configuration with service.beta.openshift.io/inject-cabundle: "true"',
        ),
    ],
)
def test_in_the_other_modes_the_remedy_is_whoever_renews(place: Place, run: Run, mode: str, renew: str, mend: str) -> None:
    ended, overdue = (material(place.names.dns, age=age * DAY) for age in (31, 22))
    place.trust(b"")
    wrong = [
        f"caBundle    of {entry} in the {kind} does not stand for what is served: it is empty -> {mend}"
        for kind, entries in ENTRIES.items()
        for entry in entries
    ]
    assert run("check", certificates=mode, **mounted(place, ended)) == (
        1,
        [f"certificate ended on {ended.until:%F %T} -> {renew}", *wrong],
        "",
    )
    due = overdue.until - 10 * DAY - timedelta(minutes=5) / 3
    late = f"7 days left, until {overdue.until:%F}; should have been renewed on {due:%F}"
    assert run("check", certificates=mode, **mounted(place, overdue)) == (1, [f"certificate {late} -> {renew}", *wrong], "")


def test_without_a_file_there_is_nothing_to_compare_with(place: Place, run: Run) -> None:
    assert run("check", certificates="files") == (
        2,
        [],
        "error: certificates is files and tls_cert is not set: there is nothing to compare the caBundles with; "
        "set it, or write --connect HOST:PORT\n",
    )


def test_a_file_that_is_no_certificate_is_refused(place: Place, run: Run) -> None:
    place.trust(b"")
    files = mounted(place, replace(material("x"), leaf=Pair(b"?", b"?")))
    assert run("check", certificates="files", **files) == (2, [], "error: tls_cert holds no certificate in PEM\n")


def test_a_running_server_is_asked_what_it_serves(place: Place, run: Run) -> None:
    held, other = material(place.names.dns), material(place.names.dns)
    server = place.directory / "server"
    server.mkdir()
    files = throwaway.Certificates(server / "ca.crt", server / "tls.crt", server / "tls.key")
    now = datetime.now(UTC)
    pair = issue_leaf(held.ca, names=[place.names.dns, "127.0.0.1", "localhost"], now=now)
    for file, content in ((files.ca, held.ca.certificate), (files.certificate, pair.certificate), (files.key, pair.key)):
        file.write_bytes(content)
    with serving(files, server) as running:
        address = f"127.0.0.1:{running.port}"
        place.trust(held.ca.certificate)
        assert run("check", "--connect", address, certificates="files") == (0, [TRUSTED], "")
        place.trust(held.ca.certificate, first=other.ca.certificate, second=b"")
        status, lines, stderr = run("check", "--connect", address, certificates="files")
        assert (status, stderr) == (1, "")
        says = "in the MutatingWebhookConfiguration does not stand for what is served"
        assert lines == [
            f"caBundle    of {entry}.mutate.test {says}: {why} -> write the CA of tls_cert there"
            for entry, why in (("first", "unable to get local issuer certificate"), ("second", "it is empty"))
        ]
    status, lines, stderr = run("check", "--connect", address, certificates="files")
    assert (status, lines) == (2, [])
    assert stderr == f"error: {address} can't be asked: [Errno 111] Connection refused\n"
