"""Postnet and HiFi-GAN in pieces: mel frames to samples, on all cores.

A stack of convolutions hears only so far: a piece of frames with some more on each side gives the
samples that the whole would (largest difference 3e-8). What is computed for the neighbours' sake
alone is cut off after every stage, since most of the work is in the later ones, which hear less
than a frame. So a sentence is cut into pieces, the first of which are computed while the decoder is
still at the later ones, each by one thread, and no thread waits for another. torch's own meet at a
barrier in every layer; when another program takes a core, all wait there: with two threads on two
busy cores, a second of audio took 0.5 to 2.4 s that way.

On the CPU the one-dimensional convolutions are done as two-dimensional ones over the channels-last
layout, which oneDNN takes as it is; the plain layout it turns around before and after every layer.
Measured for each stage: 52-57 billion multiplications a second on one core instead of 17-55.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

import numpy as np
import torch

from services.tts.engine import GivenUp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from services.tts.engine import Samples

P = ParamSpec("P")
T = TypeVar("T")

_MOST_THREADS: Final = 8
_GRAIN: Final = 32
"""Frames of which the last piece, too, has a multiple: oneDNN makes code for a shape that it has
not met, 74 times a piece, which takes a tenth of the time that the piece takes itself."""

_PIECE: Final = 3 * _GRAIN
"""Frames in a piece, 1.1 s. Longer ones compute 5 % less for their neighbours' sake and come later.
What Apple's GPUs have computed wrongly was longer than 3 s."""


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
    """Postnet and generator, weight norm folded, with the threads that they are computed on."""

    def __init__(self, postnet: Any, generator: Any, *, on_cpu: bool, bfloat16: bool) -> None:
        """Takes both over, on the device where they are; `on_cpu` as in `Model`.

        `postnet` may be None, and stays in float32.
        """
        if on_cpu:
            _make_two_dimensional(generator)
        self._dtype = torch.bfloat16 if bfloat16 else torch.float32
        generator.to(self._dtype)
        self._postnet = postnet
        self._input = generator.input_conv
        self._output = generator.output_conv
        self._stages = _stages(generator)
        self._on_cpu = on_cpu
        self.overlap = self._stages[0].margin + _reach(self._input)
        """Refined frames on each side that a piece hears."""
        self.reach = 0 if postnet is None else _reach(postnet)
        """Frames on each side that the postnet hears."""
        # A GPU has one queue, and MPS takes no two threads at once.
        self.pool: Executor = (
            ThreadPoolExecutor(threads(), thread_name_prefix="tts-vocoder") if on_cpu else _Here()
        )

    def close(self) -> None:
        """Ends the threads, after what they are at."""
        self.pool.shutdown(wait=True, cancel_futures=True)

    def render(
        self, mel: torch.Tensor, left: int, right: int, give_up: Callable[[], bool]
    ) -> Samples:
        """The samples of a piece.

        `mel` has the shape (frames, mels), with `left` and `right` more frames than the piece: all
        that it hears, or all that there are. Raises GivenUp.
        """
        if give_up():
            raise GivenUp
        with torch.inference_mode():
            signal = mel.T.unsqueeze(0)
            if self._postnet is not None:
                signal = signal + self._postnet(signal)
            cut_left, cut_right = max(0, left - self.overlap), max(0, right - self.overlap)
            signal = signal[..., cut_left : signal.shape[-1] - cut_right].to(self._dtype)
            left, right = left - cut_left, right - cut_right
            if self._on_cpu:
                signal = signal.unsqueeze(2).contiguous(memory_format=torch.channels_last)
            signal = self._input(signal)
            for stage in self._stages:
                if give_up():
                    raise GivenUp
                cut_left, cut_right = max(0, left - stage.margin), max(0, right - stage.margin)
                signal = stage(signal[..., cut_left : signal.shape[-1] - cut_right])
                left, right = (left - cut_left) * stage.scale, (right - cut_right) * stage.scale
            sound = self._output(signal).flatten()
            samples: Samples = sound[left : sound.numel() - right].float().cpu().numpy()
        return samples


class Sound:
    """One sentence on its way through a vocoder; fed by one thread."""

    def __init__(self, vocoder: Vocoder, give_up: Callable[[], bool]) -> None:
        """`give_up` is asked by the vocoder's threads."""
        self._vocoder = vocoder
        self._give_up = give_up
        self._mel: torch.Tensor | None = None
        self._begun = 0
        self._pieces: list[tuple[Future[Samples], float]] = []
        """What is being made, and the share at its beginning that the piece before has too."""

    def feed(self, frames: torch.Tensor, *, last: bool) -> None:
        """Adds frames of the decoder, shape (frames, mels), and begins with what is whole now."""
        self._mel = frames if self._mel is None else torch.cat((self._mel, frames))
        heard = self._vocoder.overlap + self._vocoder.reach
        whole = len(self._mel) if last else len(self._mel) - heard
        # A piece near the end would have another shape for every frame that it hears less.
        least = _PIECE + heard if last else _PIECE
        while whole - self._begun >= least:
            self._begin(self._mel, self._begun, self._begun + _PIECE, heard)
        if last and (rest := whole - self._begun):
            again = min(self._begun, -rest % _GRAIN)
            self._begin(self._mel, self._begun - again, whole, heard)

    def _begin(self, mel: torch.Tensor, begin: int, end: int, heard: int) -> None:
        first, last = max(0, begin - heard), min(len(mel), end + heard)
        piece = self._vocoder.pool.submit(
            self._vocoder.render, mel[first:last], begin - first, last - end, self._give_up
        )
        self._pieces.append((piece, (self._begun - begin) / (end - begin)))
        self._begun = end

    def samples(self) -> Samples:
        """Waits for all of it, after the last frames. Raises GivenUp, or what went wrong."""
        made = [(piece.result(), share) for piece, share in self._pieces]
        return np.concatenate([samples[round(share * samples.size) :] for samples, share in made])


class _Here(Executor):
    """Does what it is given at once, in the thread of whoever gives it."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


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
