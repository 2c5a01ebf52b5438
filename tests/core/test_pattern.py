"""Patterns for lines of output: what matches, what is no pattern, and a slow oracle."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.pattern import LONGEST_PATTERN, Pattern, PatternError

YES = [
    ("out of memory", "RuntimeError: CUDA out of memory. Tried"),
    ("MPS * not implemented", "The op on MPS device is not implemented"),
    ("MPS*implemented", "MPSimplemented"),
    ("a*b*a", "xxabaxx"),
    ("*error", "an error here"),
    ("error*", "an error"),
    ("a**b", "a-b"),
    ("ґедзь", "Це ґедзь!"),
    ("é", "café"),
    (r"2 \* 3", "2 * 3 = 6"),
    (r"C:\temp", r"in C:\temp\x"),
    (r"a\\*z", r"a\bcz"),
    (r"\\", "\\"),
    ("\\", "\\"),
    (r"\*", "*"),
    ("[a-z]+(.)?", "[a-z]+(.)?"),
    ("tab\there", "tab\there"),
]
NO = [
    ("out of memory", "Out of memory"),
    ("a*b", "ba"),
    ("aa*aa", "aaa"),
    ("a*b*a", "ab"),
    (r"2 \* 3", "2 + 3"),
    (r"a\\*z", "abcz"),
    ("é", "e"),
    ("a.c", "abc"),
]


@pytest.mark.parametrize(("text", "line"), YES)
def test_it_matches(text: str, line: str) -> None:
    assert Pattern.parse(text).matches(line.encode())


@pytest.mark.parametrize(("text", "line"), NO)
def test_it_does_not_match(text: str, line: str) -> None:
    assert not Pattern.parse(text).matches(line.encode())


def test_bytes_that_are_no_utf8_are_anything_like_others() -> None:
    assert Pattern.parse("a*b").matches(b"\xff\xfea\x80\x00b\xc3")
    assert not Pattern.parse("é").matches(b"\xc3")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "an empty pattern", "every line"),
        ("  ", "an empty pattern", "every line"),
        ("*", "nothing but stars", r"a star itself is \*"),
        ("** *", "nothing but stars", "give some of the text"),
        ("x" * 501, "a pattern of 501 characters", "500 at most"),
        ("a\nb", "line break", "one line"),
        ("a\r", "line break", "one line"),
        ("\udc80", "not valid Unicode", "UTF-8"),
    ],
)
def test_what_is_no_pattern_is_explained(text: str, message: str, hint: str) -> None:
    with pytest.raises(PatternError) as caught:
        Pattern.parse(text)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert str(caught.value) == f"{caught.value.message}: {caught.value.hint}"


def test_the_longest_is_a_pattern() -> None:
    assert Pattern.parse("ї" * LONGEST_PATTERN).matches("ї".encode() * LONGEST_PATTERN)


def oracle(text: str, line: str) -> bool:
    """Try every way in which the pattern could be laid over the line."""

    def lies(pattern: list[str], at: int) -> bool:
        if not pattern:
            return True
        if pattern[0] == "any":
            return any(lies(pattern[1:], later) for later in range(at, len(line) + 1))
        return line[at : at + 1] == pattern[0] and lies(pattern[1:], at + 1)

    signs = []
    characters = list(text)
    while characters:
        sign = characters.pop(0)
        if sign == "\\" and characters[:1] in (["\\"], ["*"]):
            sign = characters.pop(0)
        elif sign == "*":
            sign = "any"
        signs.append(sign)
    return any(lies(signs, start) for start in range(len(line) + 1))


few = "ab*\\і "


@given(st.text(few, max_size=7), st.text(few, max_size=9))
def test_it_agrees_with_a_slow_oracle(text: str, line: str) -> None:
    try:
        pattern = Pattern.parse(text)
    except PatternError:
        assert oracle(text, "") or set(text) <= {"*", " "}
    else:
        assert pattern.matches(line.encode()) == oracle(text, line)
        assert not pattern.matches(line.encode()) or pattern.needle in line.encode()


within_a_line = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=30)


@given(within_a_line, st.text(max_size=20), st.text(max_size=20))
def test_text_with_its_stars_and_backslashes_escaped_is_found_wherever_it_stands(
    text: str, before: str, after: str
) -> None:
    text = f"x{text}"
    written = text.replace("\\", "\\\\").replace("*", "\\*")
    line = f"{before}{text}{after}"
    assert Pattern.parse(written).matches(line.encode(errors="surrogatepass"))
