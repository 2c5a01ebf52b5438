"""Hostile files: the answer is a FleetSpec or a ConfigError, and every problem has a place."""

from pathlib import Path

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.config import ConfigError
from supervisor.config.codec import decode, encode
from supervisor.config.compile import compile_bytes
from supervisor.config.json_schema import fleet_schema
from supervisor.core.spec import FleetSpec

GOOD = (Path(__file__).parents[2] / "config" / "services.yaml").read_bytes()
ENVIRON = {"A": "a, b]", "EMPTY": "", "N": "5"}


def _keys(node: object) -> set[str]:
    if isinstance(node, list):
        return set().union(*map(_keys, node))
    if not isinstance(node, dict):
        return set()
    properties = node.get("properties", {})
    return set(properties).union(*map(_keys, node.values()))


KEYS = [*sorted(_keys(fleet_schema())), "a", "b", "A", "<<", "on", "1"]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=6),
    st.dates(),
    st.binary(max_size=3),
    st.sampled_from(
        [
            "${A}",
            "${N}s",
            "${NO}",
            "$$",
            "5s",
            "1MiB",
            "022",
            "TERM",
            "always",
            "localhost:80",
            "http://[::1",
            "/x",
            "2xx",
            "ready",
            "sleep 5",
            "a | b",
            "'",
            "${A:-${N}}",
            "a",
            "b",
            "",
            "~/x",
            "\0",
        ]
    ),
)
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner, max_size=5)
    ),
    max_leaves=30,
)
SERVICES = st.dictionaries(
    st.sampled_from(["a", "b", "c"]),
    st.dictionaries(st.sampled_from(KEYS), TREES, max_size=6),
    max_size=3,
)


def _check(data: bytes) -> None:
    try:
        fleet = compile_bytes(data, "/nowhere/services.yaml", ENVIRON)
    except ConfigError as error:
        for problem in error.problems:
            assert problem.message
            assert problem.line is None or problem.line >= 1
            assert str(problem).count("\n") == 0, problem
    else:
        assert decode(FleetSpec, encode(fleet)) == fleet


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_any_bytes(data: bytes) -> None:
    _check(data)


@given(st.text(alphabet="abc:-?[]{}&*!|>'\"%@`#,\n \t<~01.$", max_size=80))
@settings(max_examples=300, deadline=None)
def test_text_made_of_yaml_syntax(text: str) -> None:
    _check(text.encode())
    _check(b"version: 1\nservices:\n  a: " + text.encode())


@given(TREES)
@settings(max_examples=150, deadline=None)
def test_any_structure(tree: object) -> None:
    _check(yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass"))


@given(SERVICES, st.dictionaries(st.sampled_from(KEYS), TREES, max_size=2))
@settings(max_examples=300, deadline=None)
def test_structures_of_the_right_outline(services: object, extra: dict[str, object]) -> None:
    _check(yaml.safe_dump({"version": 1, **extra, "services": services}).encode())


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_good_files_with_a_few_bytes_changed(data: st.DataObject) -> None:
    text = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        length = data.draw(st.integers(0, 20))
        with_ = data.draw(
            st.binary(max_size=4)
            | st.sampled_from([b"\n", b": ", b"&x ", b"*x", b"  ", b"${", b"[", b"'"])
        )
        text[at : at + length] = with_
    _check(bytes(text))


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_good_files_with_lines_dropped_swapped_or_doubled(data: st.DataObject) -> None:
    lines = GOOD.splitlines(keepends=True)[13:]
    chosen = data.draw(st.lists(st.sampled_from(range(len(lines))), min_size=5, max_size=40))
    if data.draw(st.booleans()):
        chosen.sort()
    _check(b"version: 1\nservices:\n" + b"".join(lines[i] for i in chosen))
