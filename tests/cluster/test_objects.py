"""What certs.cluster does to the objects of a real API server, and what it sees of them."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from certs import cluster as module
from certs.cluster import CONFIGURATIONS, Clock, ClusterError, Kind, Object, Watched, connect
from certs.loop import TICK, Report
from certs.onlooker import Onlooker
from tests.cluster.cluster import Cluster
from tests.cluster.placed import ENTRIES, Place, material, placed
from tests.serving import eventually

OURS, THEIRS = (material("x").ca.certificate for _ in range(2))


@pytest.fixture
def place(cluster: Cluster, tmp_path: Path) -> Iterator[Place]:
    with placed(cluster, tmp_path) as place:
        yield place


def refused(call: Callable[[], object]) -> tuple[str, int]:
    with pytest.raises(ClusterError) as raised:
        call()
    return raised.value.reason, raised.value.status


@pytest.mark.parametrize("kind", ["Secret", "Lease", *CONFIGURATIONS])
def test_each_of_our_objects_is_made_changed_and_written_whole(place: Place, kind: Kind) -> None:
    objects = place.objects
    assert objects.read(kind) is None
    made = objects.create(kind, {"metadata": {"annotations": {"a": "b"}}})
    assert objects.read(kind) == made
    changed = objects.merge(kind, {"metadata": {"annotations": {"a": None, "c": "d"}, "labels": {"of": "others"}}})
    assert changed["metadata"]["annotations"] == {"c": "d"}
    whole = objects.replace(kind, changed | {"metadata": changed["metadata"] | {"annotations": {"e": "f"}}})
    assert whole["metadata"]["annotations"] == {"e": "f"}
    assert whole["metadata"]["labels"] == {"of": "others"}
    assert objects.read(kind) == whole


def test_each_refusal_has_its_reason(place: Place) -> None:
    objects = place.objects
    made = objects.create("Secret", {})
    assert refused(lambda: objects.create("Secret", {})) == ("conflict", 409)
    objects.merge("Secret", {"metadata": {"labels": {"a": "b"}}})
    assert refused(lambda: objects.replace("Secret", made)) == ("conflict", 409)
    version = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}}
    assert refused(lambda: objects.merge("Secret", version)) == ("conflict", 409)
    assert refused(lambda: objects.merge("Secret", {"data": {"no key!": ""}})) == ("invalid", 422)
    place.remove("Secret")
    assert refused(lambda: objects.replace("Secret", made)) == ("conflict", 404)
    assert refused(lambda: objects.merge("Secret", {})) == ("conflict", 404)


def test_who_has_no_right_or_no_name_is_forbidden(place: Place) -> None:
    nobody = connect(place.names, Clock(), kubeconfig=str(place.account("default")))
    assert refused(lambda: nobody.read("Secret")) == ("forbidden", 403)
    assert refused(lambda: next(nobody.watch("Lease"))) == ("forbidden", 403)
    nobody.close()
    config = json.loads((place.directory / "default.kubeconfig").read_text())
    config["users"][0]["user"] = {"token": "a token of nobody"}
    file = place.directory / "nobody"
    file.write_text(json.dumps(config))
    nobody = connect(place.names, Clock(), kubeconfig=str(file))
    assert refused(lambda: nobody.read("Secret")) == ("forbidden", 401)
    nobody.close()


# --- the caBundle


def bundle(pem: bytes) -> str:
    return base64.b64encode(pem).decode()


OWN = ENTRIES["MutatingWebhookConfiguration"]


def applied(place: Place, *how: str, without: str = "") -> Object:
    """Apply a configuration as people do: two entries call us, without a caBundle, one another Service, and one a URL."""
    ours, also = OWN
    of_others = {
        "service.other.test": {"service": {"namespace": "default", "name": "dpdk-webhook"}, "caBundle": bundle(THEIRS)},
        "url.other.test": {"url": "https://dpdk-webhook.example.com/", "caBundle": bundle(THEIRS)},
    }
    webhooks = [place.webhook(name, None) for name in (ours, also)]
    webhooks += [place.webhook(name, None) | {"clientConfig": called} for name, called in of_others.items()]
    configuration = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": place.names.configuration},
        "webhooks": [each for each in webhooks if each["name"] != without],
    }
    place.cluster.kubectl("apply", *(how or ["--server-side"]), "-f", "-", input=json.dumps(configuration))
    found = place.objects.read("MutatingWebhookConfiguration")
    assert found is not None
    return found


def bundles(configuration: Object) -> dict[str, bytes]:
    return {each["name"]: base64.b64decode(each["clientConfig"].get("caBundle", "")) for each in configuration["webhooks"]}


EXPECTED = {
    "first.mutate.test": OURS,
    "second.mutate.test": b"",
    "service.other.test": THEIRS,
    "url.other.test": THEIRS,
}


def test_only_the_ca_bundle_of_entries_that_call_us_is_ours(place: Place) -> None:
    found = applied(place)
    assert place.objects.bundles(found) == {"first.mutate.test": b"", "second.mutate.test": b""}
    changed = place.objects.trust("MutatingWebhookConfiguration", found, {"first.mutate.test": OURS})
    assert bundles(changed) == EXPECTED
    [fields] = [each for each in changed["metadata"]["managedFields"] if each["manager"] == "dpdk-webhook"]
    assert fields["operation"] == "Update"
    assert fields["fieldsV1"] == {"f:webhooks": {'k:{"name":"first.mutate.test"}': {"f:clientConfig": {"f:caBundle": {}}}}}


@pytest.mark.parametrize("how", [["--server-side"], ["--server-side=false"]], ids=["server-side", "client-side"])
def test_an_entry_that_a_new_version_does_not_have_goes_away_with_our_ca_bundle(how: list[str], place: Place) -> None:
    place.objects.trust("MutatingWebhookConfiguration", applied(place, *how), dict.fromkeys(OWN, OURS))
    found = applied(place, *how, without="first.mutate.test")
    assert bundles(found) == {"second.mutate.test": OURS, "service.other.test": THEIRS, "url.other.test": THEIRS}


def test_what_is_not_told_again_stays(place: Place) -> None:
    found = place.objects.trust("MutatingWebhookConfiguration", applied(place), {"first.mutate.test": OURS})
    changed = place.objects.trust("MutatingWebhookConfiguration", found, {"second.mutate.test": THEIRS})
    assert bundles(changed) == EXPECTED | {"second.mutate.test": THEIRS}


def test_who_applies_the_manifests_again_takes_nothing_back(place: Place) -> None:
    place.objects.trust("MutatingWebhookConfiguration", applied(place), {"first.mutate.test": OURS})
    assert bundles(applied(place)) == EXPECTED


def test_a_ca_bundle_is_not_written_over_a_change_that_was_not_seen(place: Place) -> None:
    found = applied(place)
    place.objects.merge("MutatingWebhookConfiguration", {"metadata": {"labels": {"a": "b"}}})
    trust = {"first.mutate.test": OURS}
    assert refused(lambda: place.objects.trust("MutatingWebhookConfiguration", found, trust)) == ("conflict", 409)


# --- a watch


def followed(place: Place, monkeypatch: pytest.MonkeyPatch) -> tuple[Watched, list[str | None]]:
    """One who follows the Secret, and each change of what he sees, by an annotation."""
    monkeypatch.setattr(module, "WATCH", 1)  # the API server closes it every second
    seen: list[str | None] = []

    def changed() -> None:
        now = (watched.error and str(watched.error)) or mark(watched.found)
        if not seen or now != seen[-1]:
            seen.append(now)

    watched = Watched(place.objects, "Secret", changed)
    watched.start()
    return watched, seen


def mark(found: Object | None) -> str | None:
    text: str | None = found["metadata"]["annotations"]["test/mark"] if found else None
    return text


def marked(text: str) -> Object:
    return {"metadata": {"annotations": {"test/mark": text}}}


def test_each_change_is_seen_whenever_it_happens_and_however_often_the_watch_ends(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, seen = followed(place, monkeypatch)
    eventually(lambda: seen == [None], 10, "it is not there")
    place.objects.create("Secret", marked("made"))
    eventually(lambda: seen == [None, "made"], 10, "it was made")
    for number in range(20):  # several watches long
        place.objects.merge("Secret", marked(str(number)))
        eventually(lambda number=number: seen[-1] == str(number), 10, "each change is seen")  # type: ignore[misc]
        time.sleep(0.13)
    place.remove("Secret")
    eventually(lambda: seen[-1] is None, 10, "it is gone")
    place.objects.create("Secret", marked("again"))
    eventually(lambda: seen[-1] == "again", 10, "it was made again")
    assert seen == [None, "made", *map(str, range(20)), None, "again"]


def test_a_watch_ends_by_itself_and_had_begun_with_what_there_is(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WATCH", 1)
    assert list(place.objects.watch("Secret")) == [None]
    made = place.objects.create("Secret", {})
    assert list(place.objects.watch("Secret")) == [made]


# --- who only looks on


def onlooking(place: Place, kubeconfig: Path, reports: list[Report], failures: list[str]) -> Onlooker:
    objects = connect(place.names, Clock(), kubeconfig=str(kubeconfig))
    distrust = lambda pem: "" if pem == OURS else "not ours"  # noqa: E731 - as short as it is
    return Onlooker(objects, distrust=distrust, tell=reports.append, failed=failures.append)


def test_an_onlooker_tells_whether_every_ca_bundle_fits_and_writes_nothing(place: Place) -> None:
    reports: list[Report] = []
    failures: list[str] = []
    place.trust(THEIRS, first=OURS)
    before = [place.objects.read(kind) for kind in CONFIGURATIONS]
    onlooker = onlooking(place, place.shipped_account(), reports, failures)
    onlooker.start()
    try:
        why = "the caBundle of second.mutate.test does not stand for the served certificate: not ours"
        eventually(lambda: reports and reports[-1].matches is False, 10, "they are compared")
        assert reports[-1].problem == why
        assert (reports[-1].phase, reports[-1].until) == (None, None)
        assert [place.objects.read(kind) for kind in CONFIGURATIONS] == before
        place.trust(OURS)
        eventually(lambda: reports[-1].matches, 10, "they fit")
        assert reports[-1].problem == ""
        for kind in CONFIGURATIONS:
            place.remove(kind)
        eventually(lambda: reports[-1].matches is None, 10, "nobody calls")
        assert (reports[-1].problem, failures) == ("", [])
    finally:
        onlooker.stop(5)
    count = len(reports)
    place.trust(OURS)
    time.sleep(2 * TICK)
    assert len(reports) == count, "who has stopped looks no more"


def test_an_onlooker_who_may_not_look_turns_nobody_away_and_complains_once(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    reports: list[Report] = []
    failures: list[str] = []
    onlooker = onlooking(place, place.account("default"), reports, failures)
    onlooker.start()
    try:
        eventually(lambda: failures, 10, "he complains")
        count = len(reports)
        eventually(lambda: len(reports) > count + 2, 20, "he goes on looking")
    finally:
        onlooker.stop(5)
    assert {(report.problem, report.matches) for report in reports} == {("", None)}
    assert set(failures) == {"forbidden"}
    said = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(said) == len(set(said)) <= len(CONFIGURATIONS)
    assert "certificates: " in caplog.text


def test_an_onlooker_outlives_our_own_bug(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    bugs = [ZeroDivisionError("a bug")]
    reports: list[Report] = []
    failures: list[str] = []

    def distrust(_: bytes) -> str:
        if bugs:
            raise bugs.pop()
        return ""

    place.trust(OURS)
    objects = connect(place.names, Clock(), kubeconfig=str(place.cluster.kubeconfig))
    onlooker = Onlooker(objects, distrust=distrust, tell=reports.append, failed=failures.append)
    onlooker.start()
    try:
        eventually(lambda: reports and reports[-1].matches, 10, "it looks again")
    finally:
        onlooker.stop(5)
    assert failures == ["other"]
    assert "ZeroDivisionError: a bug" in caplog.text
