"""The four files of the voice: found, recognised for what they are, and read but for the weights.

A download that was cut off, a proxy's error page or two files swapped would otherwise come to light
inside torch, in words that help nobody. Nothing here imports torch.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from services.tts.engine import VOICES, EngineError, NotInstalledError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

MODEL: Final = "model.pth"
CONFIG: Final = "config.yaml"
SPEAKERS: Final = "spk_xvector.ark"
STATISTICS: Final = "feats_stats.npz"

_TORCH: Final = "a torch model"
_OLD_TORCH: Final = "a torch model in the format of before torch 1.6"
_NUMPY: Final = "a NumPy archive"
_KALDI: Final = "a Kaldi archive"
_TEXT: Final = "a text"

_EXPECTED: Final = {MODEL: _TORCH, CONFIG: _TEXT, SPEAKERS: _KALDI, STATISTICS: _NUMPY}
"""The last one is read by espnet's own loader alone. It is wanted all the same: where it is missing
or something else, the others are of a fetch that went wrong too."""

_OLD_TORCH_MAGIC: Final = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_KALDI_ENTRY: Final = re.compile(rb"[^\s\0]+ \0B[FDC]")
_HEAD_BYTES: Final = 512
_SMALL_FILE_BYTES: Final = 4 << 20
"""Most that a file which is read whole may have; the real ones are below 20 KB."""

_MELS: Final = 80
"""espnet's default."""

_FETCH: Final = "run `./atlasctl models fetch`"
_FETCH_AGAIN: Final = "remove it and run `./atlasctl models fetch`"


@dataclass(frozen=True, slots=True)
class VoiceFiles:
    """What the files say, but for the weights."""

    weights: Path
    tokens: tuple[str, ...]
    """The tokens of the model, in the order of their numbers; the last ends a sentence."""
    conf: Mapping[str, Any]
    """`tts_conf`: what the model is built from."""
    mels: int
    sample_rate: int
    """In Hz."""
    speakers: Mapping[str, npt.NDArray[np.float32]]
    """The x-vector of each voice, shape (values,)."""
    fingerprint: str
    """Changes with every bit of the files that is heard; 16 hex digits."""


def read(directory: Path) -> VoiceFiles:
    """Reads the voice in a directory, in about 0.1 s whatever the size of the weights.

    Raises EngineError that names the file, what is wrong with it and what to do.
    """
    missing = [name for name in _EXPECTED if not (directory / name).is_file()]
    if len(missing) == len(_EXPECTED):
        remedy = "run `make neural`, which fetches it"
        raise NotInstalledError(f"there is no neural voice in {directory}: {remedy}", remedy=remedy)
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise _failure(f"{', '.join(missing)} {verb} missing in {directory}", _FETCH)
    for name, expected in _EXPECTED.items():
        _recognise(directory / name, expected)
    conf = _configuration(directory / CONFIG)
    speakers = _speakers(directory / SPEAKERS, values=conf.speaker_values)
    return VoiceFiles(
        weights=directory / MODEL,
        tokens=conf.tokens,
        conf=conf.model,
        mels=conf.mels,
        sample_rate=conf.sample_rate,
        speakers=speakers,
        fingerprint=_fingerprint(directory),
    )


def _failure(why: str, remedy: str) -> EngineError:
    return EngineError(f"{why}: {remedy}", remedy=remedy)


def _recognise(path: Path, expected: str) -> None:
    try:
        found = _kind(path)
    except OSError as error:
        raise _failure(f"{path} cannot be read ({error.strerror})", "check its rights") from error
    if found == expected:
        return
    hint = "; were two files swapped?" if found in _EXPECTED.values() else ""
    raise _failure(f"{path} is {found}, and {expected} is expected{hint}", _FETCH_AGAIN)


