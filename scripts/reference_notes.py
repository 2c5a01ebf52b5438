"""What a person has written for docs/configuration.md; the rest comes from the schema.

Every ```yaml block is read by the loader in tests/docs, and every row of REFUSED as well.
"""

from typing import Final

INTRODUCTION: Final = """
One YAML file says what runs: `config/services.yaml`, or the file that `-c FILE` or `ATLAS_CONFIG`
names. This page lists every key. It is made from the schema by which your editor completes and
explains the keys (`atlasctl schema`).

```yaml
version: 1
services:
  hello:
    command: [python3, -m, http.server, "8000", --bind, 127.0.0.1]
    ports: [8000]
    probes:
      readiness: {http: {path: /}}
```

`atlasctl validate` tells all mistakes at once, each with file, line, column and what to write.
After an edit, `atlasctl plan` shows what would change and `atlasctl reload` does it. Which keys
take a restart of the service: [`survival.md`](survival.md#plan-and-reload).

A key that does not stand here is an error, so a misspelt one is never passed over. In the places
below, `NAME` is a name that you choose and `[]` is an entry of a list.
"""

REFUSED: Final = (
    ("stop: {timeout: 5}", "stop: {timeout: 5s}", "a duration has a unit"),
    ("logs: {max_size: 10M}", "logs: {max_size: 10MiB}", "MiB (1024²) or MB (1000²)"),
    ("env: {VERSION: 1.10}", 'env: {VERSION: "1.10"}', "as a number it would be 1.1"),
    ("env: {DEBUG: on}", 'env: {DEBUG: "on"}', "`true` to some readers of YAML, text to others"),
    ("enabled: yes", "enabled: true", "the same"),
    ("umask: 022", 'umask: "022"', "18 to some readers"),
    ('ports: ["8000"]', "ports: [8000]", "a number has no quotes, but around a variable"),
    ("command: run | tee log", 'command: [sh, -c, "run | tee log"]', "no shell reads a command"),
)
"""What is refused, what is meant, and why: of a service."""

_ROWS: Final = "\n".join(
    "| " + " | ".join(f"`{text}`".replace("|", "\\|") for text in (wrong, right)) + f" | {why} |"
    for wrong, right, why in REFUSED
)

SPELLING: Final = f"""
### Durations and sizes

A duration is a number and a unit: `500ms`, `2s`, `1.5s`, `5m`, `1h30m`. Zero may be `0`. A size is
a number and a unit: `100B`; `512KiB`, `10MiB`, `2GiB` (each 1024 of the one before) or `1kB`,
`1MB`, `1GB` (each 1000).

### Text

A value that is text may stand without quotes, as long as every reader of YAML takes it for the same
text. Where two readers differ it is refused, with the spelling that all read alike:

| refused | write | because |
|---|---|---|
{_ROWS}

### Commands

A list of words, or one line that is split as a shell would. No shell runs it. The line is split
before variables are put in, so a variable with a space in it stays one word.

```yaml
command: python3 -m http.server 8000 --directory "my files"
env: {{MODE: quiet, LEVEL: "3"}}
```

### Paths

A relative path is relative to `root`, which is itself relative to the folder of the file. `~/` is
your home.

### Variables

| written | becomes |
|---|---|
| `${{NAME}}` | the variable; an error if there is none |
| `${{NAME:-default}}` | the default if the variable is not there or empty |
| `${{NAME-default}}` | the default if the variable is not there |
| `${{NAME:?message}}` | an error with the message if the variable is not there or empty |
| `$$` | one `$` |

A default may hold another variable. Variables come from the environment of whoever runs `atlasctl`
and, where that has none, from the file `.env` in `root` (or from the files of the topmost
`env_file`). What is put in stays text: it can add no key and no word. It may stand wherever a value
is text, a number, a duration or one of a few words, but not in a key, in `version` or in `root`.

```yaml
command: [python3, -m, http.server, "${{HELLO_PORT:-8000}}", -d, "${{HELLO_DIR:-${{HOME:-/tmp}}}}"]
ports: ["${{HELLO_PORT:-8000}}"]
stop: {{timeout: "${{HELLO_PATIENCE:-10}}s"}}
env: {{PRICE: "5 $$"}}
```

Variables are for the YAML alone. A service does not get your shell's environment: it gets HOME,
PATH, LANG and the like, and what its `env`, `env_file` and `inherit_env` give it.
"""

