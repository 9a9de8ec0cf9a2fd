"""The bench measures the job it claims to measure."""

import base64
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jsonpatch
import orjson
import pytest

from bench import cost, linear, load, review, scenarios
from bench.__main__ import main
from bench.cost import Row, measured
from bench.goals import Goal, goals
from bench.load import Generator
from bench.review import Reviews
from bench.sections import SECTIONS
from bench.servers import FLOOR, OURS, BenchError, Server, cpu_seconds, peers, start
from scripts import throwaway
from scripts.review import admission_review
from webhook import admission
from webhook.edits import Edit
from webhook.pod import Pod
from webhook.rules import RULES, Rule
from webhook.settings import Settings

KINDS = (review.known(), review.new(), review.unannotated(), review.refused())
FIGURES = {"rps", "p50_ms", "p99_ms"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    files = throwaway.issue(tmp_path_factory.mktemp("bench"))
    with ExitStack() as stack:
        yield {name: start(stack, files, name) for name in (OURS, FLOOR)}


def answered(body: bytes) -> dict[str, Any]:
    request = admission.parse(body)
    response: dict[str, Any] = orjson.loads(admission.mutate(request, Settings()).review(request.asked.uid))["response"]
    return response


# the reviews


@pytest.mark.parametrize("reviews", KINDS, ids=lambda reviews: reviews.kind)
def test_reviews_are_of_the_promised_size_and_each_differs_from_the_others(reviews: Reviews) -> None:
    bodies = {reviews.numbered(number) for number in (0, 1, 6, 7, 16_807, 1_000_000)}
    assert len(bodies) == 6
    assert {len(body) for body in bodies} == {len(reviews)}
    assert 5_500 <= len(reviews) <= 6_000


def test_known_pods_differ_only_where_replicas_of_one_deployment_do() -> None:
    one, other = (orjson.loads(review.known().numbered(number))["request"] for number in (1, 2))
    assert one["uid"] != other["uid"]
    token = {volume["name"] for volume in one["object"]["spec"]["volumes"]}
    token -= {volume["name"] for volume in other["object"]["spec"]["volumes"]}
    assert token == {"kube-api-access-22224"}
    renamed = orjson.dumps(one["object"]).replace(b"kube-api-access-22224", b"kube-api-access-22225")
    assert orjson.loads(renamed) == other["object"]


def test_new_pods_differ_in_what_rules_read() -> None:
    one, other = (review.pod(number, first_seen=True)["spec"]["containers"][0] for number in (1, 2))
    assert one["resources"]["limits"]["memory"] == "2222222224"
    assert other["resources"]["limits"]["memory"] == "2222222225"
    assert one["args"] != other["args"]


@pytest.mark.parametrize("reviews", KINDS, ids=lambda reviews: reviews.kind)
def test_a_review_holds_the_pod_of_its_number_and_comes_out_as_it_says(reviews: Reviews) -> None:
    body = reviews.numbered(77)
    response = answered(body)
    outcome = "refused" if not response["allowed"] else "patched" if "patch" in response else "untouched"
    assert outcome == reviews.outcome
    given = orjson.loads(body)["request"]["object"]
    if reviews.outcome == "patched":
        assert given == review.pod(77, first_seen=reviews.kind == "new")
        assert len(given["spec"]["containers"]) + len(given["spec"]["initContainers"]) == 3
        patched = jsonpatch.JsonPatch(orjson.loads(base64.b64decode(response["patch"]))).apply(given)
        again = admission.parse(orjson.dumps(admission_review(patched)))
        assert orjson.loads(admission.validate(again, Settings()).review("again"))["response"]["allowed"] is True


# the load


@pytest.mark.parametrize(
    ("generate", "first"), [(load.own, 16_800), (load.generator()[1], 5_000_000)], ids=["own", "installed"]
)
def test_every_request_of_a_load_is_another_review(running: dict[str, Server], generate: Generator, first: int) -> None:
    ours = running[OURS]
    before = ours.memo()
    seen = generate(ours.url, review.new(), first, 2, 0.3, ours.trust)
    after = ours.memo()
    assert before is not None
    assert after is not None
    assert (seen.failed, after[0] - before[0]) == (0, 0)
    assert after[1] - before[1] >= seen.requests > 10
    assert 0 < seen.p50 <= seen.p99 < 5_000


def test_the_script_of_wrk_joins_the_same_reviews() -> None:
    reviews = review.new()
    script = load._script("https://127.0.0.1:8443/mutate?timeout=5s", reviews, 5)
    assert "POST /mutate?timeout=5s HTTP/1.1\\r\\nHost: 127.0.0.1:8443\\r\\n" in script
    assert f"Content-Length: {len(reviews)}\\r\\n\\r\\n" in script
    assert script.count("\n    .. ten") == reviews.slots.count(10)
    assert script.count("\n    .. five") == reviews.slots.count(5)


# the servers


def test_the_cpu_of_a_process_is_read_whatever_its_name_is() -> None:
    program = (
        "import pathlib, sys, time\n"
        "pathlib.Path('/proc/self/comm').write_text('a) R 1 (b')\n"
        "while time.process_time() < 0.2: pass\n"
        "print(flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert 0.15 <= cpu_seconds(child.pid) < 2
        child.communicate()
    with pytest.raises(BenchError, match=rf"^process {child.pid} can't be watched: No such file or directory$"):
        cpu_seconds(child.pid)


def test_a_server_that_does_not_do_the_job_is_not_measured(running: dict[str, Server]) -> None:
    ours, floor = running[OURS], running[FLOOR]
    gone = Server("gone", f"{ours.url}/none", ours.trust, role="ours")
    with pytest.raises(BenchError, match=r"^gone did not answer a review with a review, but with 404: "):
        gone.check(review.known(), 1)
    with pytest.raises(BenchError, match=r"^row: (\d+) of \1 requests failed$"):
        measured(load.own, Row("row", gone, review.known()), 2, 0.2, 1)
    validating = Server("validating", ours.url.replace("/mutate", "/validate"), ours.trust, role="ours")
    with pytest.raises(BenchError, match=r"^validating left a pod refused that should be patched, with 200: "):
        validating.check(review.known(), 1)
    static = Server("static", floor.url, floor.trust)
    with pytest.raises(BenchError, match=r"^static answered another review than it was asked: 200: "):
        static.check(review.known(), 1)
    assert floor.check(review.known(), 1) == ours.check(review.known(), 1) == 8


def test_pods_that_are_not_as_new_or_as_known_as_they_are_said_to_be_give_no_figure(running: dict[str, Server]) -> None:
    ours = running[OURS]
    decided = r"of (\d+) reviews 1 were answered from memory and \d+ decided"
    with pytest.raises(BenchError, match=rf"^row: {decided}; all of them should have been answered from memory$"):
        measured(load.own, Row("row", ours, review.new(), is_remembered=True), 1, 0.2, 1_000_000)
    remembered = r"of (\d+) reviews \d+ were answered from memory and 0 decided"
    ours.check(review.known(), 1)
    with pytest.raises(BenchError, match=rf"^row: {remembered}; all of them should have been decided$"):
        measured(load.own, Row("row", ours, review.known(), is_remembered=False), 1, 0.2, 1)


def test_a_peer_is_named_with_its_url_and_perhaps_its_process() -> None:
    one, other = peers(["one=https://127.0.0.1:9443/a=b", "other=http://127.0.0.1:9080/"], ["one=4711"])
    assert (one.name, one.url, one.pid, one.role) == ("one", "https://127.0.0.1:9443/a=b", 4711, "peer")
    assert one.trust.verify_mode is ssl.CERT_NONE
    assert (other.url, other.pid, other.cpu, other.memo()) == ("http://127.0.0.1:9080/", None, None, None)


@pytest.mark.parametrize(
    ("urls", "pids", "message"),
    [
        (["https://127.0.0.1:9443"], [], "--peer https://127.0.0.1:9443: NAME=… is expected"),
        (["floor=https://127.0.0.1"], [], "--peer floor: this name is taken; choose another"),
        (["one=https://127.0.0.1"], ["two=1"], "--peer-pid two: a number is expected, and --peer two=URL"),
        (["one=https://127.0.0.1"], ["one=x"], "--peer-pid one: a number is expected, and --peer one=URL"),
    ],
)
def test_a_peer_that_is_named_wrongly_is_told_so(urls: list[str], pids: list[str], message: str) -> None:
    with pytest.raises(BenchError) as error:
        peers(urls, pids)
    assert str(error.value) == message


# the figures


def test_a_short_run_gives_sane_figures_of_ours_of_the_floor_and_of_a_peer(running: dict[str, Server]) -> None:
    ours = running[OURS]
    peer, unwatched = peers([f"peer={ours.url}", f"unwatched={ours.url}"], [f"peer={ours.pid}"])
    figures = cost.measure(load.own, 0.2, 1, [peer, unwatched], connections=(1, 8))
    assert set(figures) == {"connections", "review_bytes", "operations", "rounds"}
    for at, row in figures["connections"].items():
        assert 0 < row["p50_ms"] <= row["p99_ms"] < 5_000
        assert row["mutate_new_cpu_us"] > row["floor_cpu_us"] > 0
        assert row["new_ratio"] == pytest.approx(row["mutate_new_cpu_us"] / row["floor_cpu_us"], abs=0.01)
        assert row["known_ratio"] == pytest.approx(row["mutate_known_cpu_us"] / row["floor_cpu_us"], abs=0.01)
        assert set(row) >= FIGURES | {f"floor_{key}" for key in FIGURES} | {f"known_{key}" for key in FIGURES}
        assert set(row["peers"]) == {"peer known", "peer new", "unwatched known", "unwatched new"}
        assert row["peers"]["peer new"]["cpu_us"] > 0
        assert row["peers"]["unwatched new"]["cpu_us"] is None
        assert ("uvicorn_asyncio_cpu_us" in row) == (at == "8")
    assert figures["operations"]["peer unwatched new"] == figures["operations"]["mutate_new"] == 8
    assert len(figures["rounds"]) == 2 * 7 + 4
    lines = cost.table(figures).splitlines()
    assert len(lines) == 1 + len(figures["rounds"])
    assert [line.endswith("unknown".rjust(17) + " " * 9) for line in lines].count(True) == 4


def test_a_section_that_is_not_asked_for_keeps_its_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "FAMILIES", {"env": linear.FAMILIES["env"]})  # all of them take ten seconds
    results = tmp_path / "results.json"
    results.write_bytes(orjson.dumps({"ran": {"starve": {"date": "2026-01-01"}}, "starve": {"kept": True}}))
    assert main(["--only", "linear", "--rounds", "1", "--results", str(results)]) == 0
    written = orjson.loads(results.read_bytes())
    assert set(written) == {"ran", "starve", "linear"}
    assert written["starve"] == {"kept": True}
    assert written["ran"]["starve"] == {"date": "2026-01-01"}
    assert set(written["ran"]["linear"]) == {"date", "seconds", "rounds", "machine", "versions"}
    assert capsys.readouterr().out == f"{SECTIONS['linear'].table(written)}\n\n"


def test_what_a_cluster_saw_is_a_line_for_each_figure_and_for_each_record() -> None:
    figures = {
        "rolled": {"exit_codes": {"0": 150}, "seconds": 229.174},
        "deaths": [{"failed_in_flight": 1, "last_failure": 0.005}, {"failed_in_flight": 0, "last_failure": 0.0}],
        "problems": {"500 " + "x" * 200: 3},
        "broken": [],
    }
    assert scenarios.table(figures).splitlines() == [
        "rolled, exit codes, 0".ljust(72) + "  150",
        "rolled, seconds".ljust(72) + "  229.17",
        "deaths 1".ljust(72) + "  failed in flight 1, last failure 0.01",
        "deaths 2".ljust(72) + "  failed in flight 0, last failure 0.00",
        "problems, 500 ".ljust(71, "x") + "…  3",
        "broken".ljust(72) + "  []",
    ]


def test_a_section_that_does_not_exist_and_a_peer_without_a_name_are_told_before_anything_runs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for arguments, message in (
        (["--only", "load,speed"], "--only: no section is called 'speed'; there are load, "),
        (["--peer", "https://127.0.0.1"], "--peer https://127.0.0.1: NAME=… is expected\n"),
    ):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 2
        assert f"python -m bench: error: {message}" in capsys.readouterr().err


def test_a_peer_that_is_not_there_fails_the_section_and_leaves_its_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (port,) = throwaway.free_ports(1)
    results = tmp_path / "results.json"
    arguments = ["--only", "load", "--peer", f"gone=https://127.0.0.1:{port}/", "--results", str(results)]
    assert main(arguments) == 1
    assert capsys.readouterr().err.startswith("bench: gone can't be reached: ")
    assert not results.exists()


def test_time_that_grows_with_the_square_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def search(pod: Pod, settings: Settings) -> Iterator[Edit]:
        for volume in pod.volumes:
            assert [other["name"] for other in pod.volumes].count(volume["name"]) == 1
        yield from ()

    monkeypatch.setattr("webhook.review.review.__defaults__", ((*RULES, Rule("planted", search, "")),))
    monkeypatch.setattr(linear, "FAMILIES", {"volumes": linear.Family(linear.FAMILIES["volumes"].make, 6_000)})
    assert main(["--only", "linear", "--rounds", "1", "--results", str(tmp_path / "results.json")]) == 1
    assert capsys.readouterr().err == "bench: time grows faster than the size: volumes\n"


def test_goals_are_told_met_or_not_met() -> None:
    row = {"new_ratio": 3.5, "known_ratio": 2.01, "p50_ms": 0.4, "p99_ms": 2.5}
    ways = {"floor": {"p50_ms": 4.0}, "known": {"p50_ms": 4.5}, "new": {"p50_ms": 4.51}}
    memory = {"peak_mib": 70.5, "warm_mib": 60.0, "end_mib": 62.5, "reviews": 200_000}
    size = {"ready_s": 0.7, "ready_without_byte_code_s": 2.5, "memory": memory}
    attacks = {"slow": {"added_ms": 9.5, "longest_s": 10.2}, "large": {"added_ms": -0.1, "longest_s": 1.0}}
    results = {"connections": {"1": row}, "latency": {"ways": ways}, "size": size, "hostile": attacks}
    assert [str(goal) for goal in goals(results)] == [
        "CPU of a new pod, 1 connection: 3.5 × floor, at most 3.5: met",
        "CPU of a known pod, 1 connection: 2.01 × floor, at most 2: not met",
        "p50 of a new pod, 1 connection: 0.4 ms, at most 0.5: met",
        "p99 of a new pod, 1 connection: 2.5 ms, at most 2: not met",
        "p50 of a create of a known pod above the floor's: 0.5 ms, at most 0.5: met",
        "p50 of a create of a new pod above the floor's: 0.51 ms, at most 0.5: not met",
        "added by any attack to a healthy client's p99: 9.5 ms, at most 10: met",
        "the longest that an attacker's connection lived: 10.2 s, at most 10: not met",
        "ready after a start: 0.7 s, at most 2: met",
        "ready after a start without byte code: 2.5 s, at most 2: not met",
        "memory at most: 70.5 MiB, at most 80: met",
        "growth of memory over 200,000 reviews: 2.5 MiB, at most 2: not met",
    ]
    assert goals({}) == []
    assert Goal("this", 1, 1, "s").is_met
