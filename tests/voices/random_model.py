"""A voice of random weights with the true architecture: `python -m tests.voices.random_model`.

`full` has every width of the real model and its 446 MB, the discriminator included; `tiny` has
widths of 32 at most and about 1 MB. Both are the four files as they are published: espnet's own
loader and `ukrainian_tts.TTS(cache_folder=…)` read them. The speech is noise, yet audible, bounded,
and of every text and voice another.

Random weights never say when to stop, so the stop token is kept from firing and the length is what
the reader's limit allows: 10 frames a token (the end-of-sentence token counted) unless it is told
otherwise.
"""

from __future__ import annotations

import argparse
import copy
import math
import struct
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np
import torch
import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

Size: TypeAlias = Literal["tiny", "full"]

NEVER_STOPS: Final = -50.0
"""Bias of the stop token at which its probability is 0 for every state."""

VOICES: Final = ("tetiana", "mykyta", "lada", "dmytro", "oleksa")
XVECTOR_VALUES: Final = 192
MELS: Final = 80
TOKENS: Final = [
    *("<blank>", "<unk>", "+", "<space>"),
    *"оаинветісрдлукмпяз,бьгчйжхшюцщ?-їє!'ф.\"ґ:/„",
    "<sos/eos>",
]

_LOUDNESS: Final = 0.15
"""Root mean square of the samples that a voice is brought to."""

_SENTENCE: Final = "добрий день, як справи?"

_TACOTRON2: Final[dict[str, Any]] = {
    "embed_dim": 512,
    "elayers": 1,
    "eunits": 512,
    "econv_layers": 3,
    "econv_chans": 512,
    "econv_filts": 5,
    "atype": "location",
    "adim": 512,
    "aconv_chans": 32,
    "aconv_filts": 15,
    "cumulate_att_w": True,
    "dlayers": 2,
    "dunits": 1024,
    "prenet_layers": 2,
    "prenet_units": 256,
    "postnet_layers": 5,
    "postnet_chans": 512,
    "postnet_filts": 5,
    "output_activation": None,
    "use_batch_norm": True,
    "use_concate": True,
    "use_residual": False,
    "reduction_factor": 1,
    "spk_embed_dim": XVECTOR_VALUES,
    "spk_embed_integration_type": "add",
    "dropout_rate": 0.5,
    "zoneout_rate": 0.1,
    "use_masking": True,
    "bce_pos_weight": 10.0,
    "use_guided_attn_loss": True,
    "guided_attn_loss_sigma": 0.4,
    "guided_attn_loss_lambda": 1.0,
}

_HIFIGAN: Final[dict[str, Any]] = {
    "out_channels": 1,
    "channels": 512,
    "global_channels": -1,
    "kernel_size": 7,
    "upsample_scales": [8, 8, 2, 2],
    "upsample_kernel_sizes": [16, 16, 4, 4],
    "resblock_kernel_sizes": [3, 7, 11],
    "resblock_dilations": [[1, 3, 5], [1, 3, 5], [1, 3, 5]],
    "use_additional_convs": True,
    "bias": True,
    "nonlinear_activation": "LeakyReLU",
    "nonlinear_activation_params": {"negative_slope": 0.1},
    "use_weight_norm": True,
}

_DISCRIMINATOR: Final[dict[str, Any]] = {
    "scales": 3,
    "scale_downsample_pooling": "AvgPool1d",
    "scale_downsample_pooling_params": {"kernel_size": 4, "stride": 2, "padding": 2},
    "scale_discriminator_params": {
        "in_channels": 1,
        "out_channels": 1,
        "kernel_sizes": [15, 41, 5, 3],
        "channels": 128,
        "max_downsample_channels": 1024,
        "max_groups": 16,
        "bias": True,
        "downsample_scales": [2, 2, 4, 4, 1],
        "nonlinear_activation": "LeakyReLU",
        "nonlinear_activation_params": {"negative_slope": 0.1},
        "use_weight_norm": True,
        "use_spectral_norm": False,
    },
    "follow_official_norm": False,
    "periods": [2, 3, 5, 7, 11],
    "period_discriminator_params": {
        "in_channels": 1,
        "out_channels": 1,
        "kernel_sizes": [5, 3],
        "channels": 32,
        "downsample_scales": [3, 3, 3, 3, 1],
        "max_downsample_channels": 1024,
        "bias": True,
        "nonlinear_activation": "LeakyReLU",
        "nonlinear_activation_params": {"negative_slope": 0.1},
        "use_weight_norm": True,
        "use_spectral_norm": False,
    },
}

