"""The dependency graph: cycles, closures and orders over `name -> names it depends on`.

Iterative throughout, so that a chain of a thousand services cannot exhaust the stack.
"""

from collections.abc import Iterable, Mapping, Sequence

Edges = Mapping[str, Sequence[str]]
"""Each name with the names that it depends on. A name without an entry depends on nothing."""


def find_cycle(edges: Edges) -> tuple[str, ...] | None:
    """Return one cycle with its first name repeated at the end, `("a", "b", "a")`, or None."""
    finished: set[str] = set()
    for origin in edges:
        path: list[str] = []
        on_path: set[str] = set()
        pending: list[tuple[str, bool]] = [(origin, False)]
        while pending:
            name, leaving = pending.pop()
            if leaving:
                path.pop()
                on_path.discard(name)
                finished.add(name)
                continue
            if name in on_path:
                return (*path[path.index(name) :], name)
            if name in finished:
                continue
            path.append(name)
            on_path.add(name)
            pending.append((name, True))
            pending.extend((to, False) for to in reversed(edges.get(name, ())))
    return None


def closure(edges: Edges, names: Iterable[str]) -> tuple[str, ...]:
    """Return `names` and all that they need, dependencies before dependents.

    The graph must have no cycle.
    """
    ordered: dict[str, None] = {}
    pending: list[tuple[str, bool]] = [(name, False) for name in reversed(list(names))]
    while pending:
        name, leaving = pending.pop()
        if name in ordered:
            continue
        if leaving:
            ordered[name] = None
            continue
        pending.append((name, True))
        pending.extend((to, False) for to in reversed(edges.get(name, ())))
    return tuple(ordered)


def dependents(edges: Edges) -> dict[str, tuple[str, ...]]:
    """Return the graph turned round: each name with the names that depend on it directly."""
    turned: dict[str, list[str]] = {}
    for name, needs in edges.items():
        for need in needs:
            turned.setdefault(need, []).append(name)
    return {name: tuple(names) for name, names in turned.items()}
