"""How long hypothesis searches, and that it never fails for a slow machine's sake; a server for each module that wants one.

With `-n 2 --dist loadgroup`, as `make test` has it, whatever meets a server runs in one process, one test after the other as
without, and all other tests beside it, giving way. Those that install, or build the image, measure no time and are among them.
"""

import os
import signal
from collections.abc import Iterator
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings

from scripts import throwaway
from scripts.throwaway import Certificates
from tests.serving import Server, serving

# A shell that starts the suite in the background has it ignore Ctrl-C, and so would all that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
# CI repeats the same cases each time, so that a failure there is the change's and can be had again at home
settings.register_profile("ci", derandomize=True, deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("home", settings.get_profile("ci"), derandomize=False)
settings.load_profile("ci" if os.environ.get("CI") else "home")

SERVERS = pytest.mark.xdist_group("servers")
INSTALLS = pytest.mark.xdist_group("installs")  # one after the other too: there is memory for so many clusters
PATIENT = ("tests.deploy.", "tests.image.", "tests.cluster.test_policy")
MEET = ("tests.serving", "tests.cluster", "tests.monitoring", "scripts.throwaway", "bench.")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not isinstance(item, pytest.Function):
            continue
        if item.module.__name__.startswith(PATIENT) and item.module.__name__ != "tests.cluster.test_policies":
            item.add_marker(INSTALLS)
        elif _meets_a_server(item.module):
            item.add_marker(SERVERS)


def _meets_a_server(module: ModuleType) -> bool:
    """By where it stands, or by what it has imported."""
    origins = [getattr(each, "__module__", None) or getattr(each, "__name__", None) for each in vars(module).values()]
    return any(str(origin).startswith(MEET) for origin in (module.__name__, *origins))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ and not _placed:
        _placed.append(item.nodeid)
        if item.get_closest_marker("xdist_group") != SERVERS.mark:
            os.nice(19)  # what is measured beside it has the processors first


_placed: list[str] = []  # the first test of this process, which says whether servers are met here


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return throwaway.issue(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def server(files: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests of a module that leave it as it was."""
    with serving(files, tmp_path_factory.mktemp("server")) as running:
        yield running
