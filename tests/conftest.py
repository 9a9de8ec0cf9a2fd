"""How long hypothesis searches, and that it never fails for a slow machine's sake."""

import os

from hypothesis import HealthCheck, settings

# CI repeats the same cases each time, so that a failure there is the change's and can be had again at home
settings.register_profile("ci", derandomize=True, deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("home", settings.get_profile("ci"), derandomize=False)
settings.load_profile("ci" if os.environ.get("CI") else "home")
