"""The model of ukrainian-tts: characters and a speaker in, samples out.

Built straight from the two espnet modules that speak. `Text2Speech` does no more for this model and
imports every task that espnet has, which takes ten seconds and asks the network; `JointText2Wav`
around the two adds a discriminator, losses and scipy, for training alone, and 1 s. The modules are
made on the meta device and given the file's tensors, so no parameter is ever initialised. Weight
norm is folded, so that `aten::_weight_norm_interface`, which Apple's GPUs lack, is never asked for.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.nn import init
from torch.overrides import TorchFunctionMode

from services.tts.engine import EngineError
from services.tts.engines.ukrainian.decoder import Decoder, Passage, takes_half
from services.tts.engines.ukrainian.vocoder import Sound, Vocoder, takes_bfloat16

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from services.tts.engine import Samples

FRAMES_PER_TOKEN: Final = 10
"""Where a sentence is ended whose stop token does not fire, as in stock; speech has about 6."""

_PREFIX: Final = "tts.generator."
_LENGTH: Final = ".weight_g"
_DIRECTION: Final = ".weight_v"
_KINDS: Final = {"text2mel": "tacotron2", "vocoder": "hifigan_generator"}
"""The types that `tts_conf` may name, which are JointText2Wav's defaults too."""


# Those of `init` call the tensor's own, where a mode does not see into; some are never asked for.
_FILLING: Final = frozenset(
    {
        torch.Tensor.normal_,
        torch.Tensor.uniform_,
        init.normal_,
        init.uniform_,
        init.kaiming_uniform_,
    }
)


@dataclass(frozen=True, slots=True)
class Line:
    """What the model speaks at once."""

    tokens: tuple[int, ...]
    """Indices into the token list, without the end-of-sentence token; at least one."""
    speaker: npt.NDArray[np.float32]
    """The x-vector of a voice, shape (values,)."""
    seed: int
    """Of the dropout: the same line with the same seed gives the same samples."""


class Model:
    """Encoder, decoder and vocoder on one device; one synthesis at a time."""

    def __init__(
        self,
        generator: torch.nn.ModuleDict,
        device: torch.device,
        *,
        exact: bool,
        as_on_gpu: bool = False,
    ) -> None:
        """Takes a folded generator over and moves it; `exact` keeps every weight in 32 bits.

        `as_on_gpu` computes as a GPU would, whatever the device: `operators` looks at that way.
        """
        generator = generator.to(device)
        on_cpu = device.type == "cpu" and not as_on_gpu
        if on_cpu:
            # Threads of our own work on sentences and pieces; see `vocoder`.
            torch.set_num_threads(1)
        # espnet is untyped: what is read off its modules is as `torch.nn.Module` knows it, or Any.
        text2mel: Any = generator["text2mel"]
        vocoder: Any = generator["vocoder"]
        self._device = device
        self._end = int(text2mel.eos)
        self._text2mel = text2mel
        self._half = on_cpu and not exact and takes_half()
        self._bfloat16 = on_cpu and not exact and takes_bfloat16()
        with torch.inference_mode():
            self._decoder = Decoder(text2mel.dec, half=self._half)
        self._vocoder = Vocoder(
            text2mel.dec.postnet, vocoder, on_cpu=on_cpu, bfloat16=self._bfloat16
        )

    @property
    def precision(self) -> str:
        """What is computed in, such as `float16+bfloat16`: the decoder's and the vocoder's."""
        decoder = "float16" if self._half else "float32"
        # What cuDNN makes of convolutions with 32-bit weights, unless torch is told otherwise. It
        # must not be: without, an H100 took 15 times as long and 21 GiB.
        single = "tf32" if self._device.type == "cuda" else "float32"
        return f"{decoder}+{'bfloat16' if self._bfloat16 else single}"

    def close(self) -> None:
        """Ends its threads."""
        self._vocoder.close()

    def synthesise(self, lines: Sequence[Line], *, give_up: Callable[[], bool]) -> list[Samples]:
        """Speaks the lines side by side. Raises GivenUp, or what torch raises."""
        sounds = [Sound(self._vocoder, give_up) for _ in lines]

        def take(index: int, frames: torch.Tensor, last: bool) -> None:
            sounds[index].feed(frames, last=last)

        with torch.inference_mode():
            passages = [self._passage(line) for line in lines]
            self._decoder.decode(passages, give_up=give_up, take=take)
        return [sound.samples() for sound in sounds]

    def _passage(self, line: Line) -> Passage:
        tokens = torch.tensor([*line.tokens, self._end], device=self._device)
        # One at a time: convolutions over padding would change the ends of shorter lines.
        memory = self._text2mel.enc.inference(tokens)
        speaker = torch.from_numpy(line.speaker).to(memory)
        memory = self._text2mel._integrate_with_spk_embed(memory[None], speaker[None])[0]
        return Passage(
            memory=memory,
            most_frames=FRAMES_PER_TOKEN * len(tokens),
            dropout=torch.Generator().manual_seed(line.seed),
        )


