"""The journal: in order, bounded, and whole again after whatever cut it short."""

import asyncio
import contextlib
import json
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor import journal
from supervisor.core.causes import Kind
from supervisor.journal import Entry, Journal, entry_of, read


def open_journal(folder: Path, at: float = 1.5) -> Journal:
    return Journal(str(folder), lambda: at)


def test_entries_come_back_as_they_were_written(tmp_path: Path) -> None:
    book = open_journal(tmp_path)
    first = book.append("tts", "exited", "was killed by signal 9 (SIGKILL)", 3)
    second = book.append("", "daemon", "тест")
    book.close()
    assert list(read(str(tmp_path))) == [first, second]
    assert (first.seq, second.seq) == (1, 2)


def test_a_successor_counts_on(tmp_path: Path) -> None:
    book = open_journal(tmp_path)
    book.append("a", "started", "")
    book.close()
    book = open_journal(tmp_path)
    assert book.append("a", "exited", "").seq == 2
    book.close()


@pytest.mark.parametrize(
    "torn",
    [b'{"seq":2,"at":1.0,"un', b"\x00\xff\n", b"[1, 2]\n", b'{"seq":2}\n', b"null\n"],
    ids=["half a line", "binary", "a list", "fields missing", "null"],
)
def test_a_spoiled_line_costs_itself_only(tmp_path: Path, torn: bytes) -> None:
    book = open_journal(tmp_path)
    book.append("a", "started", "one")
    book.close()
    with (tmp_path / journal.NAME).open("ab") as file:
        file.write(torn)
    book = open_journal(tmp_path)
    book.append("a", "exited", "two")
    book.close()
    assert [entry.text for entry in read(str(tmp_path))] == ["one", "two"]


def test_the_first_line_after_zeros_is_read(tmp_path: Path) -> None:
    """What a power cut leaves in place of the last lines, and a new daemon writes after it."""
    book = open_journal(tmp_path)
    book.append("a", "started", "one")
    book.close()
    path = tmp_path / journal.NAME
    line = path.read_bytes().replace(b'"seq":1', b'"seq":2')
    path.write_bytes(path.read_bytes() + b"\0" * 500 + line)
    assert [entry.seq for entry in read(str(tmp_path))] == [1, 2]


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        (
            '{"seq":7,"at":1.5,"unit":"a","topic":"exited","text":"t","run":3}',
            Entry(7, 1.5, "a", "exited", "t", 3, Kind.SEEN),
        ),
        (
            '{"seq":7,"at":1.5,"unit":"a","topic":"stopping","text":"stop asked: x","run":3}',
            Entry(7, 1.5, "a", "stopping", "stop asked: x", 3, Kind.ASKED),
        ),
        (
            '{"seq":7,"at":1.5,"unit":"a","topic":"gave-up","text":"t","mood":"low"}',
            Entry(7, 1.5, "a", "gave-up", "t", None, Kind.DECIDED),
        ),
        (
            '{"seq":7,"at":1,"unit":"a","topic":"new","text":"t","kind":"dreamt","because":["x"]}',
            Entry(7, 1, "a", "new", "t", None, Kind.SEEN),
        ),
        (
            '{"seq":7,"at":1,"unit":"a","topic":"x","text":"t","kind":"decided","because":[4,5]}',
            Entry(7, 1, "a", "x", "t", None, Kind.DECIDED, (4, 5)),
        ),
        ('{"seq":0,"at":1,"unit":"a","topic":"x","text":"t"}', None),
        ('{"seq":7,"at":NaN,"unit":"a","topic":"x","text":"t"}', None),
        ('{"seq":7,"at":1e300,"unit":"a","topic":"x","text":"t"}', None),
        ('{"seq":7,"at":-1,"unit":"a","topic":"x","text":"t"}', None),
        ('{"seq":"7","at":1,"unit":"a","topic":"x","text":"t"}', None),
        ('{"seq":7,"at":1,"unit":null,"topic":"x","text":"t"}', None),
        ('{"seq":7,"at":1,"unit":"a","topic":"x","text":"t","run":"1"}', None),
    ],
)
def test_entries_of_older_and_newer_writers_are_read(line: str, entry: Entry | None) -> None:
    assert entry_of(json.loads(line)) == entry


