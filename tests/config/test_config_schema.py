"""The schema says to an editor what the validator says to the user."""

import json
import re
from itertools import count
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from supervisor.config import ConfigError, schema
from supervisor.config.compile import compile_bytes

REPOSITORY = Path(__file__).parents[2]
VALIDATOR = jsonschema.Draft202012Validator(schema())

EXAMPLE = """
version: 1
services:
  tts:
    command: [python, -m, services.tts, --host, 127.0.0.1, --port, "${TTS_PORT:-3001}"]
    venv: .venv
    env: {PYTORCH_ENABLE_MPS_FALLBACK: "1"}
    sockets: {http: "127.0.0.1:${TTS_PORT:-3001}"}
    probes:
      startup:     {http: {path: /health, json: {tts_ready: true}}, every: 500ms, for: 120s}
      readiness:   {http: {path: /health, json: {tts_ready: true}}, every: 2s}
    restart:
      policy: always
      backoff: {first: 200ms, factor: 2, max: 30s, jitter: 0.1}
      give_up: {after: 5, within: 60s}
    stop: {signal: TERM, timeout: 10s}
    depends_on: {}
    logs: {max_size: 10MiB, keep: 5, compress: true}
"""


def _accepted_by_schema(text: str) -> bool:
    return bool(VALIDATOR.is_valid(yaml.safe_load(text)))


def _accepted_by_validator(text: str) -> bool:
    try:
        compile_bytes(text.encode(), "/nowhere/services.yaml", {})
    except ConfigError:
        return False
    return True


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


def test_the_committed_schema_is_in_step() -> None:
    committed = json.loads((REPOSITORY / "config" / "schema.json").read_text(encoding="utf-8"))
    assert committed == schema(), "run: atlasctl schema > config/schema.json"


def test_the_default_system_matches() -> None:
    text = (REPOSITORY / "config" / "services.yaml").read_text(encoding="utf-8")
    VALIDATOR.validate(yaml.safe_load(text))
    named = re.match(r"# yaml-language-server: \$schema=(\S+)\n", text)
    assert named is not None
    assert (REPOSITORY / "config" / named[1]).is_file()


def test_every_key_is_described() -> None:
    def undescribed(node: Any, path: str) -> list[str]:
        missing: list[str] = []
        for name, place in node.get("properties", {}).items():
            if not place.get("description"):
                missing.append(f"{path}.{name}")
        for name, place in node.get("$defs", {}).items():
            missing += undescribed(place, name)
        return missing

    assert undescribed(schema(), "") == []


S = "version: 1\nservices:\n  a: "
R = S + "{command: [x], remedies: ["


