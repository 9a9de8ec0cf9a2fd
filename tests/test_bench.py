"""The bench measures the job it claims to measure."""

import base64
from collections.abc import Iterator
from pathlib import Path

import httpx
import jsonpatch
import orjson
import pytest

from bench import linear, load, review
from bench.__main__ import CONNECTIONS, BenchError, Round, Target, _check, _round, main, measure, table
from scripts import throwaway
from scripts.review import admission_review
from tests.test_server import _environment
from webhook import admission
from webhook.edits import Edit
from webhook.pod import Pod
from webhook.rules import RULES, Rule
from webhook.settings import Settings


def test_the_review_is_a_real_one_of_the_promised_size() -> None:
    pod = review.pod()
    assert 5_000 <= len(review.body()) <= 6_000
    assert len(pod["spec"]["containers"]) + len(pod["spec"]["initContainers"]) == 3
    answer = orjson.loads(admission.mutate(admission.parse(review.body()), Settings()))["response"]
    patched = jsonpatch.JsonPatch(orjson.loads(base64.b64decode(answer["patch"]))).apply(pod)
    again = admission.validate(admission.parse(orjson.dumps(admission_review(patched))), Settings())
    assert orjson.loads(again)["response"]["allowed"] is True


def test_a_short_run_of_our_own_client_gives_sane_figures() -> None:
    figures = measure(load.own, seconds=0.3, rounds=1)
    assert set(figures) == {str(connections) for connections in CONNECTIONS}
    for row in figures.values():
        assert row["rps"] > 10
        assert 0 < row["p50_ms"] <= row["p99_ms"] < 5_000
        assert row["mutate_cpu_us"] > row["floor_cpu_us"] > 0
        assert row["ratio"] == pytest.approx(row["mutate_cpu_us"] / row["floor_cpu_us"], abs=0.01)


def test_results_and_table_say_what_was_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "FAMILIES", {"env": linear.FAMILIES["env"]})  # all of them take ten seconds
    results = tmp_path / "results.json"
    assert main(["--seconds", "0.3", "--rounds", "1", "--results", str(results)]) == 0
    written = orjson.loads(results.read_bytes())
    assert set(written) == {"machine", "versions", "load", "connections", "linear"}
    assert capsys.readouterr().out == table(written) + "\n"


def test_time_that_grows_with_the_square_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def search(pod: Pod, settings: Settings) -> Iterator[Edit]:
        for volume in pod.volumes:
            assert [other["name"] for other in pod.volumes].count(volume["name"]) == 1
        yield from ()

    monkeypatch.setattr("webhook.review.review.__defaults__", ((*RULES, Rule("planted", search, "")),))
    monkeypatch.setattr(linear, "FAMILIES", {"volumes": linear.Family(linear.FAMILIES["volumes"].make, 6_000)})
    assert main(["--seconds", "0.1", "--rounds", "1", "--results", str(tmp_path / "results.json")]) == 1
    assert capsys.readouterr().err == "bench: time grows faster than the size: volumes\n"


def test_a_server_that_does_not_do_the_job_is_not_measured(tmp_path: Path) -> None:
    files = throwaway.issue(tmp_path)
    port, health_port = throwaway.free_ports(2)
    environment = _environment(throwaway.settings(files, port, health_port))
    url = f"https://127.0.0.1:{port}"
    with (
        (tmp_path / "log").open("wb") as log,
        throwaway.running(["webhook", "serve"], environment, f"{url}/readyz", files.trust, log) as process,
    ):
        refusing = Target("mutate", f"{url}/none", process.pid)
        with pytest.raises(BenchError, match=r"^mutate answered 404 without a patch: "):
            _check(refusing, files.trust)
        with pytest.raises(BenchError, match=r"^mutate: (\d+) of \1 requests failed$"):
            _round(load.own, refusing, 2, 0.2, files.trust)
        answering = Target("mutate", f"{url}/mutate", process.pid)
        _check(answering, files.trust)
        seen = _round(load.own, answering, 2, 0.2, files.trust)
        assert isinstance(seen, Round)
        assert seen.load.failed == 0
        assert httpx.get(f"{url}/readyz", verify=files.trust, trust_env=False).status_code == 200
