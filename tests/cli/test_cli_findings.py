"""What a service's doctor may say, and how a person reads it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.cli.findings import OURS, Finding, is_well, parse_finding, render, summary
from supervisor.cli.terminal import PLAIN, Paint
from tests.cli.conftest import Golden

WHOLE = {
    "check": "operators",
    "level": "wrong",
    "text": "MPS lacks two",
    "hint": "fold weight norm",
    "details": {"operators": ["a", "b"]},
}


def _parsed(**changes: object) -> Finding | None:
    return parse_finding("tts", json.dumps({**WHOLE, **changes}).encode())


def test_a_whole_finding() -> None:
    assert _parsed() == Finding(
        "tts", "operators", "wrong", "MPS lacks two", "fold weight norm", {"operators": ["a", "b"]}
    )


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ('{"check": "a", "level": "ok", "text": "b"}', Finding("tts", "a", "ok", "b")),
        ('{"check": "a", "level": "note", "text": "b", "hint": null, "new": 1}',
         Finding("tts", "a", "note", "b")),
        ('{"check": "a", "level": "ok", "text": "b", "hint": "", "details": [1]}',
         Finding("tts", "a", "ok", "b", None, [1])),
        ('{"check": "a", "level": "ok", "text": "два\\n рядки\\u001b[2J"}',
         Finding("tts", "a", "ok", "два рядки [2J")),
        (' {"check": "a", "level": "ok", "text": "b"}\r', Finding("tts", "a", "ok", "b")),
        ('{"check": "", "level": "ok", "text": "b"}', None),
        ('{"check": "a", "level": "ok", "text": " "}', None),
        ('{"check": "a", "level": "fine", "text": "b"}', None),
        ('{"check": "a", "level": true, "text": "b"}', None),
        ('{"level": "ok", "text": "b"}', None),
        ('["check"]', None),
        ("Loading the model...", None),
        ("[" * 100_000, None),
        ("", None),
    ],
    ids=range(14),
)  # fmt: skip
def test_lines(line: str, finding: Finding | None) -> None:
    assert parse_finding("tts", line.encode()) == finding


def test_a_text_without_end_is_cut() -> None:
    found = _parsed(text="й" * 100_000)
    assert found is not None
    assert len(found.text) == 2000
    assert found.text.endswith("…")


@given(st.binary(max_size=300))
def test_no_line_breaks_the_reading(line: bytes) -> None:
    parse_finding("tts", line)


FINDINGS = [
    Finding(OURS, "configuration", "ok", "config/services.yaml is valid, 2 services"),
    Finding(OURS, "supervisor", "note", "no supervisor runs", "start it: atlasctl up"),
    Finding("озвучення", "operators", "wrong", "MPS lacks \x1b[2J", "fold it", {"a": 1}),
    Finding("stt", "port 3002", "ok", "free"),
    Finding("озвучення", "files", "ok", "all there"),
]


def test_the_list(golden: Golden) -> None:
    lines = render(FINDINGS, PLAIN)
    golden("doctor.txt", lines)
    assert "\x1b" not in "\n".join(lines)


def test_the_list_with_what_it_rests_on(golden: Golden) -> None:
    operators = {f"aten::operator_{n}": n for n in range(30)}
    rests = {
        "operators": operators,
        "without_mps": ["aten::a", "aten::b"],
        "in_float64": [],
        "seed": None,
        "seconds": 0.25,
        "cold": True,
        "deep": [{"a": [1, "два \x1b[2J"]}],
    }
    findings = [
        Finding("tts", "operators", "wrong", "MPS lacks two", "fold it", rests),
        Finding("tts", "files", "ok", "all there", None, ["model.pth", "config.yaml"]),
        Finding("tts", "voice", "ok", "speaks"),
    ]
    lines = render(findings, PLAIN, details=True)
    golden("doctor_details.txt", lines)
    assert "\x1b" not in "\n".join(lines)


def test_the_list_in_colour() -> None:
    text = "\n".join(render(FINDINGS, Paint(on=True)))
    for code in ("32mok", "33mnote", "31mwrong"):
        assert f"\x1b[{code}" in text


@pytest.mark.parametrize(
    ("findings", "well", "text"),
    [
        ([], True, "Nothing is wrong."),
        (FINDINGS[:1], True, "Nothing is wrong."),
        (FINDINGS[:2], True, "Nothing is wrong; 1 thing to note."),
        (FINDINGS, False, "1 thing is wrong: озвучення operators; 1 thing to note."),
        ([FINDINGS[2]] * 2, False, "2 things are wrong: озвучення operators."),
        ([Finding(OURS, "disk", "wrong", "full"), Finding("tts", "port\x1b", "wrong", "taken")],
         False, "2 things are wrong: disk and tts port\\x1b."),
        ([Finding(f"s{n}", "state", "wrong", "failed") for n in range(100)], False,
         "100 things are wrong: s0 state, s1 state, s2 state, s3 state, s4 state, s5 state, "
         "s6 state, s7 state and 92 more."),
    ],
)  # fmt: skip
def test_the_sentence(findings: list[Finding], well: bool, text: str) -> None:
    assert is_well(findings) is well
    assert summary(findings) == text
