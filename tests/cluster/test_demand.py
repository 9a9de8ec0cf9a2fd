"""`python -m certs rotate` on a real API server: what it tells while replicas do it, and how it ends when they don't."""

import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from kubernetes.client import ApiClient, Configuration
from kubernetes.config import load_kube_config

from certs.__main__ import main
from certs.check import Line, demand
from certs.cluster import Clock, ClusterError, Kind, Object
from certs.cluster import Cluster as Objects
from certs.keeper import BRAKE, DEMAND, FIGHT, SETTLED
from certs.rotate import MARGIN
from tests.cluster.cluster import Cluster
from tests.cluster.placed import ENTRIES, Place, kept, material, placed
from tests.serving import eventually

ROOT = Path(__file__).parents[2]


class Ahead(Clock):
    """The API server's clock, and ahead of it."""

    ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


@pytest.fixture
def place(cluster: Cluster, tmp_path: Path) -> Iterator[Place]:
    with placed(cluster, tmp_path) as place:
        yield place


def rotating(place: Place, kubeconfig: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "certs", "rotate", "--kubeconfig", str(kubeconfig), *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, env=place.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def told(line: str) -> str:
    """Without the time, which is checked."""
    time, _, rest = line.rstrip().partition(" ")
    datetime.strptime(time, "%H:%M:%S").replace(tzinfo=UTC)
    return rest


def test_a_rotation_is_told_of_phase_by_phase_with_the_rights_of_a_pod(place: Place) -> None:
    place.trust(b"")
    account, clock = place.shipped_account(), Ahead()
    with kept(place, clock, account):
        before = place.bundles()
        lines = []
        with rotating(place, account) as rotation:
            assert rotation.stdout is not None
            for line in rotation.stdout:
                lines.append(told(line))
                if "settling" in line:
                    clock.ahead = MARGIN + timedelta(seconds=1)
            assert rotation.wait(60) == 0
        after = place.bundles()
    shown = (ROOT / "docs" / "certificates.md").read_text().partition("-- python -m certs rotate\n")[2].partition("\n```")[0]
    first, issuing, settling, last = map(told, shown.splitlines())
    assert [lines[0], lines[-1]] == [first, last] == ["asked      for a new CA", "stable     one CA, trusted everywhere"]
    assert set(lines) > {settling}
    assert issuing == "issuing    a new CA is demanded"
    phases = [line.split()[0] for line in lines[1:]]
    order = ["issuing", "trusting", "spreading", "settling", "dropping", "stable"]
    assert phases == sorted(phases, key=order.index)
    assert before.isdisjoint(after)


def test_a_leaf_alone_is_over_when_every_replica_serves_it(place: Place) -> None:
    place.trust(b"")
    account = place.shipped_account()
    with kept(place, Clock(), account):
        bundles, held = place.bundles(), place.held()
        with rotating(place, account, "--leaf") as rotation:
            output, errors = rotation.communicate(timeout=60)
        assert (rotation.returncode, errors) == (0, "")
        lines = [told(line) for line in output.splitlines()]
        assert lines[0] == "asked      for a new leaf"
        assert lines[-1] == "stable     one CA, trusted everywhere"
        assert place.bundles() == bundles
        assert place.held().ca == held.ca
        assert place.held().fingerprint != held.fingerprint


def test_a_replica_that_does_not_serve_the_new_leaf_is_waited_for(place: Place) -> None:
    """Nothing else would wait for it: who renews a leaf is done when it is written."""
    held = material(place.names.dns)
    place.trust(held.ca.certificate)
    place.hold(held.data())
    place.serve(gone=held)
    lines: list[Line] = []
    with kept(place, Clock(), place.shipped_account()):
        with pytest.raises(TimeoutError, match=r"^not over in 3 s; the replicas go on with it$"):
            lines.extend(demand(place.objects, "leaf", seconds=3))
        assert lines[-1] == Line("spreading", "waiting for gone to serve the new leaf")


def test_when_nobody_does_it_that_is_said(place: Place) -> None:
    held = material(place.names.dns)
    place.trust(held.ca.certificate)
    place.hold(held.data())
    place.serve(one=held)
    telling = demand(place.objects, "ca", seconds=60, nobody=1)
    assert [next(telling), next(telling)] == [Line("asked", "for a new CA"), Line("issuing", "a new CA is demanded")]
    with pytest.raises(TimeoutError, match=r"^no replica has done it in 1 s; is one running with certificates=self\?$"):
        next(telling)


def test_a_demand_that_somebody_takes_back_is_no_rotation(place: Place) -> None:
    held = material(place.names.dns)
    place.trust(held.ca.certificate)
    place.hold(held.data())
    place.serve(one=held)
    telling = demand(place.objects, "ca", seconds=60, nobody=1)
    assert [next(telling).subject, next(telling).subject] == ["asked", "issuing"]
    place.objects.merge("Secret", {"metadata": {"annotations": {DEMAND: None}}})
    assert next(telling).subject == "stable"
    with pytest.raises(TimeoutError, match=r"^no replica has done it in 1 s"):
        next(telling)


def test_a_rotation_that_is_going_on_already_is_waited_for(place: Place) -> None:
    """However long nothing happens in it, and somebody has to wait for time to pass."""
    old = material(place.names.dns)
    new = material(place.names.dns, old=old)
    place.trust(new.ca.certificate + old.ca.certificate)
    place.hold(new.data(), {SETTLED: f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"})
    place.serve(one=new)
    telling = demand(place.objects, "ca", seconds=3, nobody=1)
    assert [next(telling).subject, next(telling).subject] == ["asked", "settling"]
    with pytest.raises(TimeoutError, match=r"^not over in 3 s; the replicas go on with it$"):
        next(telling)


class Overtaken(Objects):
    """So many times, somebody writes the Secret right after it was read."""

    times = 2

    def read(self, kind: Kind) -> Object | None:
        found = super().read(kind)
        if self.times:
            self.times -= 1
            self.merge("Secret", {"metadata": {"annotations": {"test/left": str(self.times)}}})
        return found


def overtaken(place: Place) -> Overtaken:
    held = material(place.names.dns)
    place.hold(held.data(), {"test/kept": "yes"})
    configuration = Configuration()
    load_kube_config(str(place.cluster.kubeconfig), client_configuration=configuration)  # type: ignore[no-untyped-call]
    return Overtaken(ApiClient(configuration), place.names, Clock())


def test_a_secret_that_others_write_meanwhile_is_asked_again(place: Place) -> None:
    assert next(demand(overtaken(place), "leaf", seconds=1)) == Line("asked", "for a new leaf")
    assert place.marks() == {"test/kept": "yes", "test/left": "0", DEMAND: "leaf"}


def test_a_secret_that_others_write_all_the_time_is_given_up(place: Place) -> None:
    objects = overtaken(place)
    objects.times = 10
    with pytest.raises(ClusterError, match="the object has been modified"):
        next(demand(objects, "leaf", seconds=1))
    assert place.marks() == {"test/kept": "yes", "test/left": "0"}


def test_without_a_secret_there_is_nothing_to_replace(place: Place) -> None:
    with pytest.raises(ClusterError, match=f"^there is no Secret {place.names.namespace}/dpdk-webhook-tls: nothing to be"):
        next(demand(place.objects, "ca", seconds=1))


def run(place: Place, monkeypatch: pytest.MonkeyPatch, *arguments: str, **settings: object) -> int:
    for key, value in place.environment(**settings).items():
        monkeypatch.setenv(key, value)
    return main(["rotate", "--kubeconfig", str(place.cluster.kubeconfig), *arguments])


def test_a_rotation_that_takes_longer_than_the_timeout_ends_with_1(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    held = material(place.names.dns)
    place.trust(held.ca.certificate)
    place.hold(held.data())
    assert run(place, monkeypatch, "--timeout", "0") == 1
    assert capsys.readouterr().err == "error: not over in 0 s; the replicas go on with it\n"


def test_certificates_of_others_are_not_for_us_to_rotate(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(place, monkeypatch, certificates="cert-manager") == 2
    problem = "certificates is cert-manager: whoever issues them renews them, not the webhook"
    assert capsys.readouterr() == ("", f"error: {problem}\n")


def test_a_rotation_that_may_not_be_asked_for_ends_with_2(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for key, value in place.environment().items():
        monkeypatch.setenv(key, value)
    assert main(["rotate", "--kubeconfig", str(place.account("default"))]) == 2
    assert 'cannot get resource "secrets"' in capsys.readouterr().err


def test_whoever_writes_against_it_again_and_again_is_not_answered_as_fast_as_he_writes(place: Place) -> None:
    place.trust(b"")
    patch = {"webhooks": [{"name": ENTRIES["MutatingWebhookConfiguration"][0], "clientConfig": {"caBundle": ""}}]}
    path = f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{place.names.configuration}"
    with kept(place, Clock(), place.shipped_account()) as reports:
        generations = []
        end = time.monotonic() + 6
        while time.monotonic() < end:
            answer = place.cluster.api("PATCH", path, patch, content_type="application/strategic-merge-patch+json")
            generations.append(answer.body["metadata"]["generation"])
        # an attempt that changes nothing makes no generation: each of his that does is followed by one of ours
        assert 2 * FIGHT - 2 <= generations[-1] - generations[0] <= 2 * (FIGHT + 8 / BRAKE)
        eventually(lambda: reports[-1].matches and reports[-1].phase == "stable", 5, "it is put right in the end")
