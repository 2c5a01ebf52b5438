"""Which of torch's operators a synthesis asks for, and which of them a Mac's GPU lacks.

The list of what has an MPS kernel is torch's own, `native_functions.yaml`, which its wheel ships:
so the question is answered on any machine.
"""

from __future__ import annotations

import functools
import importlib.util
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from services.tts.engine import DEFAULT_VOICE, EngineError
from services.tts.engines.ukrainian import files
from services.tts.engines.ukrainian.model import Line, Model, build

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

P = ParamSpec("P")
T = TypeVar("T")

_WORD: Final = "слово"

_COMPOSITES: Final = frozenset(
    {
        "CompositeImplicitAutograd",
        "CompositeExplicitAutograd",
        "CompositeExplicitAutogradNonFunctional",
    }
)
"""Kernels that are written with other operators, and so serve every device."""


@dataclass(frozen=True, slots=True)
class Audit:
    """What ran: names are as in `aten::conv1d`, without the overload."""

    operators: Mapping[str, int]
    """How often each ran."""
    without_mps: tuple[str, ...]
    """Those that torch gives no MPS kernel."""
    in_float64: tuple[str, ...]
    """Those that took or gave float64, which MPS refuses."""


def audit_voice(directory: Path) -> Audit:
    """What speaking a word with the voice in `directory` asks torch for. Raises EngineError."""
    found = files.read(directory)
    generator = build(found.weights, found.conf, idim=len(found.tokens), odim=found.mels)
    model = Model(generator, torch.device("cpu"), exact=True, as_on_gpu=True)
    tokens = tuple(found.tokens.index(token) for token in _WORD)
    try:
        return audit_synthesis(model, Line(tokens, found.speakers[DEFAULT_VOICE], seed=0))
    finally:
        model.close()


def audit_synthesis(model: Model, line: Line) -> Audit:
    """What speaking one line asks torch for; the model was made with `as_on_gpu`.

    Raises EngineError.
    """
    return audit(lambda: model.synthesise([line], give_up=lambda: False))


def audit(act: Callable[[], object]) -> Audit:
    """Runs `act`, which must keep to this thread, and tells what it asked torch for.

    oneDNN is off meanwhile: the CPU would choose its kernels where a GPU takes another way. Raises
    EngineError where torch ships no list of its kernels.
    """
    known = _kernels()
    # Not `flags`, which sets more than is asked for and warns of that.
    set_flags: Callable[..., tuple[bool, ...]] = torch.backends.mkldnn.set_flags
    enabled = set_flags(False, _fp32_precision=None)[0]
    try:
        with _Record() as record:
            act()
    finally:
        set_flags(enabled, _fp32_precision=None)
    names = {str(name): count for name, count in record.counts.items()}
    lacking = sorted({name.partition(".")[0] for name in names if not known.get(name, False)})
    totals: Counter[str] = Counter()
    for name, count in names.items():
        totals[name.partition(".")[0]] += count
    return Audit(
        operators=dict(sorted(totals.items())),
        without_mps=tuple(lacking),
        in_float64=tuple(sorted(record.doubles)),
    )


class _Record(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operators, each taken apart as far as torch takes it apart for every device."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: Counter[str] = Counter()
        self.doubles: set[str] = set()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        # In inference mode composites arrive whole: `_weight_norm` would hide the operator that
        # MPS lacks.
        with self:
            parts = func.decompose(*args, **kwargs)
        if parts is not NotImplemented:
            return parts
        result = func(*args, **kwargs)
        schema = func._schema
        name = schema.name
        self.counts[f"{name}.{schema.overload_name}" if schema.overload_name else name] += 1
        if any(map(_is_double, (*args, *kwargs.values(), result))):
            self.doubles.add(name)
        return result


def _is_double(value: object) -> bool:
    if isinstance(value, (tuple, list)):
        return any(map(_is_double, value))
    return isinstance(value, torch.Tensor) and value.dtype == torch.float64


@functools.cache
def _kernels() -> Mapping[str, bool]:
    """For each operator with its overload, as in `aten::add.Tensor`: whether MPS can run it."""
    import yaml

    spec = importlib.util.find_spec("torchgen")
    places = (spec.submodule_search_locations if spec else None) or []
    paths = [Path(place, "packaged/ATen/native/native_functions.yaml") for place in places]
    path = next((one for one in paths if one.is_file()), None)
    if path is None:
        raise EngineError(
            "this torch ships no native_functions.yaml: install the version that `make neural` does"
        )
    with path.open("rb") as file:
        # In C it takes 0.3 s instead of 5.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        entries = yaml.load(file, Loader=loader)  # noqa: S506 - both loaders are safe
    by_name = {_name(entry["func"]): entry for entry in entries}
    able = {name: _runs_on_mps(entry, by_name) for name, entry in by_name.items()}
    for entry in entries:
        # Variants that torch generates are written with the operator that they are made from.
        for name in filter(None, str(entry.get("autogen", "")).split(", ")):
            able[f"aten::{name}"] = able[_name(entry["func"])]
    return able


def _name(declaration: str) -> str:
    return f"aten::{declaration.partition('(')[0]}"


def _runs_on_mps(entry: Mapping[str, Any], by_name: Mapping[str, Mapping[str, Any]]) -> bool:
    if "structured_delegate" in entry:
        return _runs_on_mps(by_name[f"aten::{entry['structured_delegate']}"], by_name)
    if "dispatch" not in entry:
        return True  # CompositeImplicitAutograd is what that means
    keys = {key.strip() for keys in entry["dispatch"] for key in keys.split(",")}
    return "MPS" in keys or not keys.isdisjoint(_COMPOSITES)
