"""Texts survive YAML, whoever reads it."""

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from supervisor.export.exported import ExportError
from supervisor.export.yaml_text import dump

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
TREE = st.recursive(
    st.one_of(TEXT, st.booleans(), st.integers(), st.none()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
AMBIGUOUS = [
    *("y", "n", "Y", "yes", "No", "on", "OFF", "true", "null", "~", "", "nan", ".inf", ".5", "-"),
    *("1e3", "1_000", "0o17", "017", "0x1F", "12:30:45", "2026-01-31", "=", "<<", "1", "1.0", "+1"),
    *(
        "- a",
        "a: b",
        "a #b",
        "#",
        "&a",
        "*a",
        "!tag",
        "%x",
        "@x",
        "`x",
        "|",
        ">",
        "---",
        "...",
        "?",
    ),
    *(
        "{a}",
        "[a]",
        "'",
        '"',
        "\\",
        " a",
        "a ",
        "\ta",
        "a\nb",
        "\n",
        "a\n",
        "a\r\nb",
        "\x85",
        "\ufeff",
    ),
    *("\u2028", "\x00", "\x1b[31m", "тест", "🙂", "a\n---\nb\n", "  a\nb\n", "a \nb\n", "a\n\nb\n"),
]


@given(st.lists(TREE, max_size=3))
@example([AMBIGUOUS])
@example([{text: text for text in AMBIGUOUS}])
def test_what_is_read_is_what_was_written(documents: list[object]) -> None:
    text = dump(documents)  # type: ignore[arg-type]
    assert list(yaml.safe_load_all(text)) == documents
    assert text.isascii() or text.encode()


@pytest.mark.parametrize("text", AMBIGUOUS)
def test_what_some_reader_may_take_for_something_else_is_quoted(text: str) -> None:
    written = dump([[text]]).removeprefix("---\n- ")
    assert written[0] in '"|', written
    assert dump([{text: 1}]).removeprefix("---\n").removeprefix("? ")[0] in '"|'


@pytest.mark.parametrize(
    "text", ["python", "app.kubernetes.io/name", "RuntimeDefault", "/app", "v1"]
)
def test_plain_words_stay_plain(text: str) -> None:
    assert dump([{text: text}]) == f"---\n{text}: {text}\n"


def test_lines_are_kept_as_a_person_would_write_them() -> None:
    assert dump([{"a": "{\n  b: тест\n}\n"}]) == "---\na: |\n  {\n    b: тест\n  }\n"


def test_one_thing_in_two_places_is_written_twice() -> None:
    shared = {"b": "c"}
    assert "&" not in dump([{"x": shared, "y": shared}])


@pytest.mark.parametrize(
    ("tree", "place"),
    [
        ("said \ud800", "a text"),
        ({"data": ["a", {"b": "said \udcff"}]}, r"data\[1\].b"),
        ({"x": {"said \udcff": 1}}, "a key of x"),
    ],
)
def test_what_is_no_text_is_refused(tree: object, place: str) -> None:
    with pytest.raises(ExportError, match=f"{place} is not UTF-8") as told:
        dump([tree])  # type: ignore[list-item]
    assert "said" not in str(told.value), "it may be a secret"
