import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.config import ConfigError
from supervisor.config.dotenv import MAX_BYTES, parse_env, read_env_file


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("A=1", "1"),
        ("export A=1", "1"),
        ("export\tA = 1 ", "1"),
        ("A=", ""),
        ("A= # nothing", ""),
        ("A=#nothing", ""),
        ("A=a#b", "a#b"),
        ("A=a b # c", "a b"),
        ("A='single # \\n $X'", "single # \\n $X"),
        ("A='x' # comment", "x"),
        ('A="double # x"', "double # x"),
        (r'A="a\nb\tc\"d\\e\$f\q"', 'a\nb\tc"d\\e$f\\q'),
        ("A=$(rm -rf /) `x` ${Y}", "$(rm -rf /) `x` ${Y}"),
        ("A=x=y", "x=y"),
        ("A=тест", "тест"),
        ("\ufeffA=1", "1"),
        ("A=1\r", "1"),
        ("A=it's", "it's"),
        ("A=1\nA=2", "2"),
        ("# A=0\n\n  \t\nA=1", "1"),
    ],
)
def test_lines(line: str, expected: str) -> None:
    assert parse_env(line.encode(), "f") == {"A": expected}


def test_every_bad_line_is_told_with_its_number() -> None:
    text = b'GOOD=1\nnonsense\n1A=x\nB=\'open\nC="x" y\nA-B=1\n=x\nD=a\x00b\nexport\n'
    with pytest.raises(ConfigError) as caught:
        parse_env(text, "file.env")
    assert str(caught.value).splitlines() == [
        "file.env:2: 'nonsense' is not KEY=VALUE; write KEY=VALUE, or # for a comment",
        "file.env:3: '1A' cannot name a variable; use letters, digits and _, not a digit first",
        "file.env:4: the quote of B is never closed; "
        "close it on the same line; for a line break write \\n in double quotes",
        "file.env:5: text after the closing quote of C; put the whole value in quotes",
        "file.env:6: 'A-B' cannot name a variable; use letters, digits and _, not a digit first",
        "file.env:7: '=x' is not KEY=VALUE; write KEY=VALUE, or # for a comment",
        "file.env:8: D holds a NUL character; no environment variable can hold one",
        "file.env:9: 'export' is not KEY=VALUE; write KEY=VALUE, or # for a comment",
    ]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    large = tmp_path / "large"
    large.write_bytes(b"#" * (MAX_BYTES + 1))
    latin = tmp_path / "latin"
    latin.write_bytes(b"A=1\nB=\xe9\n")
    for path, said in [
        (tmp_path / "missing", "does not exist"),
        (tmp_path, "cannot be read: it is a directory"),
        (fifo, "cannot be read: it is not a regular file"),
        (large, "larger than 256 KiB"),
        (latin, "latin:2: byte 0xe9 is not UTF-8"),
    ]:
        with pytest.raises(ConfigError, match=said):
            read_env_file(str(path))


@given(
    st.dictionaries(
        st.from_regex(r"[A-Za-z_][A-Za-z0-9_]*", fullmatch=True),
        st.text(st.characters(exclude_characters="\0", codec="utf-8")),
    )
)
def test_quoted_values_come_back(values: dict[str, str]) -> None:
    escape = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r"})
    text = "".join(f'{name}="{value.translate(escape)}"\n' for name, value in values.items())
    assert parse_env(text.encode(), "f") == values


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        values = parse_env(data, "f")
    except ConfigError:
        return
    assert all("=" not in name and "\0" not in value for name, value in values.items())
