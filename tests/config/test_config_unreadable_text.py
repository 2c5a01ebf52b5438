"""Bytes that are no YAML document: what is said, and where."""

import os
from pathlib import Path

import pytest

from supervisor.config import ConfigError
from supervisor.config.compile import compile_bytes, compile_file
from supervisor.config.document import MAX_BYTES

GOOD = b"version: 1\nservices: {a: {command: [x]}}\n"


def _one_problem(data: bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        compile_bytes(data, "/nowhere/services.yaml", {})
    assert len(caught.value.problems) == 1
    return str(caught.value).removeprefix("/nowhere/services.yaml:")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (GOOD + b"# \xff\n", "3:3: byte 0xff is not UTF-8"),
        ("# тест\n# т".encode() + b"\xd1", "2:4: byte 0xd1 is not UTF-8"),
        (GOOD + b"# a\x00b\n", "3:4: the character U+0000 may not stand here"),
        (GOOD + b"a: \x1b[0m\n", "3:4: the character U+001B may not stand here"),
        (GOOD + "x: \ufeff".encode(), "3:4: a byte order mark may not stand here"),
        (GOOD.decode().encode("utf-16"), "1:1: the file is UTF-16"),
        (b"\n" * (MAX_BYTES + 1), " larger than 1024 KiB"),
        (b"[" * 500, "1:34: nested more than 32 deep"),
        (b"[" * 5000, "1:1001: nested more than 32 deep"),
        (b"a: " + b"{a: " * 100 + b"}" * 100, "1:129: nested more than 32 deep"),
        (
            b"%TAG ! tag:x,2000:\n---\nversion: 1\nversion: 1\nservices: {}\n",
            "4:1 version: given twice",
        ),
        (b"%YAML 3.0\n---\nversion: 1\n", "1:1: not YAML here"),
        (b"version: 1\nservices: {}\n...\n...\nx", "5:1: not YAML from here"),
        (b"a: 'x\nb: 1\n", "1:4: a quote is opened and never closed"),
        (b"- - - a\n - b", "2:2: not YAML from here"),
        (b"? a\n: b\n? [c]\n: d\nversion: 1\nservices: {}\n", "1:3 a: 'a' is not a known key"),
    ],
    ids=range(16),
)
def test_bytes_that_are_not_a_document(data: bytes, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compile_bytes(data, "/nowhere/services.yaml", {})
    assert str(caught.value).removeprefix("/nowhere/services.yaml:").startswith(said)


def test_utf8_byte_order_mark_and_windows_line_ends_are_accepted() -> None:
    text = b"\xef\xbb\xbfversion: 1\r\nroot: sub\r\nservices: {a: {command: [x]}}\r\n"
    assert compile_bytes(text, "/nowhere/services.yaml", {}).root == "/nowhere/sub"


def test_billion_laughs_costs_no_more_than_its_text() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    said = _one_problem("\n".join(lines).encode())
    assert "more than 200000 values once aliases are followed" in said


def test_an_alias_stands_for_its_value() -> None:
    text = b"""version: 1
services:
  a: {command: [x], env: &env {A: one}, stop: &stop {timeout: 3s}}
  b: {command: [y], env: *env, stop: *stop}
"""
    fleet = compile_bytes(text, "/nowhere/services.yaml", {})
    assert [service.env for service in fleet.services] == [{"A": "one"}] * 2
    assert [service.stop.timeout for service in fleet.services] == [3.0, 3.0]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path, said in [
        (tmp_path / "missing.yaml", "does not exist"),
        (tmp_path, "is a directory"),
        (fifo, "it is not a regular file"),
        (Path("/dev/zero"), "it is not a regular file"),
        (Path("x\0y"), "its name holds a NUL"),
    ]:
        with pytest.raises(ConfigError, match=said):
            compile_file(str(path), {})


def test_a_file_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "services.yaml"
    path.write_bytes(GOOD)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(ConfigError, match="may not be read by this user"):
        compile_file(str(path), {})


def test_a_thousand_errors_are_cut_to_fifty_and_counted() -> None:
    text = "version: 1\nservices:\n" + "".join(f"  s{n}: {{comand: x}}\n" for n in range(1000))
    with pytest.raises(ConfigError) as caught:
        compile_bytes(text.encode(), "/nowhere/services.yaml", {})
    lines = str(caught.value).splitlines()
    assert len(lines) == 51
    assert lines[-1] == "… and 1950 more"


def test_more_than_a_thousand_services() -> None:
    text = "version: 1\nservices:\n" + "".join(f"  s{n}: {{command: x}}\n" for n in range(1001))
    assert "has 1001 services" in _one_problem(text.encode())


def test_a_long_cycle_is_shown_in_part() -> None:
    lines = [f"  s{n}: {{command: [x], depends_on: [s{(n + 1) % 300}]}}" for n in range(300)]
    said = _one_problem(("version: 1\nservices:\n" + "\n".join(lines)).encode())
    assert "s0 → s1 → s2" in said
    assert "… 291 more … → s0" in said


def test_a_command_of_too_many_words() -> None:
    text = "version: 1\nservices: {a: {command: '" + "x " * 5000 + "'}}"
    assert "has 5000 words; 4096 are the most" in _one_problem(text.encode())