NOTES: Final = {
    "The file": """
`version` and `services` must be there.
""",
    "services.NAME": """
Only `command` must be there. A service without probes counts as working as long as it lives.

```yaml
description: answers questions
command: [python, server.py, --port, "8100"]
venv: .venv                      # `python` is this environment's
cwd: answers                     # below root
env: {MODEL: small}
env_file: answers/.env           # read again at every start
inherit_env: [HTTPS_PROXY]
ports: [8100]
```

How to write a service, step by step: [`extending.md`](extending.md).
""",
    "defaults": """
What a service sets itself wins. Mappings such as `env` or `stop` are merged key by key; a list is
replaced whole.

```yaml
version: 1
defaults:
  stop: {timeout: 20s}
  env: {LANG: C.UTF-8}
services:
  one: {command: [sleep, "1000"]}
  two: {command: [sleep, "1000"], stop: {timeout: 1s}, env: {LEVEL: "2"}}  # has LANG as well
```
""",
    "probes": """
A probe without a port asks the service's first socket, or else its first port.

```yaml
command: [python, server.py]
sockets: {http: "localhost:8100"}
probes:
  startup:                       # a real request; it may take its time
    http: {method: POST, path: /answer, body: {question: hello}, json: {answer: hello}}
    every: 250ms
    for: 2m
  readiness: {http: {path: /health, json: {ready: true}}, every: 5s}
  liveness: {http: {path: /health}, every: 5s, timeout: 3s, failures: 3}
```
""",
    "probes.startup": """
What asks for real work belongs here: it shows that the service works, and after its success it is
asked no more. When its time is up the run is ended, as a failure.
""",
    "probes.liveness": """
Let it ask for what only a hung service does not answer in time.
""",
    "probes.transaction": """
For a service that may break while its `/health` goes on saying that all is well. Have it ask past
every cache, or it proves nothing; give it the time of a real request that waits for another.

```yaml
command: [python, server.py]
ports: [8100]
probes:
  readiness: {http: {path: /health, json: {ready: true}, busy: busy}, every: 5s}
  transaction:
    http: {method: POST, path: /answer, body: {question: hello}, json: {answer: hello}}
    every: 5m
    timeout: 60s
  busy: {deadline: 10m}
```
""",
    "http": """
```yaml
command: [python, server.py]
ports: [8100]
probes:
  readiness:
    http:
      path: /status
      headers: {Accept: application/json}
      status: [200, 204]
      json: {model.loaded: true, queue.0: 0}   # {"model": {"loaded": true}, "queue": [0]}
      latency: 500ms
      notice: notice
    timeout: 2s
```
""",
    "depends_on.NAME": """
Short forms: `[a, b]` waits until both are ready, `{a: started}` gives the condition alone.

```yaml
version: 1
services:
  prepare: {command: [python3, prepare.py], restart: {policy: never}}
  model: {command: [python3, model.py], ports: [8200], probes: {readiness: {tcp: {}}}}
  answers:
    command: [python3, server.py]
    depends_on: {prepare: completed, model: ready}
```
""",
    "restart": """
`always` starts it again however it ended, `on-failure` unless it exited with 0, `never` not at all:
then 0 makes it completed, and all else failed.

```yaml
command: [python, server.py]
restart:
  policy: on-failure
  backoff: {first: 1s, factor: 2, max: 1m}   # 1s, 2s, 4s … 1m, each varied by jitter
  give_up: {after: 3, within: 5m}            # or give_up: false
```
""",
    "stop": """
The signal goes to the process group of the service. What lives after `timeout` is killed, whatever
group it is in.
""",
    "limits": """
What each can do on which system: [`survival.md`](survival.md#limits-and-what-each-can-do).

```yaml
command: [python, server.py]
limits: {memory: 4GiB, open_files: 1024, processes: 200, nice: 5}
```
""",
    "doctor": """
```yaml
command: [python, server.py]
doctor: {command: [python, server.py, --doctor], timeout: 30s}
```
""",
    "remedies[]": """
What fits, what follows, what bounds it, and how to try a rule: [`remedies.md`](remedies.md).

```yaml
command: [python, server.py]
remedies:
  - when: {output: "the index in * is corrupt"}
    do: {run: {command: [rm, -r, index], timeout: 10s}, restart: true}
  - when: {exit: [137, SIGKILL]}
    do: {set_args: {--size: small}, restart: true}
    limit: {times: 1, within: 24h}
```
""",
    "models.NAME": """
```yaml
version: 1
services: {}
models:
  small:
    url: https://example.org/models
    files: [config.json, {name: weights.bin, size: 1234}]
    look_in: [~/models, /srv/*/models]
```
""",
    "notify[]": """
Who is told when, what a webhook gets, and what bounds it: [`notify.md`](notify.md).

```yaml
version: 1
services: {hello: {command: [sleep, "1000"]}}
notify:
  - when: [failed, recovered]
    webhook: {url: "${HOOK:-https://example.org/hook}", format: text}
  - {when: hung, services: hello, desktop: true}
```
""",
    "metrics": """
What is in the file: [`notify.md`](notify.md#metrics).

```yaml
version: 1
services: {}
metrics: {file: /var/lib/node_exporter/textfile/atlas.prom, every: 30s}
```
""",
}
"""By the title of a section."""
