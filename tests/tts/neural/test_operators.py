"""A synthesis never asks for what Apple's GPUs lack, the operator of the incident above all."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pytest
import torch

from services.tts.engine import DEFAULT_VOICE
from services.tts.engines.ukrainian import files, model, operators

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from services.tts.engines.ukrainian.operators import Audit

INCIDENT = "aten::_weight_norm_interface"


def audit(directory: Path, *, exact: bool = True) -> Audit:
    found = files.read(directory)
    generator = model.build(found.weights, found.conf, idim=len(found.tokens), odim=found.mels)
    voice = model.Model(generator, torch.device("cpu"), exact=exact, as_on_gpu=exact)
    try:
        line = model.Line((5, 6, 7), found.speakers[DEFAULT_VOICE], seed=1)
        return operators.audit_synthesis(voice, line)
    finally:
        voice.close()


def test_mps_has_every_operator_of_a_synthesis(tiny: Path) -> None:
    found = operators.audit_voice(tiny)
    assert found.without_mps == ()
    assert found.in_float64 == ()
    assert INCIDENT not in found.operators


def test_the_audit_sees_encoder_decoder_and_vocoder(tiny: Path) -> None:
    found = audit(tiny).operators
    assert found["aten::embedding"] == 1
    assert found["aten::bernoulli_"] > 0
    # Of HiFi-GAN: 3 layers in each of 4 x 3 blocks twice, 4 upsamplings, the last layer.
    assert found["aten::leaky_relu"] == 77


def test_no_weight_norm_is_left_in_the_model(tiny: Path) -> None:
    found = files.read(tiny)
    generator = model.build(found.weights, found.conf, idim=len(found.tokens), odim=found.mels)
    assert [name for name, _ in generator.named_parameters() if name.endswith("weight_g")] == []


@pytest.fixture
def _folding_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(weights: Path, conf: Mapping[str, Any], *, idim: int, odim: int) -> Any:
        generator: Any = model.build(weights, conf, idim=idim, odim=odim)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # this form of weight norm is on its way out of torch
            generator["vocoder"].apply_weight_norm()
        return generator

    monkeypatch.setattr(operators, "build", build)


@pytest.mark.usefixtures("_folding_undone")
def test_the_audit_finds_weight_norm_that_is_not_folded(tiny: Path) -> None:
    assert operators.audit_voice(tiny).operators[INCIDENT] == 78


def test_weights_in_16_bits_are_of_the_cpu_alone(tiny: Path) -> None:
    found = audit(tiny, exact=False)
    half = {name for name in found.operators if "fp16" in name}
    assert half <= set(found.without_mps)


def test_float64_is_found_in_what_goes_in_and_what_comes_out() -> None:
    single = torch.ones(2)
    assert operators.audit(lambda: single + 1).in_float64 == ()
    assert "aten::_to_copy" in operators.audit(single.double).in_float64
    double = single.double()
    assert "aten::add" in operators.audit(lambda: double + 1).in_float64


@pytest.mark.parametrize(
    ("name", "able"),
    [
        ("aten::add.Tensor", True),  # by way of its structured `out`
        ("aten::convolution", True),  # composite, explicit
        ("aten::conv1d", True),  # composite, implicit: no dispatch table at all
        ("aten::_native_batch_norm_legit_no_training", True),
        ("aten::_weight_norm_interface.out", True),  # generated
        ("aten::mkldnn_rnn_layer", False),
        ("aten::_thnn_fused_lstm_cell", False),
        ("aten::linalg_eig", False),
        ("aten::segment_reduce", False),
    ],
)
def test_torch_s_own_list_tells_what_mps_has(name: str, able: bool) -> None:
    known = operators._kernels()
    # Apple's kernels become more with every torch; those that it has are not taken away.
    if name in known and not able:
        pytest.skip("this torch has given MPS a kernel") if known[name] else None
    assert known.get(name) is able


def test_an_operator_that_is_not_torch_s_own_has_no_mps_kernel() -> None:
    library = torch.library.Library("atlas_tests", "FRAGMENT")  # type: ignore[no-untyped-call]
    library.define("twin(Tensor x) -> Tensor")  # type: ignore[no-untyped-call]
    library.impl("twin", torch.clone, "CPU")  # type: ignore[no-untyped-call]
    found = operators.audit(lambda: torch.ops.atlas_tests.twin(torch.ones(1)))
    assert found.without_mps == ("atlas_tests::twin",)


def test_the_audit_leaves_one_dnn_as_it_was() -> None:
    before = torch.backends.mkldnn.enabled
    operators.audit(lambda: torch.ones(1))
    assert torch.backends.mkldnn.enabled == before
