"""Closures and orders of the dependency graph."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from supervisor.core import graph

WEB = {"web": ("api", "cache"), "api": ("db",), "cache": (), "db": ()}


def test_closure_puts_dependencies_first() -> None:
    assert graph.closure(WEB, ["web"]) == ("db", "api", "cache", "web")
    assert graph.closure(WEB, ["cache", "api"]) == ("cache", "db", "api")
    assert graph.closure(WEB, []) == ()


def test_a_name_without_an_entry_depends_on_nothing() -> None:
    assert graph.closure({}, ["a"]) == ("a",)
    assert graph.find_cycle({"a": ("b",)}) is None


def test_dependents_are_the_graph_turned_round() -> None:
    assert graph.dependents(WEB) == {"api": ("web",), "cache": ("web",), "db": ("api",)}


def test_a_cycle_is_given_closed() -> None:
    assert graph.find_cycle(WEB) is None
    assert graph.find_cycle({"a": ("b",), "b": ("c",), "c": ("b",)}) == ("b", "c", "b")
    assert graph.find_cycle({"a": ("a",)}) == ("a", "a")


def test_a_diamond_is_no_cycle() -> None:
    assert graph.find_cycle({"a": ("b", "c"), "b": ("d",), "c": ("d",)}) is None


def test_a_chain_of_thousands_does_not_exhaust_the_stack() -> None:
    edges = {str(n): (str(n + 1),) for n in range(5000)}
    assert graph.closure(edges, ["0"])[-1] == "0"
    assert graph.find_cycle(edges) is None
    assert graph.find_cycle({**edges, "5000": ("0",)}) is not None


names = st.integers(0, 7).map(str)
graphs = st.dictionaries(names, st.lists(names, unique=True, max_size=4).map(tuple), max_size=8)


@given(graphs)
def test_a_cycle_is_one_and_its_absence_allows_an_order(edges: dict[str, tuple[str, ...]]) -> None:
    cycle = graph.find_cycle(edges)
    if cycle is not None:
        assert len(cycle) > 1
        assert cycle[0] == cycle[-1]
        assert all(b in edges[a] for a, b in pairwise(cycle))
        return
    order = graph.closure(edges, edges)
    assert len(set(order)) == len(order)
    place = {name: index for index, name in enumerate(order)}
    assert all(place[need] < place[name] for name, needs in edges.items() for need in needs)