@pytest.mark.parametrize(
    "text",
    [
        EXAMPLE,
        "version: 1\nservices: {}\n",
        S + "{command: sleep 5}",
        S + "{command: [sleep, 5]}",
        S + '{command: [x], ports: [80, "${P:-81}"], enabled: "${E:-false}"}',
        S + '{command: [x], stop: {timeout: "${T:-5}s"}, logs: {keep: "${K:-1}"}}',
        S + '{command: [x], logs: {max_size: "${M:-1}MB"}}',
        S + "{command: [x], restart: {give_up: false, policy: never}}",
        S + "{command: [x], restart: {give_up: {after: 1}}}",
        S + "{command: [x], env_file: a, probes: {liveness: {tcp: {port: 1}}}}",
        S + "{command: [x], env_file: [a, b], probes: {liveness: {exec: [x]}}}",
        S + "{command: [x], ports: [1], probes: {liveness: {http: {status: 2xx}}}}",
        S + "{command: [x], ports: [1], probes: {liveness: {http: {status: [200, 2xx, 300-304]}}}}",
        S + "{command: [x], ports: [1], probes: {liveness: {http: {method: POST, body: [1]}}}}",
        S + '{command: [x], sockets: {a: "[::1]:1", b: "0.0.0.0:2", c: "localhost:3"}}',
        S + "{command: [x], depends_on: {b: started}}\n  b: {command: [y]}",
        S + "{command: [x], depends_on: {b: {condition: ready}}}\n  b: {command: [y]}",
        S + "{command: [x], depends_on: [b]}\n  b: {command: [y]}",
        "version: 1\ndefaults: {stop: {timeout: 3s}}\nservices: {}\n",
        "version: 1\nstart_limit: 3\nlogs_dir: x\nservices: {}\n",
        S + "{command: [x], limits: {memory: 4GiB, open_files: 99, processes: 9, nice: -3}}",
        S + '{command: [x], limits: {}, umask: "027", user: _www}',
        S + '{command: [x], umask: "${M:-022}", user: "${U:-me}"}',
        'version: 1\nprotected_ports: [4000, "${P:-1}"]\nservices: {}\n',
        S + "{command: [x], ports: [1], probes: {readiness: {http: {notice: a.b c.0}}}}",
        S + "{command: [x], ports: [1], probes: {readiness: {http: {busy: a.b}}}}",
        S + "{command: [x], ports: [1], probes: {transaction: {tcp: {}, when: always}}}",
        S + "{command: [x], ports: [1], probes: {transaction: {http: {}}, busy: {deadline: 1h}}}",
        S + "{command: [x], doctor: {command: look around}}",
        S + '{command: [x], doctor: {command: [look, "${X:-y}"], timeout: 5m}}',
        "version: 1\nnotify: [{desktop: true}, {command: say hello, when: crashed}]\nservices: {}",
        "version: 1\nnotify: [{webhook: http://h/x, when: [failed, hung]}]\nservices: {}",
        S + '{command: [x]}\nnotify: [{name: a, services: a, webhook: {url: "${U:-http://h}"}}]',
        "version: 1\nmetrics: a.prom\nservices: {}",
        "version: 1\nmetrics: {file: a.prom, every: 5s}\nservices: {}",
        R + "{when: {output: a*b}, do: {set_env: {A: 1}, set_args: {-d: cpu, --q: true}}}]}",
        R + "{when: {exit: 78}, do: {give_up: see it}, limit: {times: 1, within: 1m}}]}",
        R + "{name: a, when: {exit: [137, SIGKILL]}, do: {restart: true}, dry_run: true}]}",
        R + "{when: {output: a}, do: {run: {command: rm x, timeout: 5s}}}]}",
        R + "{when: {output: a}, do: {wait_for: {port_free: 80, timeout: 5s}, restart: true}}]}",
        R + "{when: {output: a}, do: {wait_for: {command: [x]}, restart: true}}]}",
        R + "{when: {probe: liveness, failed: 3, says: '*x'}, do: {restart: true}}],"
        " probes: {liveness: {tcp: {port: 1}}}}",
    ],
    ids=count(),
)
def test_both_accept(text: str) -> None:
    VALIDATOR.validate(yaml.safe_load(text))
    compile_bytes(text.encode(), "/nowhere/services.yaml", {})


