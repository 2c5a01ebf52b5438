"""Which YAML file is meant when none is named. The same rule for every command."""

import os
from collections.abc import Mapping
from pathlib import Path

from supervisor.config.problems import ConfigError, Problem

VARIABLE = "ATLAS_CONFIG"
_NAMES = (os.path.join("config", "services.yaml"), "services.yaml")


def config_path(named: str | None, start_dir: str, environ: Mapping[str, str]) -> str:
    """Return the absolute path of the file named on the command line, or of the one that is found.

    Raises ConfigError if none is named or found; one that is named need not exist.
    """
    return os.path.abspath(named) if named else os.fspath(find_config(start_dir, environ))


def find_config(start_dir: str | os.PathLike[str], environ: Mapping[str, str]) -> Path:
    """Return the absolute path of the YAML file.

    First `ATLAS_CONFIG`, then `config/services.yaml` and `services.yaml` in `start_dir` and each
    folder above it, then the checkout that this package is in. Raises ConfigError, naming every
    place, when there is none; a file named by ATLAS_CONFIG must exist.
    """
    start = os.path.abspath(os.fspath(start_dir))
    if named := environ.get(VARIABLE):
        path = os.path.join(start, named)
        if os.path.isfile(path):
            return Path(os.path.normpath(path))
        message = f"{VARIABLE} names this file, which does not exist"
        raise ConfigError([Problem(path, None, None, "", message, f"mend or unset {VARIABLE}")])
    tried: list[str] = []
    for folder in (*_upwards(start), _checkout()):
        for name in _NAMES:
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                return Path(path)
            tried.append(path)
    places = ", ".join(dict.fromkeys(tried))
    message = f"there is no services.yaml; looked for {places}"
    hint = f"go to the folder of your system, or set {VARIABLE} to the file"
    raise ConfigError([Problem(start, None, None, "", message, hint)])


def _upwards(folder: str) -> list[str]:
    folders = [folder]
    while (above := os.path.dirname(folders[-1])) != folders[-1]:
        folders.append(above)
    return folders


def _checkout() -> str:
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
