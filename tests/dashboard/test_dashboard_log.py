"""Logs as pages see them: every line once, whoever looks, and a bound on everything."""

import gzip
from pathlib import Path
from urllib.parse import quote

import pytest

from supervisor.dashboard import log_window
from supervisor.dashboard.log_window import (
    KEPT,
    LONGEST,
    MOST_FOUND,
    SHOWN,
    WATCHED,
    Lines,
    LogWindow,
    search,
)
from supervisor.logs.follow import BUDGET
from tests.cli.fleets import service
from tests.dashboard.conftest import Served


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "tts.log"


def put(log: Path, *lines: str) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)


def texts(lines: Lines) -> list[str]:
    return [line["text"] for line in lines["lines"]]


def test_lines_come_once_to_every_viewer(log: Path) -> None:
    window = LogWindow()
    put(log, "one", "two")
    first = window.lines(str(log), 0, 0)
    assert texts(first) == ["one", "two"]
    put(log, "three")
    second = window.lines(str(log), first["reader"], 2)
    assert texts(second) == ["three"]
    # The reply was lost: asked again, it is there again.
    assert window.lines(str(log), first["reader"], 2) == second
    # Another viewer begins with what is kept.
    assert texts(window.lines(str(log), 0, 0)) == ["one", "two", "three"]
    assert texts(window.lines(str(log), first["reader"], 3)) == []
    window.close()


def test_a_log_that_is_not_there_yet_is_followed_when_it_comes(log: Path) -> None:
    window = LogWindow()
    first = window.lines(str(log), 0, 0)
    assert texts(first) == []
    put(log, "one")
    assert texts(window.lines(str(log), first["reader"], 0)) == ["one"]
    window.close()


def test_no_line_is_missed_over_a_rotation(log: Path) -> None:
    window = LogWindow()
    put(log, "one")
    reader = window.lines(str(log), 0, 0)["reader"]
    put(log, "two")
    log.rename(log.with_name("tts.log.1"))
    put(log, "three")
    assert texts(window.lines(str(log), reader, 1)) == ["two", "three"]
    window.close()


def test_an_opened_log_begins_with_its_last_lines(log: Path) -> None:
    window = LogWindow()
    put(log, *(f"line {n}" for n in range(SHOWN + 50)))
    found = window.lines(str(log), 0, 0)
    assert len(found["lines"]) == SHOWN
    assert texts(found)[-1] == f"line {SHOWN + 49}"
    assert not found["missed"]
    window.close()


def test_what_a_viewer_was_too_slow_for_is_said_to_be_missing(log: Path) -> None:
    window = LogWindow()
    put(log, "one")
    reader = window.lines(str(log), 0, 0)["reader"]
    put(log, *(f"line {n}" for n in range(KEPT + 5)))
    found = window.lines(str(log), reader, 1)
    assert len(found["lines"]) == KEPT
    assert found["missed"]
    last = found["lines"][-1]["n"]
    assert not window.lines(str(log), reader, last)["missed"]
    window.close()


