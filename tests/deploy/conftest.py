"""The programs that install, and one cluster for the tests of a module that install for real."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import binaries
from tests.cluster.building import build_for
from tests.cluster.cluster import Cluster
from tests.deploy import crds
from tests.deploy.rendered import Installers


def pytest_collection_finish(session: pytest.Session) -> None:
    build_for(session, "installers", binaries.installers)
    build_for(session, "installers", binaries.binaries)
    build_for(session, "own_cluster", binaries.binaries)
    build_for(session, "definitions", crds.definitions)


@pytest.fixture(scope="session")
def installers() -> Installers:
    return Installers(binaries.installers(), binaries.binaries() / "kubectl")


@pytest.fixture(scope="session")
def definitions() -> list[Path]:
    """The files with the custom resources that the chart makes objects of."""
    return crds.definitions()


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[Cluster]:
    """One in which nothing is registered but what the module installs."""
    with Cluster() as running:
        yield running