_NARROW: Final = {
    "text2mel_params": {
        "embed_dim": 32,
        "eunits": 32,
        "econv_chans": 32,
        "adim": 32,
        "aconv_chans": 16,
        "dunits": 32,
        "prenet_units": 16,
        "postnet_chans": 32,
    },
    "vocoder_params": {"channels": 32},
    "discriminator_params": {
        "scales": 1,
        "scale_discriminator_params": {
            "channels": 16,
            "max_downsample_channels": 32,
            "max_groups": 4,
        },
        "period_discriminator_params": {"channels": 4, "max_downsample_channels": 16},
    },
}


def write(directory: Path, size: Size, *, seed: int = 0, stop_bias: float = NEVER_STOPS) -> None:
    """Writes the four files of a voice into a directory that exists; others of a name are replaced.

    With a `stop_bias` near 0 sentences stop by themselves, each at a frame of its own.
    """
    conf = _configuration(size)
    state = _weights(conf, seed=seed, stop_bias=stop_bias)
    torch.save(state, directory / "model.pth")
    (directory / "config.yaml").write_text(
        yaml.safe_dump(conf, allow_unicode=True, sort_keys=False), encoding="utf-8"
    )
    random = np.random.default_rng(seed)
    (directory / "spk_xvector.ark").write_bytes(
        b"".join(
            _ark_entry(voice, random.standard_normal((1, XVECTOR_VALUES), dtype=np.float32))
            for voice in VOICES
        )
    )
    np.savez(directory / "feats_stats.npz", **_statistics())


def _configuration(size: Size) -> dict[str, Any]:
    """What config.yaml holds: those of the trainer's settings that a reader looks at."""
    tts_conf: dict[str, Any] = {
        "sampling_rate": 22_050,
        "segment_size": 32,
        "text2mel_type": "tacotron2",
        "text2mel_params": _TACOTRON2,
        "vocoder_type": "hifigan_generator",
        "vocoder_params": _HIFIGAN,
        "discriminator_type": "hifigan_multi_scale_multi_period_discriminator",
        "discriminator_params": _DISCRIMINATOR,
        "lambda_text2mel": 1.0,
        "lambda_adv": 1.0,
        "lambda_mel": 45.0,
        "lambda_feat_match": 2.0,
    }
    if size == "tiny":
        tts_conf = _replaced(tts_conf, _NARROW)
    return copy.deepcopy(
        {
            "token_list": TOKENS,
            "odim": None,
            "model_conf": {},
            "use_preprocessor": True,
            "token_type": "char",
            "bpemodel": None,
            "non_linguistic_symbols": None,
            "cleaner": None,
            "g2p": None,
            "feats_extract": "fbank",
            "feats_extract_conf": {
                "n_fft": 1024,
                "hop_length": 256,
                "win_length": None,
                "fs": 22_050,
                "fmin": 80,
                "fmax": 7600,
                "n_mels": MELS,
            },
            "normalize": "global_mvn",
            "normalize_conf": {"stats_file": "feats_stats.npz"},
            "tts": "joint_text2wav",
            "tts_conf": tts_conf,
            "pitch_extract": None,
            "pitch_extract_conf": {},
            "pitch_normalize": None,
            "pitch_normalize_conf": {},
            "energy_extract": None,
            "energy_extract_conf": {},
            "energy_normalize": None,
            "energy_normalize_conf": {},
            "version": "202204",
        }
    )


