"""A notification as people and programs get it; nothing secret and nothing hostile leaves."""

import json
from dataclasses import replace

import pytest

from supervisor.core.notify import WebhookFormat
from supervisor.notify import mailbox
from supervisor.notify.mailbox import Letter
from supervisor.notify.words import body, data, sentence, title
from tests.notify.letters import letter

CRASHED = replace(letter(event="crashed", text="exited with code 3; restart 5"), count=5)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (letter(text="failed 5 times"), "tts failed: failed 5 times"),
        (CRASHED, "tts crashed 5 times, the last time: exited with code 3; restart 5"),
        (replace(CRASHED, count=2), "tts crashed twice, the last time: exited with code 3; "),
        (letter(event="recovered", text=""), "tts works again"),
        (letter("", "daemon", text="daemon 1.0 started"), "atlasctl: daemon 1.0 started"),
        (letter(event="of a later release"), "tts of a later release: why"),
    ],
)
def test_sentences(told: Letter, words: str) -> None:
    assert sentence(told).startswith(words)


def test_a_summary_names_the_most_frequent_and_counts_the_rest() -> None:
    many = [replace(letter(f"s{n}", at=1000.0 + n), count=20 - n) for n in range(12)]
    told = mailbox.summary([letter("tts", "crashed"), *many])
    words = sentence(told)
    assert title(told) == "175 more events"
    assert words.startswith("175 more at ")
    assert "s0 failed 20 times, s1 failed 19 times" in words
    assert words.endswith("and 43 others")
    days = mailbox.summary([letter("a", at=0.0), letter("b", at=90_000.0)])
    assert " from 19" in sentence(days)


def test_data_of_a_letter() -> None:
    assert data(CRASHED, "mac") == {
        "service": "tts",
        "event": "crashed",
        "state": "backoff",
        "summary": "tts crashed 5 times, the last time: exited with code 3; restart 5",
        "text": "exited with code 3; restart 5",
        "run": 3,
        "count": 5,
        "at": "1970-01-01T00:16:40Z",
        "since": "1970-01-01T00:16:40Z",
        "seq": 1,
        "host": "mac",
    }
    several = data(mailbox.summary([letter("a"), letter("b", "hung")]), "mac")
    assert several["service"] is None
    assert several["events"] == [
        {"service": "a", "event": "failed", "count": 1},
        {"service": "b", "event": "hung", "count": 1},
    ]


HOSTILE = 'a\nb\x1b[2J "quoted" <@everyone> & <http://x|y> ${HOME} 🔥 \ud800'


@pytest.mark.parametrize("shape", ["json", "slack", "discord", "text"])
def test_every_format_takes_every_text(shape: WebhookFormat) -> None:
    kind, sent = body(letter(text=HOSTILE), "mac", shape)
    text = sent.decode()
    assert "\x1b" not in text
    if shape == "text":
        assert kind == "text/plain; charset=utf-8"
        assert text.startswith("tts failed: a b [2J")
        assert text.endswith("(mac)")
        return
    assert kind == "application/json"
    found = json.loads(text)
    match shape:
        case "slack":
            assert "<" not in found["text"]
            assert "&lt;@everyone&gt; &amp;" in found["text"]
        case "discord":
            assert found["allowed_mentions"] == {"parse": []}
            assert len(body(letter(text="x" * 5000), "m" * 3000, shape)[1]) < 2200
        case _:
            assert "🔥" in found["text"]


def test_secrets_do_not_leave() -> None:
    told = letter(text="GET /x?api_key=hunter2 answered 403; Authorization: Bearer abcdefgh")
    shapes: tuple[WebhookFormat, ...] = ("json", "slack", "discord", "text")
    for shape in shapes:
        sent = body(told, "mac", shape)[1].decode()
        assert "hunter2" not in sent
        assert "abcdefgh" not in sent


def test_a_text_without_end_has_one() -> None:
    assert len(sentence(letter(text="x" * 10_000))) < 600
