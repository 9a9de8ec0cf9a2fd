"""Prometheus, and a server that it watches while everything that can happen to it happens."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster import binaries
from tests.cluster.building import build_for
from tests.monitoring.keeping import keeping
from tests.monitoring.traffic import mistakes, reviews
from tests.monitoring.watched import Watched
from tests.serving import Server

ALERTS = Path(__file__).resolve().parents[2] / "deploy" / "chart" / "files" / "alerts.yaml"


@dataclass(frozen=True, slots=True)
class Seen:
    """`quiet` is what Prometheus noticed before, and `rights` what the runbook's commands answered before and afterwards."""

    watched: Watched
    server: Server
    quiet: frozenset[str]
    rights: tuple[list[str], list[str]]


def pytest_collection_finish(session: pytest.Session) -> None:
    build_for(session, "prometheus", binaries.prometheus)
    build_for(session, "seen", binaries.binaries)


@pytest.fixture(scope="session")
def prometheus() -> Path:
    """Where prometheus and promtool are."""
    return binaries.prometheus()


@pytest.fixture(scope="module")
def seen(prometheus: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """A server to which everything has happened, again and again, while Prometheus watched."""
    directory = tmp_path_factory.mktemp("monitoring")
    with (
        keeping(directory) as kept,
        Watched(prometheus, directory, kept.server.health_port, ALERTS) as watched,
    ):
        kept.wait_for_phase("stable")
        watched.wait_for_scrapes(3)
        quiet, before = watched.noticed(), kept.rights()

        kept.lose("replica-1")
        kept.wait_for_phase("spreading")
        kept.run("DpdkWebhookRotationStuck", "annotate", NAME="replica-1")
        kept.wait_for_phase("settling")  # so it goes on
        kept.forbid_to_patch()
        kept.empty_the_ca_bundle()
        kept.put_the_clock_wrong(90)
        for _ in range(3):
            reviews(kept.server)
            mistakes(kept.server)
            watched.wait_for_scrapes(2)
        yield Seen(watched, kept.server, quiet, (before, kept.rights()))
