"""What a service's own commands find in their environment: its runs, its probes, its doctor."""

from collections.abc import Mapping

from supervisor.config.dotenv import read_env_file
from supervisor.config.problems import ConfigError
from supervisor.core.spec import ServiceSpec
from supervisor.posix.account import AccountError, environment_for
from supervisor.posix.command import SpawnError
from supervisor.posix.environment import service_environment


def surroundings(
    spec: ServiceSpec, environ: Mapping[str, str], *, run: int, fleet: str
) -> dict[str, str]:
    """Return what run `run` of a service, started now, would find in its environment.

    `environ` is that of whoever starts it. The env files are read for it. Raises SpawnError.
    """
    files: dict[str, str] = {}
    try:
        for path in spec.env_files:
            files.update(read_env_file(path))
    except ConfigError as error:
        raise SpawnError(str(error), retry=True) from None
    try:
        inherited = environment_for(spec.user, environ, keep=spec.inherit_env)
    except AccountError as error:
        raise SpawnError(str(error), retry=False) from None
    return service_environment(spec, inherited=inherited, files=files, run=run, fleet=fleet)
