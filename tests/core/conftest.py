"""Hypothesis profiles: the default is quick and repeatable, `ATLAS_HYPOTHESIS=ci` goes deeper."""

import os

from hypothesis import HealthCheck, Phase, settings

# No deadline: two shared cores make single examples slow by chance, and time is no verdict here.
COMMON = settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
QUICK = settings(COMMON, max_examples=60, derandomize=True)

settings.register_profile("quick", QUICK)
settings.register_profile("ci", COMMON, max_examples=400)
# Of a mutant it is enough to know that it fails; the shortest example of it nobody reads.
settings.register_profile("mutants", QUICK, phases=[Phase.explicit, Phase.generate])
settings.load_profile(os.environ.get("ATLAS_HYPOTHESIS", "quick"))
