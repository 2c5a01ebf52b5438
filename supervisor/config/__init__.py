"""From the YAML file to specs, or to every error in it.

Importing this package costs neither pydantic nor PyYAML; only `schema()` loads them. Nor does it
cost the specs, which take 20 ms of the 100 that `atlasctl status` may: `loader.load` is where they
are needed.
"""

from supervisor.config.discovery import find_config
from supervisor.config.problems import ConfigError, Problem
from supervisor.config.root import state_dir

__all__ = ["ConfigError", "Problem", "find_config", "schema", "state_dir"]


def schema() -> dict[str, object]:
    """Return the JSON Schema (2020-12) of the YAML, for editors. Loads pydantic (0.2 s, 15 MB)."""
    from supervisor.config.json_schema import fleet_schema

    return fleet_schema()
