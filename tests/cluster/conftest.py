"""One cluster and one registered webhook for the whole run, one with the policy alone, and scenarios that have their own."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.binaries import binaries, cert_manager, installers, may_skip
from tests.cluster.building import build_for
from tests.cluster.cluster import Cluster
from tests.cluster.play import Figures
from tests.cluster.policy import POLICY, Guarded, guarded, rendered
from tests.cluster.tied import Tied
from tests.cluster.webhook import Webhook

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.cluster)


def pytest_collection_finish(session: pytest.Session) -> None:
    build_for(session, "cluster", binaries)
    build_for(session, "alone", binaries)
    build_for(session, "alone", installers)  # the policy comes out of the chart
    build_for(session, "scenario", binaries)
    build_for(session, "scenario", installers)
    build_for(session, "scenario", cert_manager)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with Cluster() as running:
        yield running


@pytest.fixture(scope="session")
def webhook(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webhook]:
    with Webhook(tmp_path_factory.mktemp("webhook")) as running:
        cluster.register(running.url, running.ca_pem)
        yield running


@pytest.fixture(scope="package")  # gone before other packages start clusters of their own
def alone() -> Iterator[Cluster]:
    """A cluster in which no webhook of ours is registered."""
    with Cluster() as running:
        yield running


@pytest.fixture(scope="package")
def guard(alone: Cluster) -> Iterator[Guarded]:
    """The policy under its own name, for one namespace there; whoever takes it away makes another, under another name."""
    with guarded(alone, rendered(), POLICY) as found:
        yield found


@pytest.fixture(scope="session")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Figures]:
    """`scenario("rolling", "--restarts", "2")` plays tests/cluster/rolling.py, and gives what it wrote as JSON."""
    tried = subprocess.run([sys.executable, "-m", "tests.cluster.netns"], capture_output=True, text=True, check=False)
    if tried.returncode:
        if may_skip():
            pytest.skip(tried.stderr.strip())
        pytest.fail(tried.stderr)

    def play(module: str, *arguments: str) -> Figures:
        directory = tmp_path_factory.mktemp(module)
        file = directory / "figures.json"
        command = [sys.executable, "-m", f"tests.cluster.{module}", "--json", str(file), *arguments]
        played = Tied(command, log=directory / f"{module}.log")
        try:
            played.wait(seconds=240)
            assert file.exists(), played.tail()
        finally:
            played.stop(seconds=30)
        figures: Figures = json.loads(file.read_text())
        return figures

    return play
