"""Hypothesis profiles: the default is quick and repeatable, `ATLAS_HYPOTHESIS=ci` goes deeper."""

import os

from hypothesis import HealthCheck, settings

# No deadline: two shared cores make single examples slow by chance, and time is no verdict here.
COMMON = settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])

settings.register_profile("quick", COMMON, max_examples=60, derandomize=True)
settings.register_profile("ci", COMMON, max_examples=400)
settings.load_profile(os.environ.get("ATLAS_HYPOTHESIS", "quick"))
