"""pydantic's errors in plain words, with the line, the column and the path as written."""

from difflib import get_close_matches

from pydantic_core import ErrorDetails

from supervisor.config.document import Mark, Node, Path, Table, locate, locate_key
from supervisor.config.document import Sequence as ListNode
from supervisor.config.fields import kind_words
from supervisor.config.json_schema import fleet_schema
from supervisor.config.problems import Problem, clip, format_path

_LATER = ("upgrade", "rolling", "schedule")
"""Keys that the design has and this release has not."""


_ELSEWHERE = {
    "for": "only a startup probe has it",
    "failures": "a startup probe may fail until its time is up: set for",
    "successes": "a readiness or a startup probe has it",
    "when": "only a transaction probe has it",
}
"""Keys of one kind of probe, met in another."""

_PROBES = ("startup", "readiness", "liveness", "transaction")


def complaint(error: ErrorDetails, tree: Table, file: str) -> Problem:
    """Return the problem that this error is about."""
    path = _written(error["loc"], tree)
    message, hint = _words(error, path)
    context = error.get("ctx", {})
    if "mark" in context:
        mark: Mark = context["mark"]
    elif error["type"] in ("extra_forbidden", "missing") or error["loc"][-1:] == ("[key]",):
        mark = locate_key(tree, path)
    else:
        mark = locate(tree, path)
    return Problem(file, mark.line, mark.column, format_path(path), message, hint)


def _written(loc: tuple[str | int, ...], tree: Table) -> Path:
    """Return the keys of the file: pydantic adds steps of its own, such as `[key]` and `[0]`."""
    path: list[str | int] = []
    node: Node | None = tree
    for part in loc:
        if part == "[key]" and not (isinstance(node, Table) and part in node.entries):
            continue
        if isinstance(part, int):
            if not isinstance(node, ListNode):
                continue
            node = node.items[part] if part < len(node.items) else None
        elif isinstance(node, Table):
            node = node.entries[part].value if part in node.entries else None
        path.append(part)
    return tuple(path)


def _words(error: ErrorDetails, path: Path) -> tuple[str, str]:
    value = error["input"]
    match error["type"]:
        case "atlas":
            context = error.get("ctx", {})
            return str(context["message"]), str(context["hint"])
        case "missing":
            return "is required", f"add {path[-1]}:"
        case "extra_forbidden":
            return _unknown(path)
        case "model_type" | "dict_type" | "model_attributes_type":
            hint = (
                "give it keys, or remove it" if kind_words(value) == "empty" else "write key: value"
            )
            return f"must be a mapping, not {kind_words(value)}", hint
        case "list_type":
            return f"must be a list, not {kind_words(value)}", "write [one, two]"
        case other:
            raise AssertionError(f"no words for pydantic's {other}: {error['msg']}")


def _unknown(path: Path) -> tuple[str, str]:
    key = str(path[-1])
    known = sorted(_known_keys(path[:-1]))
    if path[-3:-2] == ("probes",) and path[-2] in _PROBES and key in _ELSEWHERE:
        return f"{key!r} does not apply to a {path[-2]} probe", _ELSEWHERE[key]
    if near := get_close_matches(key, known, n=1):
        hint = f"did you mean {near[0]}?"
    else:
        hint = f"the keys here are {', '.join(known)}"
    kind = "is not supported by this release" if key in _LATER else "is not a known key"
    return f"{clip(key)!r} {kind}", hint


def _known_keys(path: Path) -> set[str]:
    """Return the keys that may stand at this path, by walking the schema along it."""
    schema = fleet_schema()
    definitions = schema["$defs"]
    places: list[object] = [schema]
    for part in path:
        places = [step for place in _resolved(places, definitions) for step in _steps(place, part)]
    known: set[str] = set()
    for place in _resolved(places, definitions):
        properties = place.get("properties")
        known |= set(properties) if isinstance(properties, dict) else set()
    return known


def _steps(place: dict[str, object], part: str | int) -> list[object]:
    if isinstance(part, int):
        return [place["items"]] if "items" in place else []
    properties = place.get("properties")
    if isinstance(properties, dict) and part in properties:
        return [properties[part]]
    patterns = place.get("patternProperties")
    return list(patterns.values()) if isinstance(patterns, dict) else []


def _resolved(places: list[object], definitions: object) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    pending = list(places)
    while pending:
        place = pending.pop()
        if not isinstance(place, dict):
            continue
        reference = place.get("$ref")
        if isinstance(reference, str) and isinstance(definitions, dict):
            pending.append(definitions[reference.removeprefix("#/$defs/")])
        for choice in ("anyOf", "allOf"):
            pending += place.get(choice, [])
        found.append(place)
    return found
