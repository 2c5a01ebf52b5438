"""What `models` prints, word for word."""

import pytest

from supervisor.cli.model_lines import event_line, failure_line, progress_line
from supervisor.models.events import (
    Adopted,
    Already,
    Event,
    Failed,
    Fetched,
    Linked,
    Progress,
    Replacing,
    Retrying,
)

MIB = 1024**2
V, M, P = "voice", "model.pth", "/m/model.pth"
SHA = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("done", "total", "rate", "line"),
    [
        (0, 446 * MIB, None, "model.pth: 0 B of 446 MiB (0 %)"),
        (
            212 * MIB,
            446 * MIB,
            11.2 * MIB,
            "model.pth: 212 MiB of 446 MiB (47 %), 11 MiB/s, 20 s left",
        ),
        (445 * MIB, 446 * MIB, 0.0, "model.pth: 445 MiB of 446 MiB (99 %)"),
        (446 * MIB, 446 * MIB, 10.0 * MIB, "model.pth: 446 MiB of 446 MiB (100 %), 10 MiB/s, 0 s left"),  # noqa: E501
        (5 * MIB, None, 2.0 * MIB, "model.pth: 5.0 MiB, 2.0 MiB/s"),
    ],
)  # fmt: skip
def test_the_way_of_a_download(done: int, total: int | None, rate: float | None, line: str) -> None:
    assert progress_line(Progress(V, M, done, total, 0), rate) == line


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Already(V, M, P, MIB), "model.pth: already there, 1.0 MiB"),
        (
            Adopted(V, M, P, MIB, compared=True),
            "model.pth: found in its place, 1.0 MiB, as on the server; recorded",
        ),
        (
            Adopted(V, M, P, MIB, compared=False),
            "model.pth: found in its place, 1.0 MiB, not compared with the server's, so "
            "not recorded",
        ),
        (
            Linked(V, M, P, "/old\n/model.pth", MIB, symbolic=False, compared=True),
            "model.pth: linked to /old\\n/model.pth, 1.0 MiB",
        ),
        (
            Linked(V, M, P, "/old/model.pth", MIB, symbolic=True, compared=False),
            "model.pth: linked to /old/model.pth, 1.0 MiB; not compared with the server's",
        ),
        (Replacing(V, M, P, "is empty"), "model.pth: m/model.pth is empty; another is looked for"),
        (
            Retrying(V, M, "h ended the connection", 1.5),
            "model.pth: h ended the connection; again in 1.5 s",
        ),
        (
            Fetched(V, M, P, MIB, SHA, first=True),
            "model.pth: fetched, 1.0 MiB, recorded as SHA-256 0123456789ab…",
        ),
        (Fetched(V, M, P, MIB, SHA, first=False), "model.pth: fetched, 1.0 MiB, as recorded"),
    ],
)
def test_what_became_of_a_file(event: Event, line: str) -> None:
    assert event_line(event, "m/model.pth") == line


def test_a_failure() -> None:
    assert failure_line(Failed(V, M, "h answered 404", "mend url")) == (
        "voice, model.pth: h answered 404; mend url"
    )
    assert failure_line(Failed(V, "", "\x1b[2J", "")) == "voice: \\x1b[2J"
