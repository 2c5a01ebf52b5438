"""Whatever a spec can hold survives the way from the compiler to the daemon."""

import json
import types
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.config.codec import CodecError, decode, encode
from supervisor.config.problems import Problem
from supervisor.core.spec import Condition, FleetSpec, ServiceSpec

TEXT = st.text(st.characters(codec=None), max_size=8)


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Everything that the type allows, from its annotations: a new field is tested unasked."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return st.one_of([values_of(argument) for argument in arguments])
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple and arguments[1:] == (Ellipsis,):
        return st.lists(values_of(arguments[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*(values_of(argument) for argument in arguments))
    if origin is Mapping:
        return st.dictionaries(TEXT, values_of(arguments[1]), max_size=2)
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        return st.builds(kind, **{f.name: values_of(hints[f.name]) for f in fields(kind)})
    if kind is float:
        return st.floats(allow_nan=False, allow_infinity=False)
    if kind is str:
        return TEXT
    return st.from_type(kind)


@given(values_of(FleetSpec))
@settings(max_examples=150, deadline=None)
def test_a_fleet_comes_back_as_it_was(fleet: FleetSpec) -> None:
    back = decode(FleetSpec, json.loads(json.dumps(encode(fleet))))
    assert back == fleet
    # 1 == 1.0 == True: equality alone would not see a changed type.
    assert repr(back) == repr(fleet)


@given(values_of(Problem))
def test_a_problem_comes_back_as_it_was(problem: Problem) -> None:
    assert decode(Problem, json.loads(json.dumps(encode(problem)))) == problem


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["$", "items", "base64", "name", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(JSON)
def test_other_json_is_refused(data: Any) -> None:
    with pytest.raises(CodecError):
        decode(FleetSpec, data)


@given(st.sampled_from([f.name for f in fields(ServiceSpec)]), JSON)
def test_a_changed_field_is_refused_or_read(name: str, data: Any) -> None:
    service = encode(ServiceSpec("a", ("x",), "/"))
    assert isinstance(service, dict)
    service[name] = data
    try:
        read = decode(ServiceSpec, service)
    except CodecError:
        return
    assert decode(ServiceSpec, encode(read)) == read


@dataclass(frozen=True, slots=True)
class _Odd:
    value: object


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1: 2}, {1}, [1], object(), _Odd])
def test_values_that_are_not_carried(value: object) -> None:
    with pytest.raises(CodecError):
        encode(_Odd(value))


def test_missing_and_added_fields_are_named() -> None:
    service = encode(ServiceSpec("a", ("x",), "/"))
    assert isinstance(service, dict)
    with pytest.raises(CodecError, match="colour"):
        decode(ServiceSpec, {**service, "colour": "red"})
    del service["cwd"]
    with pytest.raises(CodecError, match="cwd"):
        decode(ServiceSpec, service)
    with pytest.raises(CodecError, match="READY"):
        decode(Condition, "READY")


@dataclass(frozen=True, slots=True)
class _Numbers:
    value: float | int


def test_a_union_keeps_the_exact_type() -> None:
    for value in (1, 1.0):
        assert repr(decode(_Numbers, encode(_Numbers(value)))) == repr(_Numbers(value))
