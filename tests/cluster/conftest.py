"""One cluster and one registered webhook for the whole run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.binaries import AssetsError, BuildError, GoUnavailableError, binaries, may_skip
from tests.cluster.cluster import Cluster
from tests.cluster.webhook import Webhook

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.cluster)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the programs here and not in the fixture: the first time that takes longer than a test may."""
    meets = [item for item in session.items if "cluster" in getattr(item, "fixturenames", ())]
    if not meets or session.config.option.collectonly:
        return
    try:
        binaries()
    except GoUnavailableError as error:
        if not may_skip():
            pytest.exit(str(error), returncode=1)
        for item in meets:
            item.add_marker(pytest.mark.skip(reason=str(error)))
    except (AssetsError, BuildError) as error:
        pytest.exit(str(error), returncode=1)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with Cluster() as running:
        yield running


@pytest.fixture(scope="session")
def webhook(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webhook]:
    with Webhook(tmp_path_factory.mktemp("webhook")) as running:
        cluster.register(running.url, running.ca_pem)
        yield running
