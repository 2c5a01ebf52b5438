"""Whatever is wrong with the four files is told by the file's name, before torch sees it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import yaml

from services.tts.engine import VOICES, EngineError
from services.tts.engines.ukrainian import files

if TYPE_CHECKING:
    from collections.abc import Callable

HTML = b"<!DOCTYPE html>\n<html><body>Sign in to the network</body></html>\n"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 446096747\n"


@pytest.fixture
def voice(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "voice"))


def complaint(directory: Path) -> EngineError:
    with pytest.raises(EngineError) as raised:
        files.read(directory)
    assert raised.value.remedy
    assert raised.value.remedy in str(raised.value)
    return raised.value


def test_a_whole_voice_is_read(tiny: Path) -> None:
    read = files.read(tiny)
    assert len(read.tokens) == 48
    assert read.tokens[-1] == "<sos/eos>"
    assert (read.sample_rate, read.mels) == (22_050, 80)
    assert read.conf["text2mel_type"] == "tacotron2"
    assert set(read.speakers) == set(VOICES)
    assert all(vector.shape == (192,) for vector in read.speakers.values())
    assert len({vector.tobytes() for vector in read.speakers.values()}) == len(VOICES)


@pytest.mark.parametrize("name", [files.MODEL, files.CONFIG, files.SPEAKERS, files.STATISTICS])
def test_a_missing_file_is_named(voice: Path, name: str) -> None:
    (voice / name).unlink()
    error = complaint(voice)
    assert f"{name} is missing in {voice}" in str(error)
    assert "atlasctl models fetch" in str(error.remedy)


def test_two_missing_files_are_named_together(voice: Path) -> None:
    (voice / files.MODEL).unlink()
    (voice / files.SPEAKERS).unlink()
    assert f"{files.MODEL}, {files.SPEAKERS} are missing" in str(complaint(voice))


def test_where_there_is_nothing_it_says_how_to_begin(tmp_path: Path) -> None:
    error = complaint(tmp_path / "nowhere")
    assert "there is no neural voice in" in str(error)
    assert "make neural" in str(error.remedy)


def cut(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


def swap(one: Path, other: Path) -> None:
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def change(path: Path, **values: object) -> None:
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump({**document, **values}, allow_unicode=True), encoding="utf-8")


def without_a_voice(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"lada \0B", b"nina \0B"))


def with_infinity(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4] + np.float32(np.inf).tobytes())


@pytest.mark.parametrize(
    ("name", "harm", "told"),
    [
        (files.MODEL, lambda path: path.write_bytes(HTML), "an HTML page"),
        (files.MODEL, lambda path: path.write_bytes(b'{"message": "Not Found"}'), "a JSON"),
        (files.MODEL, lambda path: path.write_bytes(LFS), "a Git LFS pointer"),
        (files.MODEL, lambda path: path.write_bytes(b""), "is empty"),
        (files.MODEL, lambda path: path.write_bytes(b"\0" * 4096), "not known"),
        (files.MODEL, lambda path: cut(path, 0.99), "cut short"),
        (files.MODEL, lambda path: cut(path, 0.3), "cut short"),
        (files.MODEL, lambda path: swap(path, path.parent / files.STATISTICS), "swapped"),
        (files.CONFIG, lambda path: path.write_bytes(HTML), "an HTML page"),
        (files.CONFIG, lambda path: swap(path, path.parent / files.SPEAKERS), "swapped"),
        (files.CONFIG, lambda path: path.write_text("some: thing\n"), "no token_list"),
        (files.CONFIG, lambda path: path.write_text("a: [1,\n"), "no YAML"),
        (files.CONFIG, lambda path: path.write_bytes(b"a: b\n" * (1 << 20)), "over 4 MiB"),
        (files.CONFIG, lambda path: change(path, tts="vits"), "tts is 'vits'"),
        (files.CONFIG, lambda path: change(path, g2p="pyopenjtalk"), "g2p is"),
        (files.CONFIG, lambda path: change(path, token_list=["a", "a"]), "token_list"),
        (files.CONFIG, lambda path: change(path, token_list=7), "not iterable"),
        (files.CONFIG, lambda path: change(path, tts_conf={}), "text2mel_params"),
        (files.SPEAKERS, lambda path: path.write_bytes(HTML), "an HTML page"),
        (files.SPEAKERS, lambda path: cut(path, 0.5), "damaged or cut short"),
        (files.SPEAKERS, without_a_voice, "lacks the voices lada"),
        (files.SPEAKERS, with_infinity, "no vector of 192 numbers for oleksa"),
        (files.STATISTICS, lambda path: path.write_bytes(HTML), "an HTML page"),
        (files.STATISTICS, lambda path: cut(path, 0.5), "cut short"),
    ],
)
def test_a_damaged_file_is_recognised(
    voice: Path, name: str, harm: Callable[[Path], object], told: str
) -> None:
    harm(voice / name)
    error = complaint(voice)
    assert str(voice / name) in str(error)
    assert told in str(error)


def test_what_is_heard_changes_the_fingerprint_and_nothing_else_does(
    tiny: Path, voice: Path
) -> None:
    before = files.read(tiny).fingerprint
    assert files.read(voice).fingerprint == before
    np.savez(voice / files.STATISTICS, count=1, sum=2, sum_square=3)
    assert files.read(voice).fingerprint == before
    change(voice / files.CONFIG, version="another")
    assert files.read(voice).fingerprint != before


def test_another_weight_is_another_fingerprint(tiny: Path, voice: Path) -> None:
    import torch

    state = torch.load(voice / files.MODEL, weights_only=True)
    next(iter(state.values())).view(-1)[0] += 1
    torch.save(state, voice / files.MODEL)
    assert files.read(voice).fingerprint != files.read(tiny).fingerprint


def test_torch_is_not_imported_to_look_at_files(tiny: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from services.tts.engines.ukrainian import files; "
        "files.read(Path(sys.argv[1])); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script, str(tiny)], check=True, timeout=60)
