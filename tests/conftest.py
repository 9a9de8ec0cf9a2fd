"""How long hypothesis searches, and that it never fails for a slow machine's sake; a server for each module that wants one."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from scripts import throwaway
from scripts.throwaway import Certificates
from tests.serving import Server, serving

# CI repeats the same cases each time, so that a failure there is the change's and can be had again at home
settings.register_profile("ci", derandomize=True, deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("home", settings.get_profile("ci"), derandomize=False)
settings.load_profile("ci" if os.environ.get("CI") else "home")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return throwaway.issue(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def server(files: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests of a module that leave it as it was."""
    with serving(files, tmp_path_factory.mktemp("server")) as running:
        yield running
