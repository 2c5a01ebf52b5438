"""What a file is, whatever it is called: a table of what goes wrong with downloads."""

from pathlib import Path

import pytest

from supervisor.models.inspection import fault
from tests.models import specimens
from tests.models.specimens import CONFIG, PAGE, POINTER, ark, ark_matrix, npz, torch_zip

LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."
MODEL = torch_zip()
STATS = npz()


def found(folder: Path, name: str, body: bytes) -> str | None:
    (folder / name).write_bytes(body)
    return fault(str(folder / name), name)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        *specimens.voice().items(),
        ("old.pt", LEGACY),
        ("matrix.ark", ark_matrix()),
        ("text.ark", b"dmytro  [ 0.1 0.2 ]\n"),
        ("compressed.ark", b"dmytro \0BCM " + bytes(40)),
        ("bom.yaml", b"\xef\xbb\xbf" + CONFIG),
        ("flow.yaml", b'{"token_list": ["a"], "deep": {"token_list": 1}}'),
        ("vocab.json", b'{"a": 1}'),
        ("page.html", PAGE),
        ("notes.txt", b"anything"),
        ("weights.safetensors", b"\x10\0\0\0\0\0\0\0" + b'{"a":1}         '),
    ],
)
def test_what_is_sound(tmp_path: Path, name: str, body: bytes) -> None:
    assert found(tmp_path, name, body) is None


DAMAGED = bytearray(STATS)
DAMAGED[STATS.index(b"shape") + 120] ^= 0xFF


@pytest.mark.parametrize(
    ("name", "body", "words"),
    [
        ("model.pth", b"", "is empty"),
        ("model.pth", PAGE, "is a web page"),
        ("model.pth", b"\xef\xbb\xbf\n  <HTML>", "is a web page"),
        ("model.pth", POINTER, "is a pointer of Git LFS"),
        ("model.pth", b'{"message": "Not Found"}', 'is JSON, not a model file: {"message"'),
        ("model.pth", b"Not Found", "is not a file of PyTorch, but text: Not Found"),
        ("model.pth", STATS, "holds arrays of NumPy, not a model: were two files swapped?"),
        ("model.pth", ark(), "is not a file of PyTorch, but an ark of Kaldi"),
        ("model.pth", CONFIG, "is not a file of PyTorch, but text: token_list"),
        ("model.pth", MODEL[:-1], "is cut off"),
        ("model.pth", MODEL[: len(MODEL) // 2], "is cut off"),
        ("model.pth", MODEL[:20], "is cut off"),
        ("model.pth", MODEL[:3000] + MODEL[4000:], "is damaged: a part of it is missing"),
        ("model.pth", b"\0" * 5000, "is not a file of PyTorch"),
        ("feats_stats.npz", MODEL, "is a model of PyTorch, not arrays of NumPy"),
        ("feats_stats.npz", STATS[:-30], "is cut off"),
        ("feats_stats.npz", bytes(DAMAGED), "is damaged"),
        ("feats_stats.npz", PAGE, "is a web page"),
        ("feats_stats.npz", LEGACY, "is not an .npz of NumPy, but a model or arrays"),
        ("spk_xvector.ark", ark()[:-1], "is cut off in the middle of a vector"),
        ("spk_xvector.ark", ark()[:10], "is cut off in the middle of a vector"),
        ("spk_xvector.ark", ark() + b"x", "is damaged"),
        ("spk_xvector.ark", MODEL, "is not an ark of Kaldi, but a model or arrays"),
        ("spk_xvector.ark", b"dmytro \0BXX 12345678", "is damaged"),
        ("spk_xvector.ark", b"a \0BFV \x04\xff\xff\xff\xff", "is damaged: it gives an impossible"),
        ("config.yaml", MODEL, "is not YAML but binary"),
        ("config.yaml", b"a: [1, 2", "is not valid YAML at line"),
        ("config.yaml", b"tts: joint\n", "it has no token_list"),
        ("config.yaml", b"tts: {token_list: [a]}\n", "it has no token_list"),
        ("config.yaml", b"token_list: a\n", "it has no token_list"),
        ("config.yaml", b"- token_list\n- [a]\n", "it has no token_list"),
        ("config.yaml", b"? [token_list]\n: [a]\n", "it has no token_list"),
        ("config.yaml", PAGE, "is a web page"),
        ("config.yaml", b"[" * 100_000, "is not valid YAML"),
        ("other.bin", PAGE, "is a web page"),
    ],
)
def test_what_is_not(tmp_path: Path, name: str, body: bytes, words: str) -> None:
    said = found(tmp_path, name, body)
    assert said is not None
    assert said.startswith(words) or words in said, said


def test_without_libyaml_it_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import yaml

    monkeypatch.setattr(yaml, "__with_libyaml__", False)
    assert found(tmp_path, "config.yaml", CONFIG) is None
    assert "token_list" in (found(tmp_path, "config.yaml", b"a: 1") or "")


def test_every_cut_of_a_model_is_seen(tmp_path: Path) -> None:
    small = torch_zip(300)
    for end in range(1, len(small)):
        assert found(tmp_path, "model.pth", small[:end]) is not None, end


def test_every_cut_of_an_ark_is_seen_but_between_two_voices(tmp_path: Path) -> None:
    whole = ark(2, 3)
    sound = [end for end in range(1, len(whole)) if found(tmp_path, "x.ark", whole[:end]) is None]
    assert sound == [len(whole) // 2]
