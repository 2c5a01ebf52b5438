"""Whether a file is what its name says, without loading it: no torch, no numpy, no unpickling.

Downloads go wrong in a few known ways: a web page of a proxy or a login, an error as JSON, a
pointer of Git LFS, half a file, two files swapped. Each is told here in words, before a model
server meets it as a stack trace.
"""

import os
import re
import struct
import zipfile
from collections.abc import Callable, Iterable
from typing import BinaryIO

HEAD = 4096
MAX_YAML = 4 * 1024 * 1024
MAX_MEMBERS = 100_000
"""Of a zip or an ark. A model of v6.0.0 has 1,900."""
_CRC_UP_TO = 64 * 1024 * 1024
"""Bytes of an .npz that are read whole; statistics of features are a few kilobytes."""

# The number 0x1950a86a20f9469cfc6c, pickled: how torch.save began files before torch 1.6.
_LEGACY_TORCH = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_ZIP = b"PK\x03\x04"
_MARKUP = re.compile(rb"\s*<(?:!doctype|html|head|body|\?xml)", re.IGNORECASE)
_LFS = b"version https://git-lfs.github.com/spec/"
_BOM = b"\xef\xbb\xbf"
_TEXT_SUFFIXES = (".html", ".htm", ".xml", ".json", ".svg")


def fault(path: str, name: str) -> str | None:
    """Return what is wrong with the file at `path`, which is to be called `name`; None if nothing.

    Raises OSError if it cannot be read.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            return "is empty"
        head = file.read(HEAD)
        suffix = os.path.splitext(name)[1].lower()
        if suffix not in _TEXT_SUFFIXES and (found := foreign(head, suffix)):
            return found
        check = _CHECKS.get(suffix)
        return check(file, head, size) if check else None


def foreign(head: bytes, suffix: str) -> str | None:
    """Return what a server sent instead of a file, told by its first bytes; None if nothing."""
    text = head.removeprefix(_BOM)
    if _MARKUP.match(text):
        return "is a web page, not a model file (of a proxy, or of a login?)"
    if text.startswith(_LFS):
        return "is a pointer of Git LFS, not the file itself"
    if suffix not in (".yaml", ".yml") and re.match(rb'\s*\{\s*"', text):
        return f"is JSON, not a model file: {_quoted(text)}"
    return None


def _quoted(text: bytes) -> str:
    words = " ".join(text[:200].decode("utf-8", "replace").split())
    return words if len(words) <= 80 else words[:79] + "…"


def _torch(file: BinaryIO, head: bytes, size: int) -> str | None:
    if head.startswith(_LEGACY_TORCH):
        return None
    if not head.startswith(_ZIP):
        return f"is not a file of PyTorch{_likeness(head)}"
    names, found = _members(file, size)
    if names is None:
        return found
    if any(name.rpartition("/")[2] == "data.pkl" for name in names):
        return None
    if any(name.endswith(".npy") for name in names):
        return "holds arrays of NumPy, not a model: were two files swapped?"
    return "is a zip archive, but not one of PyTorch"


def _npz(file: BinaryIO, head: bytes, size: int) -> str | None:
    if not head.startswith(_ZIP):
        return f"is not an .npz of NumPy{_likeness(head)}"
    names, found = _members(file, size)
    if names is None:
        return found
    if any(name.rpartition("/")[2] == "data.pkl" for name in names):
        return "is a model of PyTorch, not arrays of NumPy: were two files swapped?"
    if not names or not all(name.endswith(".npy") for name in names):
        return "is a zip archive, but not one of NumPy"
    if size > _CRC_UP_TO:
        return None
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
            with archive.open(names[0]) as member:
                magic = member.read(6)
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError) as error:
        return f"is damaged: {error}"
    if damaged is not None:
        return f"is damaged: {damaged} has a wrong checksum"
    return None if magic == b"\x93NUMPY" else "holds members that are not arrays of NumPy"


def _members(file: BinaryIO, size: int) -> tuple[list[str] | None, str]:
    """Return the names in a zip, or None and what is wrong with it."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            if len(entries) > MAX_MEMBERS:
                return None, f"has {len(entries)} members: more than any model"
            # The list of members is at the end, and each begins with a mark of its own: a file that
            # lost a piece from its middle has the list, and the marks elsewhere.
            for entry in (entries[0], entries[-1]) if entries else ():
                at = entry.header_offset
                file.seek(max(at, 0))
                if at < 0 or file.read(4) != _ZIP or at + entry.compress_size > size:
                    return None, "is damaged: a part of it is missing"
            return [entry.filename for entry in entries], ""
    except (zipfile.BadZipFile, struct.error, EOFError, ValueError):
        return None, "is cut off: the list at the end of a zip archive is missing"
    finally:
        file.seek(0)


