"""When an engine that failed is tried again, and what is told of it meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.tts import diagnosis
from services.tts.engine import EngineError, NotInstalledError
from services.tts.link import PROVEN_SECONDS, Link, LinkState
from supervisor.config.compile import compile_file
from supervisor.core.pattern import Pattern
from supervisor.core.spec import OutputTrigger
from tests.tts.doubles import FakeEngine

ROOT = Path(__file__).resolve().parents[2]

INCIDENT = (
    "The operator 'aten::_weight_norm_interface' is not currently implemented for the MPS device. "
    "If you want this op to be considered for addition please comment on the issue. As a temporary "
    "fix, you can set the environment variable `PYTORCH_ENABLE_MPS_FALLBACK=1` to use the CPU as a "
    "fallback for this op. WARNING: this will be slower than running natively on MPS."
)


# As torch 2.11 raised it on an NVIDIA H100, in each call after a kernel's assertion had failed.
ASSERTED = (
    "CUDA error: device-side assert triggered\nSearch for `cudaErrorAssert' in "
    "https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html for more information."
    "\nCUDA kernel errors might be asynchronously reported at some other API call, so the "
    "stacktrace below might be incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1\n"
    "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n"
)


def a_link() -> Link:
    return Link(FakeEngine("ukrainian", "mps"), pauses=(1.0, 5.0, 20.0))


def test_what_cannot_be_loaded_is_tried_in_growing_pauses() -> None:
    link = a_link()
    pauses = []
    now = 0.0
    for _ in range(5):
        assert link.is_due(now)
        link.fail(now, EngineError("no files"))
        pauses.append(link.pause)
        assert not link.hopeful
        assert not link.is_due(now)
        now = link.retry_at
    assert pauses == [1.0, 5.0, 20.0, 20.0, 20.0]


def test_a_first_failure_in_service_is_looked_into_at_once() -> None:
    link = a_link()
    link.succeed(0.0, 0.0)
    link.fail(1.0, EngineError("a text that it cannot say"))
    assert link.is_due(1.0)
    assert link.hopeful


def test_what_speaks_a_word_and_fails_at_every_text_is_tried_ever_less() -> None:
    link = a_link()
    pauses = []
    now = 0.0
    for _ in range(5):
        link.succeed(now, 0.0)
        link.fail(now + 1, EngineError("wrong beyond 3 s"))
        pauses.append(link.pause)
        now = link.retry_at
    assert pauses == [0.0, 5.0, 20.0, 20.0, 20.0]


@pytest.mark.parametrize(
    ("worked_for", "pause"), [(PROVEN_SECONDS - 1, 5.0), (PROVEN_SECONDS, 0.0)]
)
def test_what_worked_for_long_is_new_to_failing(worked_for: float, pause: float) -> None:
    link = a_link()
    link.succeed(0.0, 0.0)
    link.fail(1.0, EngineError("x"))
    link.succeed(2.0, 0.0)
    link.fail(2.0 + worked_for, EngineError("x"))
    assert link.pause == pause


def test_failures_to_load_do_not_count_once_it_works() -> None:
    link = a_link()
    for at in range(3):
        link.fail(float(at), EngineError("no files"))
    link.succeed(9.0, 0.0)
    assert link.reason is None
    assert link.last_error == "no files"
    link.fail(10.0, EngineError("x"))
    assert link.pause == 0.0


def test_a_complaint_has_the_reason_and_the_cure() -> None:
    link = a_link()
    link.fail(0.0, NotImplementedError(INCIDENT))
    complaint = link.complaint()
    assert complaint.startswith(
        "the neural voice on mps failed: NotImplementedError: The operator "
        "'aten::_weight_norm_interface' is not currently implemented for the MPS device."
    )
    assert complaint.endswith(
        "; set PYTORCH_ENABLE_MPS_FALLBACK=1 before the start (config/services.yaml, env of tts)"
    )


def test_what_was_never_installed_is_no_failure() -> None:
    link = a_link()
    link.fail(0.0, NotInstalledError("no voice: run `make neural`", remedy="run `make neural`"))
    assert link.complaint() == "no voice: run `make neural`"
    link.fail(1.0, EngineError("torn: fetch it again"))
    assert link.complaint() == "the neural voice on mps failed: torn: fetch it again"


def test_a_complaint_names_the_device_that_failed_though_another_is_tried_meanwhile() -> None:
    engine = FakeEngine("ukrainian", "cuda")
    link = Link(engine)
    link.fail(0.0, EngineError("it is lost"))
    engine.device = "cpu"
    assert link.complaint() == "the neural voice on cuda failed: it is lost"


def test_a_reason_is_without_what_torch_tells_those_who_debug_it() -> None:
    reason = diagnosis.reason(RuntimeError(ASSERTED))
    assert reason == "RuntimeError: CUDA error: device-side assert triggered"
    # Older versions of torch do not name the documentation.
    older = ASSERTED.replace(ASSERTED.splitlines(keepends=True)[1], "")
    assert diagnosis.reason(RuntimeError(older)) == reason


def test_a_gpu_that_is_lost_to_its_process_is_cured_by_the_next_as_the_shipped_rule_knows() -> None:
    link = a_link()
    link.fail(0.0, RuntimeError(ASSERTED))
    assert link.complaint() == (
        "the neural voice on mps failed: RuntimeError: CUDA error: device-side assert triggered; "
        "restart this service to use the GPU again"
    )
    for name in ("services.yaml", "atlas.yaml"):
        fleet = compile_file(str(ROOT / "config" / name), {"ATLAS_HOME": "/nowhere"})
        tts = next(one for one in fleet.services if one.name == "tts")
        rule = next(one for one in tts.remedies if one.name == "gpu-fault")
        assert rule.restart
        assert isinstance(rule.when, OutputTrigger)
        pattern = Pattern.parse(rule.when.pattern)
        assert pattern.matches(link.complaint().encode())
        # What a restart does not mend, or what the service has mended when it is told.
        other = a_link()
        for text in ("no kernel image is available", "out of memory"):
            other.fail(0.0, RuntimeError(f"CUDA error: {text}"))
            assert not pattern.matches(other.complaint().encode())


def test_a_cure_that_is_in_the_reason_is_not_told_twice() -> None:
    link = a_link()
    link.fail(0.0, EngineError("no torch: run `make neural`", remedy="run `make neural`"))
    assert link.complaint().count("make neural") == 1
    assert link.state is LinkState.FAILED


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        (NotImplementedError(INCIDENT), "PYTORCH_ENABLE_MPS_FALLBACK=1"),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), "--device cpu"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "--device cpu"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "free memory"),
        (MemoryError(), "free memory"),
        (TypeError("Cannot convert a MPS Tensor to float64 dtype"), "--device cpu"),
        (AssertionError("Torch not compiled with CUDA enabled"), "--device cpu"),
        (RuntimeError("CUDA error: no kernel image is available"), "--device cpu"),
        (RuntimeError("CUDA error: out of memory\nSearch for `cudaErrorMemory…'"), "free memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling …"), "free memory"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), "--device cpu"),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "restart this"),
        (RuntimeError("CUDA error: unspecified launch failure"), "restart this"),
        (ModuleNotFoundError("No module named 'torch'"), "make neural"),
        (ModuleNotFoundError("No module named 'espnet2'"), "make neural"),
        (EngineError("out of memory", remedy="its own words"), "its own words"),
    ],
)
def test_known_errors_have_a_cure(error: Exception, cure: str) -> None:
    assert cure in str(diagnosis.remedy(error))


def test_an_error_is_known_under_what_was_wrapped_around_it() -> None:
    error = EngineError("the vocoder failed")
    error.__cause__ = NotImplementedError(INCIDENT)
    assert "MPS_FALLBACK" in str(diagnosis.remedy(error))


@pytest.mark.parametrize("error", [ValueError("x"), ModuleNotFoundError("No module named 'abc'")])
def test_unknown_errors_have_none(error: Exception) -> None:
    assert diagnosis.remedy(error) is None


def test_a_reason_is_one_line_of_bounded_length() -> None:
    reason = diagnosis.reason(RuntimeError("one\n  two\r\n" + "x" * 10_000))
    assert reason.startswith("RuntimeError: one two xxx")
    assert len(reason) == diagnosis.REASON_CHARACTERS
    assert diagnosis.reason(EngineError("plain.")) == "plain"