@pytest.mark.parametrize(
    "text",
    [
        "services: {}",
        "version: 1",
        "version: 2\nservices: {}",
        'version: "1"\nservices: {}',
        "version: 1\nservices: []",
        "version: 1\nservices:",
        "version: 1\nservices: {}\nextra: 1",
        "version: 1\nservices: {A: {command: [x]}}",
        "version: 1\nservices: {a: {}}",
        "version: 1\nstart_limit: 0\nservices: {}",
        "version: 1\ndefaults: {command: [x]}\nservices: {}",
        S + "{command: []}",
        S + '{command: ""}',
        S + "{command: {a: b}}",
        S + "{command: [x], comand: [y]}",
        S + "{command: [x], env: [A=1]}",
        S + "{command: [x], env: {A: true}}",
        S + "{command: [x], env: {A: 1.5}}",
        S + "{command: [x], env: {A: null}}",
        S + "{command: [x], env: {A-B: x}}",
        S + "{command: [x], env: {LISTEN_FDS: x}}",
        S + "{command: [x], ports: [0]}",
        S + '{command: [x], ports: ["80"]}',
        S + "{command: [x], ports: 80}",
        S + "{command: [x], sockets: {a: 80}}",
        S + '{command: [x], sockets: {a: "example.org:80"}}',
        S + "{command: [x], stop: {timeout: 5}}",
        S + "{command: [x], stop: {timeout: 5 s}}",
        S + "{command: [x], stop: {signal: 9}}",
        S + "{command: [x], logs: {max_size: 10}}",
        S + "{command: [x], logs: {max_size: 10M}}",
        S + "{command: [x], logs: {compress: 1}}",
        S + "{command: [x], restart: always}",
        S + "{command: [x], restart: {policy: sometimes}}",
        S + "{command: [x], restart: {give_up: true}}",
        S + "{command: [x], restart: {backoff: {jitter: 2}}}",
        S + "{command: [x], depends_on: {b: healthy}}\n  b: {command: [y]}",
        S + "{command: [x], depends_on: b}\n  b: {command: [y]}",
        S + "{command: [x], probes: {liveness: {}}}",
        S + "{command: [x], ports: [1], probes: {liveness: {http: {}, tcp: {}}}}",
        S + "{command: [x], ports: [1], probes: {liveness: {tcp: {}, for: 3s}}}",
        S + "{command: [x], ports: [1], probes: {liveness: {http: {status: 2xy}}}}",
        S + "{command: [x], ports: [1], probes: {liveness: {http: {path: health}}}}",
        S + "{command: [x], ports: [1], probes: {liveness: {http: {json: {}}}}}",
        S + "{command: [x], ports: [1], probes: {liveness: {http: {json: x}}}}",
        S + "{command: [x], remedies: {}}",
        S + "{command: [x], probes: {health: {tcp: {}}}}",
        S + "{command: [x], ports: [1], probes: {transaction: {tcp: {}, when: never}}}",
        S + "{command: [x], ports: [1], probes: {liveness: {tcp: {}, when: idle}}}",
        S + "{command: [x], ports: [1], probes: {busy: {deadline: 10}}}",
        S + "{command: [x], umask: 022}",
        S + "{command: [x], umask: 22}",
        S + '{command: [x], umask: "755"}',
        S + "{command: [x], user: 1000}",
        S + '{command: [x], user: "1000"}',
        S + "{command: [x], limits: {memory: 4}}",
        S + "{command: [x], limits: {open_files: 1}}",
        S + "{command: [x], limits: {nice: 20}}",
        S + "{command: [x], limits: {cpu: 1}}",
        "version: 1\nprotected_ports: 4000\nservices: {}\n",
        "version: 1\nprotected_ports: [0]\nservices: {}\n",
        S + "{command: [x], ports: [1], probes: {liveness: {http: {status: []}}}}",
        S + "{command: [x], ports: [1], probes: {liveness: {http: {notice: a..b}}}}",
        S + "{command: [x], ports: [1], probes: {liveness: {http: {notice: [a]}}}}",
        S + "{command: [x], doctor: [look]}",
        S + "{command: [x], doctor: {timeout: 5s}}",
        S + "{command: [x], doctor: {command: [look], timeout: 5}}",
        "version: 1\nnotify: {desktop: true}\nservices: {}",
        "version: 1\nnotify: [{desktop: true, when: exploded}]\nservices: {}",
        "version: 1\nnotify: [{desktop: true, when: []}]\nservices: {}",
        "version: 1\nnotify: [{webhook: ftp://h/x}]\nservices: {}",
        "version: 1\nnotify: [{webhook: {format: json}}]\nservices: {}",
        "version: 1\nmetrics: {every: 5s}\nservices: {}",
        R + "{when: {}, do: {restart: true}}]}",
        R + "{when: {output: a, exit: 1}, do: {restart: true}}]}",
        R + "{when: {output: a}}]}",
        R + "{when: {exit: 256}, do: {restart: true}}]}",
        R + "{when: {exit: []}, do: {restart: true}}]}",
        R + "{when: {probe: alive}, do: {restart: true}}]}",
        R + "{when: {output: a}, do: {wait_for: {port_free: 1, file: x}, restart: true}}]}",
        R + "{when: {output: a}, do: {set_args: {device: cpu}}}]}",
        R + "{when: {output: a}, do: {run: [rm]}}]}",
    ],
    ids=count(),
)
def test_both_refuse(text: str) -> None:
    assert (_accepted_by_schema(text), _accepted_by_validator(text)) == (False, False)
