"""Prometheus, and a server that it watches while everything that can happen to it happens."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from scripts import throwaway
from tests.cluster import binaries
from tests.cluster.building import build_for
from tests.monitoring.traffic import mistakes, reviews
from tests.monitoring.watched import Watched
from tests.serving import Server, serving

ALERTS = Path(__file__).resolve().parents[2] / "deploy" / "monitoring" / "alerts.yaml"


class Seen(NamedTuple):
    watched: Watched
    server: Server


def pytest_collection_finish(session: pytest.Session) -> None:
    build_for(session, "prometheus", binaries.prometheus)


@pytest.fixture(scope="session")
def prometheus() -> Path:
    """Where prometheus and promtool are."""
    return binaries.prometheus()


@pytest.fixture(scope="module")
def seen(prometheus: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """A server to which everything has happened, again and again, while Prometheus watched."""
    directory = tmp_path_factory.mktemp("monitoring")
    with (
        serving(throwaway.issue(directory), directory) as server,
        Watched(prometheus, directory, server.health_port, ALERTS) as watched,
    ):
        watched.wait_for_scrapes(2)
        for _ in range(3):
            reviews(server)
            mistakes(server)
            watched.wait_for_scrapes(2)
        yield Seen(watched, server)
