"""Phrases are kept within bounds, come back as they were, and are never needed."""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from services.tts.cache import PhraseCache, key
from services.tts.engine import Utterance
from tests.tts.doubles import tone

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1024 * 1024
SOUND = tone(0.1, 200.0)
SIZE = SOUND.nbytes


def name(
    sentence: str, *, fingerprint: str = "voice", voice: str = "dmytro", speed: float = 1.0
) -> str:
    return key(fingerprint, Utterance(sentence, voice, speed))


def put(cache: PhraseCache, *sentences: str) -> None:
    for sentence in sentences:
        cache.put(name(sentence), SOUND.copy())


def kept(cache: PhraseCache, *sentences: str) -> list[bool]:
    return [cache.get(name(sentence)) is not None for sentence in sentences]


def test_everything_that_changes_the_sound_is_in_the_key() -> None:
    keys = {
        name("раз"),
        name("два"),
        name("раз", fingerprint="other"),
        name("раз", voice="lada"),
        name("раз", speed=1.1),
    }
    assert len(keys) == 5
    assert name("раз") == name("раз")


def test_what_was_put_comes_back_and_cannot_be_changed() -> None:
    cache = PhraseCache()
    cache.put(name("раз"), SOUND.copy())
    back = cache.get(name("раз"))
    assert back is not None
    assert np.array_equal(back, SOUND)
    with pytest.raises(ValueError, match="read-only"):
        back *= 2
    assert cache.get(name("два")) is None
    assert cache.stats().hits == 1


def test_memory_is_bounded_and_drops_what_was_used_longest_ago() -> None:
    cache = PhraseCache(memory_bytes=2 * SIZE)
    put(cache, "раз", "два")
    assert kept(cache, "раз") == [True]
    put(cache, "три")
    assert kept(cache, "раз", "два", "три") == [True, False, True]
    cache.put(name("завелике"), tone(1.0, 200.0))
    assert kept(cache, "раз", "три", "завелике") == [True, True, False]
    assert cache.stats().memory_bytes == 2 * SIZE
    put(cache, "раз", "раз")
    assert cache.stats().memory_bytes == 2 * SIZE


def test_a_phrase_outlives_the_process(tmp_path: Path) -> None:
    put(PhraseCache(tmp_path / "new" / "folder", disk_bytes=MIB), "раз")
    cache = PhraseCache(tmp_path / "new" / "folder", disk_bytes=MIB)
    assert cache.stats().disk_bytes == SIZE + 12
    back = cache.get(name("раз"))
    assert back is not None
    assert np.array_equal(back, SOUND)
    assert back.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        back *= 2


def test_no_text_can_be_read_from_the_folder(tmp_path: Path) -> None:
    put(PhraseCache(tmp_path, disk_bytes=MIB), "таємниця")
    (file,) = tmp_path.iterdir()
    assert "таємниця".encode() not in file.read_bytes()
    assert len(file.stem) == 64


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        flip,
        lambda path: os.truncate(path, 100),
        lambda path: os.truncate(path, 0),
        lambda path: path.write_bytes(b"<!doctype html>" * 1000),
        lambda path: path.write_bytes(path.read_bytes() + bytes(4)),
        lambda path: path.unlink(),
    ],
    ids=["a bit", "cut", "empty", "another file", "longer", "gone"],
)
def test_a_damaged_file_is_dropped_and_made_again(tmp_path: Path, damage: object) -> None:
    put(PhraseCache(tmp_path, disk_bytes=MIB), "раз")
    cache = PhraseCache(tmp_path, disk_bytes=MIB)
    (file,) = tmp_path.iterdir()
    assert callable(damage)
    damage(file)
    assert kept(cache, "раз") == [False]
    assert not file.exists()
    assert cache.stats().disk_bytes == 0
    put(cache, "раз")
    assert kept(PhraseCache(tmp_path, disk_bytes=MIB), "раз") == [True]


def test_the_disk_is_bounded_and_drops_what_was_used_longest_ago(tmp_path: Path) -> None:
    cache = PhraseCache(tmp_path, memory_bytes=0, disk_bytes=5 * (SIZE + 12))
    put(cache, "а", "б", "в", "г", "ґ")
    for at, sentence in enumerate("абвгґ"):
        file = tmp_path / f"{name(sentence)}.phrase"
        os.utime(file, (at, at))
    assert kept(cache, "а") == [True]
    put(cache, "д")
    assert kept(cache, *"абвгґд") == [True, False, False, True, True, True]
    assert cache.stats().disk_bytes == 4 * (SIZE + 12)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) == 4 * (SIZE + 12)


def test_two_servers_on_one_folder_keep_to_the_bound_and_see_what_is_there(tmp_path: Path) -> None:
    one = PhraseCache(tmp_path, memory_bytes=0, disk_bytes=6 * (SIZE + 12))
    other = PhraseCache(tmp_path, memory_bytes=0, disk_bytes=6 * (SIZE + 12))
    for at in range(30):
        put(one if at % 2 else other, f"речення {at}")
        # What is written within 4 ms has one time, on most kernels: no file would be the oldest.
        os.utime(tmp_path / f"{name(f'речення {at}')}.phrase", (at, at))
    assert len(list(tmp_path.iterdir())) <= 12
    assert kept(one, "речення 29") == [True]
    assert kept(other, "речення 28") == [True]


def test_files_of_others_are_left_alone_and_broken_writes_are_swept_up(tmp_path: Path) -> None:
    (tmp_path / "mine.phrase").write_bytes(b"x" * SIZE)
    (tmp_path / "mine.tmp").write_bytes(b"x")
    old, new = tmp_path / f"{'a' * 64}.1.tmp", tmp_path / f"{'b' * 64}.2.tmp"
    for file in (tmp_path / "mine.tmp", old, new):
        file.write_bytes(b"x")
    hours_ago = time.time() - 7200
    for file in (tmp_path / "mine.tmp", old):
        os.utime(file, (hours_ago, hours_ago))
    cache = PhraseCache(tmp_path, memory_bytes=0, disk_bytes=2 * (SIZE + 12))
    put(cache, "раз", "два", "три")
    assert {"mine.phrase", "mine.tmp", new.name} < {file.name for file in tmp_path.iterdir()}
    assert not old.exists()


def test_a_disk_that_takes_nothing_is_told_of_once_and_memory_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    cache = PhraseCache(tmp_path / "file", disk_bytes=MIB)
    with caplog.at_level(logging.WARNING):
        put(cache, "раз", "два")
    assert kept(cache, "раз", "два") == [True, True]
    assert len(caplog.records) == 1
    assert "phrases are not kept" in caplog.text


def test_a_failed_write_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    cache = PhraseCache(tmp_path, disk_bytes=MIB)
    put(cache, "раз")
    assert list(tmp_path.iterdir()) == []
    assert kept(cache, "раз") == [True]
