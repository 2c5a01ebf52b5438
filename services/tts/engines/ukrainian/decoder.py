"""Tacotron 2's autoregressive part: several sentences at once, one mel frame of each a turn.

The time goes into reading weights: the recurrent layers are 63 MB, read from memory for every
frame. So sentences are decoded side by side (one reading serves all), a row leaves the batch when
its sentence ends, and on x86 the recurrent weights are kept in half precision unless `exact`. What
has been decoded is handed on while the rest is still to come, so that the vocoder has other cores
busy meanwhile.
The arithmetic is that of espnet's `Decoder.inference` and `AttLoc`, put together from the same
parameters; sums are taken in another order, so samples agree to about 1e-5 and not to the bit.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import torch
from torch.nn import functional

from services.tts.engine import EngineError, GivenUp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Product: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
    """A linear layer: (rows, inputs) to (rows, outputs)."""

_ATTENTION_SCALE: Final = 2.0  # AttLoc's `scaling`, which espnet never sets otherwise
_BLOCK: Final = 32
"""Frames whose dropout is drawn, and on a GPU sent there, at once."""

_GPU_LOOKS: Final = 8
"""Turns between two looks at the stop token on a GPU: each look waits for the device."""

_HAND_ON: Final = 32
"""Turns after which what has been decoded is handed on."""


@dataclass(frozen=True, slots=True)
class Passage:
    """What is decoded into one mel spectrogram."""

    memory: torch.Tensor
    """The encoder's states, shape (tokens, channels)."""
    most_frames: int
    """Where it ends if the stop token never fires; at least 1."""
    dropout: torch.Generator
    """Draws the prenet's dropout, which is on in inference too; on the CPU whatever the device."""


class Decoder:
    """Decodes batches with the parameters of an espnet `Decoder` that has location attention."""

    def __init__(self, source: Any, *, half: bool) -> None:
        """Takes over the parameters, which must be on the device where they are to work.

        `half` keeps the recurrent weights in 16 bits; see `takes_half`. Raises EngineError for an
        architecture that this class does not speak.
        """
        _check(source)
        attention = source.att
        self._device = attention.gvec.weight.device
        self._encode = _product(attention.mlp_enc, half=False)
        self._query = _product(attention.mlp_dec, half=half)
        # Two linear maps without anything between them are one.
        kernel = attention.loc_conv.weight.flatten(1)
        self._location = (attention.mlp_att.weight @ kernel).T.contiguous()
        self._score = attention.gvec.weight[0] * _ATTENTION_SCALE
        # The bias of gvec is the same for every token, and softmax does not see it.
        self._reach = (kernel.shape[1] - 1) // 2
        self._cumulative = bool(source.cumulate_att_w)
        self._prenet = [_product(layer[0], half=False) for layer in source.prenet.prenet]
        self._prenet_units = [int(layer[0].out_features) for layer in source.prenet.prenet]
        self._keep = 1.0 - float(source.prenet.dropout_rate)
        self._cells = [_cell(module, half=half) for module in source.lstm]
        self._out = _product_of(
            torch.cat((source.feat_out.weight, source.prob_out.weight)),
            torch.cat((_bias_of(source.feat_out), _bias_of(source.prob_out))),
            half=False,
        )
        self._mels = int(source.odim)
        self._step = int(source.reduction_factor)

    def decode(
        self,
        passages: Sequence[Passage],
        *,
        give_up: Callable[[], bool],
        take: Callable[[int, torch.Tensor, bool], None],
    ) -> None:
        """Decodes all passages, and calls `take` with what has been decoded of each, part by part.

        Its arguments are the index of the passage, mel frames of shape (frames, mels) as they are
        before the postnet, and whether they are the last. Raises GivenUp.
        """
        looks = 1 if self._device.type == "cpu" else _GPU_LOOKS
        rows = _Rows(self, passages)
        dropout = _Dropout(passages, self._prenet_units, self._keep, self._device)
        for turn in itertools.count(1):
            rows.advance(dropout.next())
            if turn % looks and not rows.at_limit():
                continue
            if give_up():
                raise GivenUp
            ended = rows.ended()
            if not ended and turn % _HAND_ON:
                continue
            rows.hand_on(ended, take)
            if ended:
                kept = [row for row in range(len(rows)) if row not in ended]
                if not kept:
                    return
                rows.keep(kept)
                dropout.keep(kept)


def takes_half() -> bool:
    """Whether this processor multiplies by 16-bit weights faster than by 32-bit ones.

    FBGEMM does, on x86 with AVX2: 1.0 ms instead of 3.8 ms for both layers of one frame.
    """
    return "fbgemm" in torch.backends.quantized.supported_engines