_ARK_KEY = re.compile(rb"[^\s\x00]{1,256} ")
_ARK_TEXT = re.compile(rb"[^\s\x00]{1,256}\s+\[[\s0-9]")
_ARK_COMPRESSED = re.compile(rb"\x00B(?:CM|CM2|CM3) ")
_ARK_BINARY = {b"FV ": (1, 4), b"DV ": (1, 8), b"FM ": (2, 4), b"DM ": (2, 8)}
"""Kaldi's vectors and matrices: how many sizes are given, and the bytes of a value."""


def _ark(file: BinaryIO, head: bytes, size: int) -> str | None:
    if _ARK_TEXT.match(head):
        return None
    file.seek(0)
    at = 0
    for _ in range(MAX_MEMBERS):
        if at == size:
            return None
        if at > size:
            return "is cut off in the middle of a vector"
        file.seek(at)
        start = file.read(280)
        key = _ARK_KEY.match(start)
        if key is None or (at == 0 and start[key.end() : key.end() + 2] != b"\0B"):
            return f"is not an ark of Kaldi{_likeness(head)}" if at == 0 else "is damaged"
        value = start[key.end() :]
        if _ARK_COMPRESSED.match(value):
            return None
        shape = _ARK_BINARY.get(value[2:5])
        if shape is None or value[:2] != b"\0B":
            return "is damaged" if len(value) > 5 else "is cut off in the middle of a vector"
        sizes, width = shape
        numbers = value[5 : 5 + 5 * sizes]
        if len(numbers) < 5 * sizes:
            return "is cut off in the middle of a vector"
        count = 1
        for index in range(sizes):
            mark, number = struct.unpack_from("<bi", numbers, 5 * index)
            if mark != 4 or number < 0:
                return "is damaged: it gives an impossible size"
            count *= number
        at += key.end() + 5 + 5 * sizes + count * width
    return f"has more than {MAX_MEMBERS} entries"


def _espnet_yaml(file: BinaryIO, head: bytes, size: int) -> str | None:
    if head.startswith(_ZIP) or b"\0" in head:
        return "is not YAML but binary: were two files swapped?"
    if size > MAX_YAML:
        return f"has {size} bytes: too many for a configuration"
    import yaml

    file.seek(0)
    loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
    try:
        # Events, not values: nothing nested is built, so no nesting can exhaust the stack.
        has_tokens = _has_token_list(yaml.parse(file.read(MAX_YAML + 1), Loader=loader))
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        return f"is not valid YAML{where}: damaged or cut off"
    return None if has_tokens else "is not an espnet model's configuration: it has no token_list"


def _has_token_list(events: Iterable[object]) -> bool:
    """Tell whether the document is a mapping with a list under `token_list`; reads all of it."""
    import yaml

    depth, at_key, awaited, found = 0, False, False, False
    for event in events:
        match event:
            case yaml.CollectionEndEvent():
                depth -= 1
            case yaml.NodeEvent() if depth == 1 and at_key:
                awaited = isinstance(event, yaml.ScalarEvent) and event.value == "token_list"
            case yaml.NodeEvent() if depth == 1 and awaited:
                found = found or isinstance(event, yaml.SequenceStartEvent)
        if isinstance(event, yaml.NodeEvent) and depth <= 1:
            at_key = isinstance(event, yaml.MappingStartEvent) if depth == 0 else not at_key
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
    return found


def _likeness(head: bytes) -> str:
    """Return what it is instead, where its beginning tells."""
    if head.startswith((_ZIP, _LEGACY_TORCH)):
        return ", but a model or arrays: were two files swapped?"
    if _ARK_KEY.match(head) and b"\0B" in head[:280]:
        return ", but an ark of Kaldi: were two files swapped?"
    if b"\0" not in head and all(byte >= 32 or byte in b"\t\r\n" for byte in head[:512]):
        return f", but text: {_quoted(head)}"
    return ""


_Check = Callable[[BinaryIO, bytes, int], "str | None"]
_CHECKS: dict[str, _Check] = {
    ".pth": _torch,
    ".pt": _torch,
    ".npz": _npz,
    ".ark": _ark,
    ".yaml": _espnet_yaml,
    ".yml": _espnet_yaml,
}
