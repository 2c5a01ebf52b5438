"""The journal: in order, bounded, and whole again after whatever cut it short."""

import asyncio
import resource
from pathlib import Path

import pytest

from supervisor import journal
from supervisor.journal import Journal, read


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


def test_a_full_disk_is_counted_and_the_next_line_is_whole(tmp_path: Path) -> None:
    book = open_journal(tmp_path)
    book.append("a", "started", "before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = (tmp_path / journal.NAME).stat().st_size
    # The kernel writes what fits and refuses the rest, as a full disk does; Python ignores SIGXFSZ.
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))
    try:
        book.append("a", "exited", "cut short")
        book.append("a", "exited", "refused")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert book.lost == 2
    book.append("a", "started", "after")
    book.close()
    assert [entry.text for entry in read(str(tmp_path))] == ["before", "after"]


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


def test_memory_holds_a_bounded_tail(tmp_path: Path) -> None:
    book = open_journal(tmp_path)
    for _ in range(journal.TAIL + 10):
        book.append("a", "started", "")
    assert len(book.since(0)) == journal.TAIL
    book.close()