def build(weights: Path, conf: Mapping[str, Any], *, idim: int, odim: int) -> torch.nn.ModuleDict:
    """The generator with the weights of `model.pth`, folded, on the CPU.

    `conf` is `tts_conf` of the model's `config.yaml`; `idim` is the length of its token list and
    `odim` the number of mels. Raises EngineError when file and configuration do not belong
    together.
    """
    for part, kind in _KINDS.items():
        if conf.get(f"{part}_type", kind) != kind:
            raise EngineError(
                f"config.yaml names {conf[f'{part}_type']} as {part}, where {kind} is expected, as "
                "in ukrainian-tts v6.0.0"
            )
    generator = _unfilled(
        {**conf.get("text2mel_params", {}), "idim": idim, "odim": odim},
        {**conf.get("vocoder_params", {}), "in_channels": odim, "use_weight_norm": False},
    )
    loaded = torch.load(weights, map_location="cpu", weights_only=True, mmap=True)
    state = {
        name.removeprefix(_PREFIX): tensor
        for name, tensor in loaded.items()
        if name.startswith(_PREFIX)
    }
    try:
        generator.load_state_dict(folded(state), strict=True, assign=True)
    except (RuntimeError, KeyError) as error:
        raise EngineError(f"model.pth and config.yaml are not of one model: {error}") from error
    return generator.eval().requires_grad_(False)


def folded(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state with one weight for each direction and length that weight norm keeps apart.

    The sum is torch's own, which a layer with weight norm does anew in every call, so the samples
    are the same to the bit. What else is in the state stays.
    """
    whole = dict(state)
    for name in state:
        if name.endswith(_LENGTH):
            stem = name.removesuffix(_LENGTH)
            length, direction = whole.pop(name), whole.pop(stem + _DIRECTION)
            whole[f"{stem}.weight"] = torch._weight_norm(direction, length, 0)
    return whole


def _unfilled(text2mel: Mapping[str, Any], vocoder: Mapping[str, Any]) -> torch.nn.ModuleDict:
    """The two modules with parameters that have a shape and no memory. Raises EngineError."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        # espnet and its libraries warn of their own deprecations, which nobody here can mend, and
        # print that Flash Attention is missing, which this model has no use for.
        warnings.simplefilter("ignore")
        from espnet2.gan_tts.hifigan.hifigan import HiFiGANGenerator
        from espnet2.tts.tacotron2.tacotron2 import Tacotron2

        try:
            with torch.device("meta"), _NoFirstValues():
                return torch.nn.ModuleDict(
                    {"text2mel": Tacotron2(**text2mel), "vocoder": HiFiGANGenerator(**vocoder)}
                )
        except (TypeError, ValueError, AssertionError, NotImplementedError) as error:
            raise EngineError(f"espnet does not take what config.yaml says: {error}") from error


class _NoFirstValues(TorchFunctionMode):
    """Leaves out the random first values of parameters: those of the file come in their place.

    On the meta device they would cost no computing, yet bring in torch's compiler: 1.3 s.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _FILLING:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
