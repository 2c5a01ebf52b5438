"""HiFi-GAN in pieces: mel frames to samples, on all cores, with no thread waiting for another.

A stack of convolutions hears only so far: a piece of frames with some more on each side gives the
samples that the whole would (largest difference 3e-8). What is computed for the neighbours' sake
alone is cut off after every stage, since most of the work is in the later ones, which hear less
than a frame. So a sentence is cut into pieces, and each is computed by one thread. torch's own
threads meet at a barrier in every layer; when another program takes a core, all wait there:
with two threads on two busy cores, a second of audio took 0.5 to 2.4 s that way.

On the CPU the one-dimensional convolutions are done as two-dimensional ones over the channels-last
layout, which oneDNN takes as it is; the plain layout it turns around before and after every layer.
Measured for each stage: 52-57 billion multiplications a second on one core instead of 17-55.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from services.tts.engine import GivenUp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from services.tts.engine import Samples

_MOST_THREADS: Final = 8
_SHORTEST_PIECE: Final = 64
_LONGEST_PIECE: Final = 256
"""Frames in a piece. Three seconds: what Apple's GPUs have computed wrongly was longer."""


def threads() -> int:
    """How many pieces are computed at once: the processors this process may use, at most 8."""
    if sys.platform == "linux":
        usable = len(os.sched_getaffinity(0))
    else:
        usable = os.cpu_count() or 1
    return min(_MOST_THREADS, usable)


def takes_bfloat16() -> bool:
    """Whether this processor computes with bfloat16 itself; emulated it is slower than float32."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            flags = next((line for line in file if line.startswith("flags")), "")
    except OSError:
        return False
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags.split())


class Vocoder:
    """A HiFi-GAN generator whose weight norm is folded, with the threads that it computes on."""

    def __init__(self, generator: Any, *, on_cpu: bool, bfloat16: bool) -> None:
        """Takes the generator over, on the device where it is; `on_cpu` as in `Model`."""
        if on_cpu:
            _make_two_dimensional(generator)
        self._dtype = torch.bfloat16 if bfloat16 else torch.float32
        generator.to(self._dtype)
        self._input = generator.input_conv
        self._output = generator.output_conv
        self._stages = _stages(generator)
        self._overlap = self._stages[0].margin + _reach(self._input)
        self._flat = not on_cpu
        # A GPU has one queue, and more threads would only take turns at it.
        self._threads = threads() if on_cpu else 1
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="tts-vocoder")

    def close(self) -> None:
        """Ends the threads, after what they are at."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def start(self, mel: Callable[[], torch.Tensor], give_up: Callable[[], bool]) -> Sound:
        """Begins with one sentence; `mel` gives (frames, mels) and is called in the pool."""
        return Sound(self._pool.submit(self._begin, mel, give_up))

    def _begin(
        self, mel: Callable[[], torch.Tensor], give_up: Callable[[], bool]
    ) -> list[Future[Samples]]:
        with torch.inference_mode():
            frames = mel().T.unsqueeze(0).to(self._dtype)
            if not self._flat:
                frames = frames.unsqueeze(2).contiguous(memory_format=torch.channels_last)
        count = frames.shape[-1]
        size = max(_SHORTEST_PIECE, min(_LONGEST_PIECE, -(-count // self._threads)))
        return [
            self._pool.submit(self._piece, frames, at, min(count, at + size), give_up)
            for at in range(0, count, size)
        ]

    def _piece(
        self, frames: torch.Tensor, begin: int, end: int, give_up: Callable[[], bool]
    ) -> Samples:
        """The samples of frames begin..end, as the whole sentence would give them."""
        before, after = begin, frames.shape[-1] - end
        left, right = min(before, self._overlap), min(after, self._overlap)
        with torch.inference_mode():
            signal = self._input(frames[..., begin - left : end + right])
            for stage in self._stages:
                if give_up():
                    raise GivenUp
                cut_left = left - min(before, stage.margin)
                cut_right = right - min(after, stage.margin)
                signal = stage(signal[..., cut_left : signal.shape[-1] - cut_right])
                left, right = (left - cut_left) * stage.scale, (right - cut_right) * stage.scale
                before, after = before * stage.scale, after * stage.scale
            sound = self._output(signal).flatten()
            samples: Samples = sound[left : sound.numel() - right].float().cpu().numpy()
        return samples


class Sound:
    """One sentence that is on its way through the vocoder."""

    def __init__(self, pieces: Future[list[Future[Samples]]]) -> None:
        self._pieces = pieces

    def samples(self) -> Samples:
        """Waits for all of it. Raises GivenUp, or what went wrong."""
        return np.concatenate([piece.result() for piece in self._pieces.result()])


@dataclass(frozen=True, slots=True)
class _Stage:
    """One upsampling and the residual blocks behind it, whose mean is the stage's output."""

    upsample: torch.nn.Module
    blocks: Sequence[torch.nn.Module]
    scale: int
    margin: int
    """Input values on each side that this stage and all later ones hear."""

    def __call__(self, signal: torch.Tensor) -> torch.Tensor:
        signal = self.upsample(signal)
        first, *rest = (block(signal) for block in self.blocks)
        for one in rest:
            first += one
        mean: torch.Tensor = first.div_(len(self.blocks))
        return mean


def _stages(generator: Any) -> list[_Stage]:
    stages: list[_Stage] = []
    needed = _reach(generator.output_conv)
    per_stage = generator.num_blocks
    for at in reversed(range(generator.num_upsamples)):
        upsample = generator.upsamples[at]
        blocks = list(generator.blocks[at * per_stage : (at + 1) * per_stage])
        scale = next(one.stride[-1] for one in upsample.modules() if hasattr(one, "stride"))
        # A transposed convolution with a kernel of two strides hears one value to each side.
        needed = -(-(needed + max(map(_reach, blocks))) // scale) + 1
        stages.insert(0, _Stage(upsample, blocks, scale, needed))
    return stages


def _reach(module: torch.nn.Module) -> int:
    """How many values to each side the convolutions of a module hear, one after the other."""
    return sum(
        one.dilation[-1] * (one.kernel_size[-1] - 1) // 2
        for one in module.modules()
        if isinstance(one, torch.nn.Conv1d | torch.nn.Conv2d)
    )


def _make_two_dimensional(module: torch.nn.Module) -> None:
    """Puts in place of every convolution below `module` the same one over (1, length)."""
    for name, child in module.named_children():
        if isinstance(child, torch.nn.Conv1d | torch.nn.ConvTranspose1d):
            module.register_module(name, _two_dimensional(child))
        else:
            _make_two_dimensional(child)


def _two_dimensional(one: torch.nn.Conv1d | torch.nn.ConvTranspose1d) -> torch.nn.Module:
    kind: Any = torch.nn.Conv2d
    extra: dict[str, Any] = {}
    if isinstance(one, torch.nn.ConvTranspose1d):
        kind, extra = torch.nn.ConvTranspose2d, {"output_padding": (0, one.output_padding[0])}
    with torch.device("meta"):
        other: torch.nn.Module = kind(
            one.in_channels,
            one.out_channels,
            (1, one.kernel_size[0]),
            stride=(1, one.stride[0]),
            padding=(0, int(one.padding[0])),
            dilation=(1, one.dilation[0]),
            groups=one.groups,
            bias=one.bias is not None,
            **extra,
        )
    weight = one.weight.detach().unsqueeze(2).contiguous(memory_format=torch.channels_last)
    other.register_parameter("weight", torch.nn.Parameter(weight, requires_grad=False))
    bias: Any = one.bias
    other.register_parameter("bias", bias)
    return other
