"""Remedies as they are written in the YAML, and the rules that they become."""

import pytest

from supervisor.config import ConfigError
from supervisor.config.compile import compile_bytes
from supervisor.core import spec
from supervisor.core.pattern import MOST_PATTERNS


def _service(yaml: str) -> spec.ServiceSpec:
    text = f"version: 1\nservices:\n  a: {yaml}\n"
    return compile_bytes(text.encode(), "/nowhere/services.yaml", {}).services[0]


REMEDIES = """{
  command: [serve, --quiet],
  probes: {liveness: {tcp: {port: 80}}},
  remedies: [
    {when: {output: "a * line"}, do: {set_env: {A: "${N:-1}"},
      set_args: {-d: cpu, --quiet: false}}},
    {name: out, when: {exit: [137, SIGKILL, kill]}, do: {restart: true},
      limit: {times: 1, within: 2m}},
    {when: {exit: 78}, do: {give_up: see config.toml}, dry_run: true},
    {when: {probe: liveness, failed: 3, says: "*float64*"},
      do: {run: {command: rm -r x, timeout: 5s}}},
    {when: {output: b}, do: {wait_for: {file: x/y, timeout: 5s}, restart: true}},
    {when: {output: b}, do: {wait_for: {port_free: 81}, restart: true}},
    {when: {output: b}, do: {wait_for: {command: test -e x}, restart: true}},
  ]}"""


def test_remedies() -> None:
    rules = _service(REMEDIES).remedies
    line, again = spec.OutputTrigger("a * line"), spec.OutputTrigger("b")
    assert rules == (
        spec.Remedy("remedy 1", line, set_env={"A": "1"}, set_args={"-d": "cpu", "--quiet": False}),
        spec.Remedy(
            "out",
            spec.ExitTrigger((137,), (9,)),
            restart=True,
            limit=spec.RemedyLimit(1, 120.0),
        ),
        spec.Remedy("remedy 3", spec.ExitTrigger((78,)), give_up="see config.toml", dry_run=True),
        spec.Remedy(
            "remedy 4",
            spec.ProbeTrigger(spec.ProbeKind.LIVENESS, 3, "*float64*"),
            run=spec.RemedyCommand(("rm", "-r", "x"), 5.0),
        ),
        spec.Remedy(
            "remedy 5",
            again,
            wait_for=spec.WaitFor(spec.FileExists("/nowhere/x/y"), 5.0),
            restart=True,
        ),
        spec.Remedy("remedy 6", again, wait_for=spec.WaitFor(spec.PortFree(81)), restart=True),
        spec.Remedy(
            "remedy 7",
            again,
            wait_for=spec.WaitFor(spec.Succeeds(("test", "-e", "x"))),
            restart=True,
        ),
    )


@pytest.mark.parametrize(
    ("count", "rule", "said"),
    [
        (
            MOST_PATTERNS + 1,
            "{when: {output: line %d}, do: {restart: true}}",
            f"looks for {MOST_PATTERNS + 1} patterns",
        ),
        (101, "{when: {exit: %d}, do: {restart: true}}", "has 101 remedies"),
    ],
)
def test_more_remedies_than_can_be_looked_for(count: int, rule: str, said: str) -> None:
    rules = [rule % number for number in range(count)]
    allowed = _service(f"{{command: [x], remedies: [{', '.join(rules[1:])}]}}")
    assert len(allowed.remedies) == count - 1
    with pytest.raises(ConfigError, match=said):
        _service(f"{{command: [x], remedies: [{', '.join(rules)}]}}")