def test_a_flood_is_passed_over_and_its_end_shown(log: Path) -> None:
    window = LogWindow()
    put(log, "one")
    reader = window.lines(str(log), 0, 0)["reader"]
    line = "x" * 1000
    put(log, *[line] * (8 * BUDGET // 1000), "the end")
    found = window.lines(str(log), reader, 1)
    assert found["missed"]
    assert texts(found)[-1] == "the end"
    assert len(found["lines"]) <= KEPT
    put(log, "later")
    later = window.lines(str(log), reader, found["lines"][-1]["n"])
    assert (texts(later), later["missed"]) == (["later"], False)
    window.close()


def test_long_lines_are_cut_and_say_so(log: Path) -> None:
    window = LogWindow()
    put(log, "y" * (LONGEST + 7))
    assert texts(window.lines(str(log), 0, 0)) == ["y" * LONGEST + " … [7 characters cut]"]
    window.close()


def test_only_so_many_logs_are_open(tmp_path: Path) -> None:
    window = LogWindow()
    logs = [tmp_path / f"{n}.log" for n in range(WATCHED + 1)]
    for each in logs:
        put(each, "one")
    readers = [window.lines(str(each), 0, 0)["reader"] for each in logs]
    # The first had to go, and comes back as another, from which a page begins anew.
    again = window.lines(str(logs[0]), readers[0], 1)
    assert again["reader"] != readers[0]
    assert texts(again) == ["one"]
    window.close()


def test_a_search_finds_plain_text_whatever_its_case(log: Path) -> None:
    put(log, "Привіт, світе", "a.b", "axb", "ПРИВІТ")
    assert [line["text"] for line in search(str(log), "привіт")["lines"]] == [
        "Привіт, світе",
        "ПРИВІТ",
    ]
    assert [line["text"] for line in search(str(log), "a.b")["lines"]] == ["a.b"]


def test_a_search_finds_what_is_read_and_not_how_it_is_coloured(log: Path) -> None:
    put(log, "\x1b[31;1mERROR\x1b[0m: no \x1b]8;;http://x\x07space\x1b]8;;\x07 left")
    found = search(str(log), "error: no space")
    assert [line["text"] for line in found["lines"]] == ["ERROR: no space left"]
    assert search(str(log), "[31")["matches"] == 0


def test_of_a_long_line_the_match_is_shown(log: Path) -> None:
    put(log, "y" * 3 * LONGEST + "needle" + "z" * 3 * LONGEST, "needle" + "z" * LONGEST)
    first, second = search(str(log), "needle")["lines"]
    assert "needle" in first["text"]
    assert first["text"].startswith(f"[{5 * LONGEST // 2} characters cut] … y")
    assert first["text"].endswith(f" … [{5 * LONGEST // 2 + 6} characters cut]")
    assert second["text"] == "needle" + "z" * (LONGEST - 6) + " … [6 characters cut]"


def test_a_search_goes_back_over_rotated_files(log: Path) -> None:
    with gzip.open(log.with_name("tts.log.2.gz"), "wb") as packed:
        packed.write(b"needle 1\nhay\n")
    log.with_name("tts.log.1").write_text("hay\nneedle 2\n")
    put(log, "needle 3")
    found = search(str(log), "needle")
    assert [line["text"] for line in found["lines"]] == ["needle 1", "needle 2", "needle 3"]
    assert (found["matches"], found["searched"], found["whole"]) == (3, 5, True)


def test_of_many_matches_the_last_are_shown(log: Path) -> None:
    put(log, *(f"needle {n}" for n in range(MOST_FOUND + 10)))
    found = search(str(log), "needle")
    assert found["matches"] == MOST_FOUND + 10
    assert len(found["lines"]) == MOST_FOUND
    assert found["lines"][-1]["text"] == f"needle {MOST_FOUND + 9}"


def test_a_search_ends_in_time_and_says_so(log: Path) -> None:
    put(log, *["z" * 1000] * (2 * BUDGET // 1000))
    times = iter([0.0, log_window.SEARCH_SECONDS + 1.0])
    found = search(str(log), "needle", lambda: next(times))
    assert found["whole"] is False
    assert 0 < found["searched"] < 2 * BUDGET // 1000


# Over HTTP -------------------------------------------------------------------------------------


def test_a_page_gets_lines_as_text(served: Served) -> None:
    log = served.root / "tts.log"
    put(log, "<script>alert(1)</script>", "\x1b[31mred")
    served.daemon.services = [service("tts", log=str(log))]
    found = served.state(service="tts", line=0)["log"]
    assert texts(found) == ["<script>alert(1)</script>", "\x1b[31mred"]
    put(log, "more")
    later = served.state(service="tts", line=2, reader=found["reader"])["log"]
    assert texts(later) == ["more"]
    assert served.state(service="nobody", line=0)["log"] is None
    assert served.state()["log"] is None


def test_a_search_over_http(served: Served) -> None:
    log = served.root / "tts.log"
    put(log, "one", "two", "öne")
    served.daemon.services = [service("tts", log=str(log))]
    found = served.ask(f"/api/search?service=tts&text={quote('ÖNE')}")
    assert found.status == 200
    assert texts(found.json) == ["öne"]
    assert served.ask("/api/search?service=nobody&text=a").status == 404
    assert served.ask("/api/search?service=tts").status == 400
    assert served.ask(f"/api/search?service=tts&text={'x' * 300}").status == 400


def test_a_log_that_cannot_be_read_is_said(served: Served) -> None:
    folder = served.root / "folder.log"
    folder.mkdir()
    served.daemon.services = [service("tts", log=str(folder))]
    reply = served.ask("/api/state?service=tts&line=0")
    assert reply.status in (200, 503)
    assert b"Traceback" not in reply.body