def test_a_path_that_is_no_utf8_comes_back(tmp_path: Path) -> None:
    book = open_journal(tmp_path)
    entry = book.append("", "trouble", "cannot open /srv/\udcff")
    book.close()
    assert list(read(str(tmp_path))) == [entry]


def test_a_text_without_end_is_cut(tmp_path: Path) -> None:
    book = open_journal(tmp_path)
    entry = book.append("a", "notice", "x" * 10_000_000)
    assert len(entry.text) == journal.LONGEST
    assert entry.text.endswith("x…")
    book.close()


def test_two_files_at_most_and_each_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MAX_SIZE", 1000)
    book = open_journal(tmp_path)
    for number in range(100):
        book.append("a", "started", f"run {number}")
    book.close()
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(sizes) == {journal.NAME, journal.NAME + ".1"}
    assert max(sizes.values()) <= 1000
    kept = [entry.seq for entry in read(str(tmp_path))]
    assert kept == list(range(kept[0], 101))


@contextlib.contextmanager
def full_disk(folder: Path, room: int) -> Iterator[None]:
    """Let the journal grow by `room` bytes more and then by none.

    The kernel writes what fits and refuses the rest, as a full disk does; Python ignores SIGXFSZ.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = (folder / journal.NAME).stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


LINE = len('{"seq":2,"at":1.5,"unit":"a","topic":"exited","text":"b","run":null,"kind":"seen"}\n')


@pytest.mark.parametrize("room", [0, 1, 10, LINE - 2, LINE - 1, LINE, LINE + 1, 2 * LINE - 1])
def test_what_a_full_disk_refuses_is_written_when_there_is_room(tmp_path: Path, room: int) -> None:
    book = open_journal(tmp_path)
    book.append("a", "started", "a")
    with full_disk(tmp_path, room):
        book.append("a", "exited", "b")
        book.append("a", "exited", "c")
        told = [entry.text for entry in read(str(tmp_path))]
        assert told == ["a", "b", "c"][: 1 + (room + 1) // LINE]
    book.append("a", "started", "d")
    assert [entry.text for entry in read(str(tmp_path))] == ["a", "b", "c", "d"]
    assert book.lost == 0
    book.close()
    assert [entry.text for entry in read(str(tmp_path))] == ["a", "b", "c", "d"]


def test_what_does_not_fit_the_memory_either_is_counted(tmp_path: Path) -> None:
    book = open_journal(tmp_path)
    book.append("a", "started", "before")
    with full_disk(tmp_path, 10):
        for _ in range(journal.TAIL + 2):
            book.append("a", "exited", "refused")
    assert book.lost == 2
    last = book.append("a", "started", "after")
    book.close()
    assert [e.seq for e in read(str(tmp_path))] == [
        1,
        *range(last.seq - journal.TAIL + 1, last.seq + 1),
    ]


def test_a_file_that_cannot_be_begun_is_begun_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MAX_SIZE", 300)
    book = open_journal(tmp_path)
    for n in range(3):
        book.append("a", "started", f"{n}")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        for n in range(3, 6):
            book.append("a", "started", f"{n}")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert [entry.text for entry in read(str(tmp_path))] == ["0", "1", "2"]
    book.append("a", "started", "6")
    assert [entry.text for entry in read(str(tmp_path))][-3:] == ["4", "5", "6"]
    assert book.lost == 0
    book.close()


def test_a_journal_that_somebody_let_grow_is_read_from_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = open_journal(tmp_path)
    for n in range(100):
        book.append("a", "started", f"{n}")
    book.close()
    monkeypatch.setattr(journal, "MAX_SIZE", 500)
    texts = [entry.text for entry in read(str(tmp_path))]
    assert 5 < len(texts) < 20
    assert texts[-1] == "99"
    book = open_journal(tmp_path)
    assert book.append("a", "started", "").seq == 101
    assert (tmp_path / journal.NAME).stat().st_size < 500
    book.close()


def test_only_what_comes_after_a_number_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MAX_SIZE", 2000)
    book = open_journal(tmp_path)
    for n in range(30):
        book.append("a", "started", f"{n}")
    book.close()
    everything = [entry.seq for entry in read(str(tmp_path))]
    assert everything[0] < 20, "both files are read"
    for after in (0, everything[0], 20, 29, 30, 99):
        assert [e.seq for e in read(str(tmp_path), after)] == [n for n in everything if n > after]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_nothing_is_missed_or_doubled_while_files_are_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The daemon is quicker than the reader, which has one file open and not the other."""
    monkeypatch.setattr(journal, "MAX_SIZE", 2000)
    book = open_journal(tmp_path)
    for n in range(40):
        book.append("a", "started", f"{n}")
    look, looks = journal._end_of, 0

    def interrupted(path: Path, limit: int) -> list[bytes]:
        nonlocal looks
        looks += 1
        found = look(path, limit) if moment == "after" else []
        if looks <= 3:
            for n in range(15 * looks):
                book.append("a", "started", f"{n}")
        return found or look(path, limit)

    monkeypatch.setattr(journal, "_end_of", interrupted)
    seqs = [entry.seq for entry in read(str(tmp_path))]
    assert looks == 4
    assert seqs == list(range(seqs[0], book.seq + 1))
    book.close()


