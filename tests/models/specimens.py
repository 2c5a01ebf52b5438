"""Small files that are what their names say, made without torch, numpy or kaldiio."""

import io
import random
import struct
import zipfile

NAMES = ("model.pth", "config.yaml", "spk_xvector.ark", "feats_stats.npz")


def _entry(name: str) -> zipfile.ZipInfo:
    """A member of no date: the same specimen is the same bytes a second later."""
    return zipfile.ZipInfo(name)


def torch_zip(size: int = 40_000, seed: int = 1) -> bytes:
    """What torch.save writes: a stored zip with data.pkl and the storages."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_entry("model/data.pkl"), b"\x80\x02}q\x00.")
        archive.writestr(_entry("model/data/0"), random.Random(seed).randbytes(size))
        archive.writestr(_entry("model/version"), b"3\n")
    return made.getvalue()


def npz(seed: int = 1) -> bytes:
    made = io.BytesIO()
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (80,), }".ljust(117) + "\n"
    with zipfile.ZipFile(made, "w") as archive:
        for name in ("count", "sum"):
            body = random.Random(seed).randbytes(320)
            data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + body
            archive.writestr(_entry(f"{name}.npy"), data)
    return made.getvalue()


def ark(entries: int = 5, width: int = 192, seed: int = 1) -> bytes:
    """Vectors of floats, as Kaldi writes them."""
    numbers = random.Random(seed)
    return b"".join(
        b"voice%d " % index
        + b"\0BFV \x04"
        + struct.pack("<i", width)
        + numbers.randbytes(4 * width)
        for index in range(entries)
    )


def ark_matrix(rows: int = 1, columns: int = 192) -> bytes:
    shape = b"\x04" + struct.pack("<i", rows) + b"\x04" + struct.pack("<i", columns)
    return b"dmytro " + b"\0BFM " + shape + bytes(4 * rows * columns)


CONFIG = (
    "token_list:\n- <blank>\n- <unk>\n- о\ntts: joint_text2wav\ntts_conf:\n  odim: 80\n".encode()
)
PAGE = b"<!DOCTYPE html>\n<html><body>Sign in to continue</body></html>\n"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 446000000\n"


def voice(seed: int = 1, size: int = 40_000) -> dict[str, bytes]:
    """The four files of a voice."""
    return {
        "model.pth": torch_zip(size, seed),
        "config.yaml": CONFIG,
        "spk_xvector.ark": ark(seed=seed),
        "feats_stats.npz": npz(seed),
    }
