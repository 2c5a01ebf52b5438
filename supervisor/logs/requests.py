"""The fields of a request to the sink, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor.core.pattern import MOST_PATTERNS, Pattern, PatternError
from supervisor.logs.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping


class RequestError(ValueError):
    """A request cannot be understood or done; the text says why."""


def text(request: Mapping[str, object], field: str) -> str:
    """Return a string that is not empty; RequestError."""
    found = request.get(field)
    if not isinstance(found, str) or not found or "\0" in found:
        raise RequestError(f"{field} must be a non-empty string")
    return found


def number(request: Mapping[str, object], field: str, default: int | None = None) -> int:
    """Return a whole number, `default` where the field is missing; RequestError."""
    found = request.get(field, default)
    if not isinstance(found, int) or isinstance(found, bool):
        raise RequestError(f"{field} must be a whole number")
    return found


def run(request: Mapping[str, object]) -> int | None:
    """Return the number of a run, None where the field is missing or null; RequestError."""
    return None if request.get("run") is None else number(request, "run")


def choice(request: Mapping[str, object], field: str, default: bool | None = None) -> bool:
    """Return true or false, `default` where the field is missing; RequestError."""
    found = request.get(field, default)
    if not isinstance(found, bool):
        raise RequestError(f"{field} must be true or false")
    return found


def policy(request: Mapping[str, object]) -> Policy:
    """Return the policy that an attach asks for; RequestError."""
    made = Policy(number(request, "max_size"), number(request, "keep"), choice(request, "compress"))
    problem = made.problem()
    if problem is not None:
        raise RequestError(problem)
    return made


def patterns(request: Mapping[str, object]) -> tuple[Pattern, ...] | None:
    """Return what is to be looked for, None where the field is missing; RequestError."""
    found = request.get("patterns")
    if found is None:
        return None
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise RequestError("patterns must be a list of strings")
    if len(found) > MOST_PATTERNS:
        raise RequestError(f"{len(found)} patterns: give {MOST_PATTERNS} at most")
    try:
        return tuple(Pattern.parse(each) for each in dict.fromkeys(found))
    except PatternError as error:
        raise RequestError(str(error)) from None
