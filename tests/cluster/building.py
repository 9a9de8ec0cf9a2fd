"""When the programs are built: before the first test, because the first time takes longer than a test may."""

from collections.abc import Callable

import pytest

from tests.cluster.binaries import AssetsError, BuildError, GoUnavailableError, may_skip


def build_for(session: pytest.Session, fixture: str, build: Callable[[], object]) -> None:
    """Build if a test that was collected asks for the fixture; without Go skip those tests, or end the run."""
    meets = [item for item in session.items if fixture in getattr(item, "fixturenames", ())]
    if not meets or session.config.option.collectonly:
        return
    try:
        build()
    except GoUnavailableError as error:
        if not may_skip():
            pytest.exit(str(error), returncode=1)
        for item in meets:
            item.add_marker(pytest.mark.skip(reason=str(error)))
    except (AssetsError, BuildError) as error:
        pytest.exit(str(error), returncode=1)