def _replaced(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with those of `changes` in their places, at any depth."""
    return {
        name: _replaced(value, changes[name])
        if isinstance(value, dict) and name in changes
        else changes.get(name, value)
        for name, value in values.items()
    }


def _weights(conf: Mapping[str, Any], *, seed: int, stop_bias: float) -> dict[str, torch.Tensor]:
    from espnet2.gan_tts.joint.joint_text2wav import JointText2Wav

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # espnet norms weights by a function that torch calls deprecated.
        warnings.filterwarnings("ignore", ".*weight_norm", FutureWarning)
        torch.manual_seed(seed)
        model = JointText2Wav(idim=len(TOKENS), odim=MELS, **copy.deepcopy(conf["tts_conf"]))
        model.eval()
        _unsettle(model)
        decoder = model.generator["text2mel"].dec
        torch.nn.init.constant_(decoder.prob_out.bias, stop_bias)
        _level(model)
    state = {f"tts.{name}": value for name, value in model.state_dict().items()}
    statistics = _statistics()
    mean = statistics["sum"] / statistics["count"]
    std = np.sqrt(statistics["sum_square"] / statistics["count"] - mean**2)
    # float64, as the trainer leaves them; and buffers of layers that no synthesis runs.
    state["normalize.mean"] = torch.from_numpy(mean)
    state["normalize.std"] = torch.from_numpy(std)
    state["feats_extract.logmel.melmat"] = torch.rand(513, MELS) / 40
    return state


def _unsettle(model: torch.nn.Module) -> None:
    """Gives every norm a share in the sound: fresh ones are neutral, and hide a wrong folding."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(0.0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.uniform_(0.8, 1.2)
                module.bias.normal_(0.0, 0.1)
            elif isinstance(gain := getattr(module, "weight_g", None), torch.Tensor):
                gain.mul_(torch.empty_like(gain).uniform_(0.8, 1.2))
        # As drawn, the attention is nearly uniform and the vocoder hums its biases whatever it is
        # given: of another text or frame only 3 % of the sound would tell.
        generator: Any = model.get_submodule("generator")
        generator["text2mel"].dec.att.gvec.weight.mul_(8.0)
        for module in generator["vocoder"].modules():
            if isinstance(bias := getattr(module, "bias", None), torch.Tensor):
                bias.mul_(0.1)


def _level(model: torch.nn.Module) -> None:
    """Brings the output to _LOUDNESS around zero, through the layer before the last tanh."""
    generator: Any = model.get_submodule("generator")
    last = generator["vocoder"].output_conv[1]
    tokens = torch.tensor([TOKENS.index("<space>" if one == " " else one) for one in _SENTENCE])
    xvector = torch.randn(XVECTOR_VALUES)
    with torch.no_grad():
        mel = generator["text2mel"].inference(tokens, spembs=xvector, maxlenratio=6.0)["feat_gen"]
        last.bias.zero_()
        for _ in range(8):
            wave = generator["vocoder"].inference(mel)
            straight = torch.atanh(wave.clamp(-0.999_999, 0.999_999))
            scale = _LOUDNESS / max(float(straight.std()), 1e-30)
            last.weight_g.mul_(scale)
            last.bias.copy_((last.bias - straight.mean()) * scale)
            if math.isclose(scale, 1.0, rel_tol=0.01):
                return
    raise RuntimeError("the random voice cannot be brought to its loudness: try another seed")


def _statistics() -> dict[str, Any]:
    """Sums over frames of log mel energies, as the trainer collects them: mean -2, deviation 0.7"""
    count, mean, deviation = 100_000.0, -2.0, 0.7
    return {
        "count": np.array(count),
        "sum": np.full(MELS, count * mean),
        "sum_square": np.full(MELS, count * (mean**2 + deviation**2)),
    }


def _ark_entry(key: str, matrix: np.ndarray) -> bytes:
    """One entry of a Kaldi archive: a float matrix in binary."""
    rows, columns = matrix.shape
    sizes = b"\x04" + struct.pack("<i", rows) + b"\x04" + struct.pack("<i", columns)
    return key.encode() + b" \0BFM " + sizes + matrix.astype("<f4").tobytes()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.voices.random_model")
    parser.add_argument("size", choices=("tiny", "full"))
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parsed = parser.parse_args()
    parsed.directory.mkdir(parents=True, exist_ok=True)
    write(parsed.directory, parsed.size, seed=parsed.seed)


if __name__ == "__main__":
    main()