def test_a_reader_is_content_with_the_older_file_alone(tmp_path: Path) -> None:
    book = open_journal(tmp_path)
    entry = book.append("a", "started", "")
    book.close()
    (tmp_path / journal.NAME).rename(tmp_path / f"{journal.NAME}.1")
    assert read(str(tmp_path)) == [entry]
    assert read(str(tmp_path / "nothing")) == []


def test_a_decision_names_what_it_rests_on_also_after_a_new_daemon(tmp_path: Path) -> None:
    book = open_journal(tmp_path)
    book.append("a", "started", "run 1 started", 1)
    failed = book.append("a", "probe-failed", "liveness probe: no answer", 1)
    words = "failed its liveness probe 3 times in a row: no answer"
    stopping = book.append("a", "stopping", words, 1)
    assert (stopping.kind, stopping.because) == (Kind.DECIDED, (failed.seq,))
    book.close()
    book = open_journal(tmp_path)
    exited = book.append("a", "exited", "was killed by signal 15 (SIGTERM)", 1)
    again = book.append("a", "restarting", f"{words}; restart 1 in 0.2 s", 1)
    assert again.because == (stopping.seq, exited.seq)
    assert read(str(tmp_path))[-1] == again
    book.close()


def test_a_link_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("precious")
    (tmp_path / journal.NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        open_journal(tmp_path)
    assert (tmp_path / "elsewhere").read_text() == "precious"


async def test_followers_are_woken_once_a_change(tmp_path: Path) -> None:
    book = open_journal(tmp_path)
    waiting = asyncio.create_task(book.news())
    await asyncio.sleep(0)
    assert not waiting.done()
    entry = book.append("a", "started", "")
    async with asyncio.timeout(5):
        await waiting
    assert book.since(0) == (entry,)
    assert book.since(entry.seq) == ()
    book.close()


async def test_who_falls_behind_is_not_left_to_think_that_it_has_all(tmp_path: Path) -> None:
    book = open_journal(tmp_path)
    for _ in range(3):
        book.append("a", "started", "")
    following = book.follow(1)
    async with asyncio.timeout(30):
        assert [(await anext(following)).seq for _ in range(2)] == [2, 3]
        for _ in range(journal.TAIL):
            book.append("a", "started", "")
        assert [(await anext(following)).seq for _ in range(2)] == [4, 5]
        for _ in range(2 * journal.TAIL):
            book.append("a", "started", "")
        rest = [entry.seq async for entry in following]
    # It ends with what it had taken from the memory before that was overwritten.
    assert rest == list(range(6, 4 + journal.TAIL))
    book.close()


def test_memory_holds_a_bounded_tail(tmp_path: Path) -> None:
    book = open_journal(tmp_path)
    for _ in range(journal.TAIL + 10):
        book.append("a", "started", "")
    assert len(book.since(0)) == journal.TAIL
    book.close()
