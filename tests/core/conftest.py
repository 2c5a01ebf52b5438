"""Hypothesis profiles: the default is quick and repeats itself, `ATLAS_HYPOTHESIS=ci` looks deeper."""

import os

from hypothesis import HealthCheck, settings

# No deadline: two shared cores make single examples slow by chance, and time is no verdict here.
COMMON = settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])

settings.register_profile(
    "quick", COMMON, max_examples=25, stateful_step_count=40, derandomize=True
)
settings.register_profile("ci", COMMON, max_examples=400, stateful_step_count=120)
settings.load_profile(os.environ.get("ATLAS_HYPOTHESIS", "quick"))