def _kind(path: Path) -> str:
    """What a file is by its content, in words."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        return "empty"
    if head.startswith(b"PK\x03\x04"):
        return _kind_of_zip(path)
    if head.startswith(_OLD_TORCH_MAGIC):
        return _OLD_TORCH
    if _KALDI_ENTRY.match(head):
        return _KALDI
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<!--")):
        return "an HTML page, as a proxy or a server sends instead of a file"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the file that it stands for"
    if start.startswith(b'{"'):
        return "a JSON document"
    # A character may be cut at the end of what was read.
    if b"\0" not in head and "\ufffd" not in head[:-3].decode("utf-8", "replace")[:-1]:
        return _TEXT
    return "of a kind that is not known"


def _kind_of_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return f"cut short (its end is missing after {path.stat().st_size} bytes)"
    if any(name.endswith("/data.pkl") for name in names):
        return _TORCH
    if names and all(name.endswith(".npy") for name in names):
        return _NUMPY
    return "a ZIP archive of something else"


@dataclass(frozen=True, slots=True)
class _Configuration:
    tokens: tuple[str, ...]
    model: dict[str, Any]
    mels: int
    sample_rate: int
    speaker_values: int


def _configuration(path: Path) -> _Configuration:
    import yaml

    try:
        document = yaml.safe_load(_small(path).decode("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = " ".join(str(error).split())[:120]
        raise _failure(f"{path} is no YAML ({line}); is it cut short?", _FETCH_AGAIN) from error
    if not isinstance(document, dict) or "token_list" not in document:
        raise _failure(f"{path} is not the configuration of a model: no token_list", _FETCH_AGAIN)
    try:
        return _understood(document)
    except (KeyError, TypeError, ValueError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise _failure(
            f"{path} is not of a voice like ukrainian-tts v6.0.0 ({what})", _FETCH_AGAIN
        ) from error


def _understood(document: Mapping[str, Any]) -> _Configuration:
    """Raises KeyError, TypeError or ValueError for a model that is read or built in another way."""
    for name, wanted in (
        ("tts", "joint_text2wav"),
        ("token_type", "char"),
        ("cleaner", None),
        ("g2p", None),
    ):
        if document.get(name) != wanted:
            raise ValueError(f"{name} is {document.get(name)!r} instead of {wanted!r}")
    tokens = tuple(document["token_list"])
    if not tokens or len(set(tokens)) < len(tokens) or not all(isinstance(t, str) for t in tokens):
        raise ValueError("token_list is no list of different strings")
    model = dict(document["tts_conf"])
    features = document["feats_extract_conf"]
    odim = document.get("odim")
    return _Configuration(
        tokens=tokens,
        model=model,
        mels=int(features.get("n_mels", _MELS) if odim is None else odim),
        sample_rate=int(features["fs"]),
        speaker_values=int(model["text2mel_params"]["spk_embed_dim"]),
    )


def _speakers(path: Path, *, values: int) -> dict[str, npt.NDArray[np.float32]]:
    import io

    import kaldiio
    import numpy as np

    try:
        # Each entry is a matrix of one row, or one vector.
        entries = {
            key: np.atleast_2d(np.asarray(value, dtype=np.float32))[0].copy()
            for key, value in kaldiio.load_ark(io.BytesIO(_small(path)))
        }
    except Exception as error:
        # Any exception at all comes out of it: of struct, numpy, int() and its own.
        raise _failure(
            f"{path} is damaged or cut short ({type(error).__name__}: {error})", _FETCH_AGAIN
        ) from error
    absent = [voice for voice in VOICES if voice not in entries]
    if absent:
        raise _failure(f"{path} lacks the voices {', '.join(absent)}", _FETCH_AGAIN)
    speakers = {voice: entries[voice] for voice in VOICES}
    for voice, vector in speakers.items():
        if vector.shape != (values,) or not np.isfinite(vector).all():
            raise _failure(f"{path} has no vector of {values} numbers for {voice}", _FETCH_AGAIN)
    return speakers


def _small(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(_SMALL_FILE_BYTES + 1)
    if len(content) > _SMALL_FILE_BYTES:
        raise _failure(f"{path} is over {_SMALL_FILE_BYTES >> 20} MiB", _FETCH_AGAIN)
    return content


def _fingerprint(directory: Path) -> str:
    digest = hashlib.sha256()
    for name in (CONFIG, SPEAKERS):
        digest.update(hashlib.sha256(_small(directory / name)).digest())
    # The archive's own list has length and CRC of every tensor: what changes a weight changes it,
    # and 446 MB need not be read.
    with zipfile.ZipFile(directory / MODEL) as archive:
        for member in archive.infolist():
            digest.update(f"{member.filename} {member.file_size} {member.CRC}\n".encode())
    return digest.hexdigest()[:16]