@dataclass(frozen=True, slots=True)
class _Cell:
    """One LSTM layer: gates from input and state in one product, and how much of the old stays."""

    gates: Product
    units: int
    zoneout: float

    def advance(
        self, inputs: torch.Tensor, hidden: torch.Tensor, cell: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        gates = self.gates(torch.cat((inputs, hidden), 1))
        units = self.units
        opened = gates.sigmoid()
        fresh = opened[:, units : 2 * units] * cell
        fresh.addcmul_(opened[:, :units], gates[:, 2 * units : 3 * units].tanh())
        out = opened[:, 3 * units :] * fresh.tanh()
        if self.zoneout:
            return (
                torch.lerp(out, hidden, self.zoneout),
                torch.lerp(fresh, cell, self.zoneout),
            )
        return out, fresh


class _Rows:
    """The state of every passage that has not ended, one row each."""

    def __init__(self, decoder: Decoder, passages: Sequence[Passage]) -> None:
        self._decoder = decoder
        self._indices = list(range(len(passages)))
        self._limits = [-(-one.most_frames // decoder._step) for one in passages]
        self._turn = 0
        self._frames: list[torch.Tensor] = []
        self._stops: list[torch.Tensor] = []
        self._looked = 0

        lengths = [one.memory.shape[0] for one in passages]
        first = passages[0].memory
        rows, tokens, reach = len(passages), max(lengths), decoder._reach
        self._memory = torch.nn.utils.rnn.pad_sequence(
            [one.memory for one in passages], batch_first=True
        )
        self._encoded = decoder._encode(self._memory)
        self._history = first.new_zeros(rows, tokens + 2 * reach)
        self._mask: torch.Tensor | None = None
        if min(lengths) < tokens:
            self._mask = first.new_zeros(rows, tokens)
        for row, length in enumerate(lengths):
            self._history[row, reach : reach + length] = 1.0 / length
            if self._mask is not None:
                self._mask[row, length:] = -torch.inf
        self._hidden = [first.new_zeros(rows, cell.units) for cell in decoder._cells]
        self._cell = [first.new_zeros(rows, cell.units) for cell in decoder._cells]
        self._last = first.new_zeros(rows, decoder._mels)

    def __len__(self) -> int:
        return len(self._indices)

    def advance(self, dropout: Sequence[torch.Tensor]) -> None:
        """Makes one turn's frames of every row."""
        decoder = self._decoder
        context = self._attend()
        inputs = self._last
        for layer, mask in zip(decoder._prenet, dropout, strict=True):
            inputs = layer(inputs).relu_() * mask
        inputs = torch.cat((context, inputs), 1)
        for at, cell in enumerate(decoder._cells):
            self._hidden[at], self._cell[at] = cell.advance(
                inputs, self._hidden[at], self._cell[at]
            )
            inputs = self._hidden[at]
        out = decoder._out(torch.cat((inputs, context), 1))
        # (rows, mels, frames): with more than one frame a turn they are interleaved.
        frames = out[:, : decoder._mels * decoder._step].view(len(self), decoder._mels, -1)
        self._last = frames[:, :, -1]
        self._frames.append(frames)
        self._stops.append(out[:, decoder._mels * decoder._step :])
        self._turn += 1

    def _attend(self) -> torch.Tensor:
        decoder = self._decoder
        windows = self._history.unfold(1, 2 * decoder._reach + 1, 1)
        seen = windows @ decoder._location
        seen += self._encoded
        seen += decoder._query(self._hidden[0]).unsqueeze(1)
        scores = seen.tanh_() @ decoder._score
        if self._mask is not None:
            scores += self._mask
        weights = scores.softmax(1)
        reach = decoder._reach
        history = self._history[:, reach : reach + weights.shape[1]]
        if decoder._cumulative and self._turn:
            history += weights
        else:
            history.copy_(weights)
        return torch.bmm(weights.unsqueeze(1), self._memory).squeeze(1)

    def at_limit(self) -> bool:
        """Whether some row may not go on, whatever its stop token says."""
        return self._turn >= min(self._limits)

    def ended(self) -> dict[int, int]:
        """The rows that have ended, each with the frames since the last `hand_on` that count."""
        stops = torch.stack(self._stops[self._looked :], 1) >= 0.0
        fired = stops.any(2).cpu()
        ended: dict[int, int] = {}
        if not (self.at_limit() or fired.any()):
            self._looked = len(self._stops)
            return ended
        step = self._decoder._step
        for row, turns in enumerate(fired):
            if turns.any():
                ended[row] = (self._looked + int(turns.int().argmax()) + 1) * step
            elif self._turn >= self._limits[row]:
                ended[row] = len(self._frames) * step
        self._looked = len(self._stops)
        return ended

    def hand_on(
        self, ended: Mapping[int, int], take: Callable[[int, torch.Tensor, bool], None]
    ) -> None:
        """Gives away the frames of every row since the last time; of `ended` those that count."""
        fresh = torch.cat(self._frames, 2).transpose(1, 2)
        self._frames.clear()
        self._stops.clear()
        self._looked = 0
        for row, index in enumerate(self._indices):
            take(index, fresh[row, : ended.get(row)], row in ended)

    def keep(self, rows: list[int]) -> None:
        """Lets every other row go."""
        self._indices = [self._indices[row] for row in rows]
        self._limits = [self._limits[row] for row in rows]
        at = torch.tensor(rows, device=self._last.device)
        self._memory = self._memory[at]
        self._encoded = self._encoded[at]
        self._history = self._history[at]
        self._mask = None if self._mask is None else self._mask[at]
        self._hidden = [one[at] for one in self._hidden]
        self._cell = [one[at] for one in self._cell]
        self._last = self._last[at]


class _Dropout:
    """The masks of the prenet, drawn for each row from its own generator in espnet's order.

    One mask is drawn by one call, layer by layer and frame by frame, as `functional.dropout` would:
    so a seed gives the noise that it gives in stock espnet.
    """

    def __init__(
        self,
        passages: Sequence[Passage],
        units: Sequence[int],
        keep: float,
        device: torch.device,
    ) -> None:
        self._generators = [one.dropout for one in passages]
        self._units = units
        self._keep = keep
        self._device = device
        self._block: list[torch.Tensor] = []
        self._at = _BLOCK

    def next(self) -> list[torch.Tensor]:
        """The masks of the next frame, one for each layer, shape (rows, units)."""
        if self._at == _BLOCK:
            self._draw()
        self._at += 1
        return [layer[self._at - 1] for layer in self._block]

    def _draw(self) -> None:
        rows = len(self._generators)
        block = [torch.empty(_BLOCK, rows, units) for units in self._units]
        for row, generator in enumerate(self._generators):
            for frame in range(_BLOCK):
                for layer in block:
                    layer[frame, row].bernoulli_(self._keep, generator=generator)
        self._block = [layer.div_(self._keep).to(self._device) for layer in block]
        self._at = 0

    def keep(self, rows: list[int]) -> None:
        """Lets every other row go."""
        at = torch.tensor(rows, device=self._device)
        self._generators = [self._generators[row] for row in rows]
        self._block = [layer[:, at] for layer in self._block]


def _check(source: Any) -> None:
    attention = source.att
    for wanted, found in (
        ("location attention", type(attention).__name__ == "AttLoc"),
        ("a prenet", source.prenet is not None),
        ("LSTM layers", bool(source.lstm)),
        ("the context in its output layer", bool(source.use_concate)),
        ("no output activation", source.output_activation_fn is None),
    ):
        if not found:
            raise EngineError(
                f"this model's decoder is of a kind that is not supported: {wanted} is expected, "
                "as in ukrainian-tts v6.0.0"
            )


def _cell(module: Any, *, half: bool) -> _Cell:
    zoneout = float(getattr(module, "zoneout_rate", 0.0))
    cell = module.cell if hasattr(module, "zoneout_rate") else module
    return _Cell(
        gates=_product_of(
            torch.cat((cell.weight_ih, cell.weight_hh), 1), cell.bias_ih + cell.bias_hh, half=half
        ),
        units=int(cell.hidden_size),
        zoneout=zoneout,
    )


def _bias_of(layer: Any) -> torch.Tensor:
    bias: torch.Tensor | None = layer.bias
    return layer.weight.new_zeros(layer.weight.shape[0]) if bias is None else bias


def _product(layer: Any, *, half: bool) -> Product:
    return _product_of(layer.weight, _bias_of(layer), half=half)


def _product_of(weight: torch.Tensor, bias: torch.Tensor, *, half: bool) -> Product:
    weight, bias = weight.detach().contiguous(), bias.detach().contiguous()
    if half:
        packed = torch.ops.quantized.linear_prepack_fp16(weight, bias)
        multiply = torch.ops.quantized.linear_dynamic_fp16
        return lambda inputs: multiply(inputs, packed)
    return lambda inputs: functional.linear(inputs, weight, bias)
