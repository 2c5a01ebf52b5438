"""The token's file, and where the dashboard says that it is."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from supervisor.dashboard import presence, token_file
from supervisor.dashboard.token_file import NAME, TokenError


def test_a_token_is_made_once_for_this_user_alone(tmp_path: Path) -> None:
    before = os.umask(0)  # whatever the umask is
    try:
        token = token_file.obtain(str(tmp_path))
    finally:
        os.umask(before)
    assert len(token) == 43
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600
    assert token_file.obtain(str(tmp_path)) == token
    assert token_file.read(str(tmp_path)) == token
    assert os.listdir(tmp_path) == [NAME]


def test_two_dashboards_that_begin_at_once_have_one_token(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)
    found: list[str] = []

    def begin(number: int) -> None:
        # Each is a process of its own in truth; here its pid tells them apart.
        barrier.wait(30)
        words = [sys.executable, "-c", _OBTAIN, str(tmp_path)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        found.append(done.stdout)

    threads = [threading.Thread(target=begin, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 8
    assert len(set(found)) == 1
    assert os.listdir(tmp_path) == [NAME]


_OBTAIN = (
    f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r});"
    "from supervisor.dashboard import token_file; print(token_file.obtain(sys.argv[1]))"
)


def _link(path: Path) -> None:
    (path.parent / "elsewhere").write_text("A" * 43)
    path.symlink_to(path.parent / "elsewhere")


def _readable(path: Path) -> None:
    path.write_text("A" * 43 + "\n")
    path.chmod(0o644)


def _text(text: str) -> Callable[[Path], object]:
    def put(path: Path) -> None:
        path.touch(0o600)
        path.write_text(text)

    return put


@pytest.mark.parametrize(
    ("put", "said"),
    [
        (_link, "Too many levels of symbolic links"),
        (_readable, "others could have read"),
        (_text(""), "holds no token"),
        (_text("A" * 42), "holds no token"),
        (_text("A" * 43 + "\n\n"), "holds no token"),
        (_text("ü" * 43), "holds no token"),
        (_text("A" * 100_000), "holds no token"),
        (lambda path: path.mkdir(0o700), "Is a directory"),
        (lambda path: os.mkfifo(path, 0o600), "is not a regular file"),
    ],
    ids=["link", "readable", "empty", "short", "long", "no-ascii", "huge", "folder", "fifo"],
)
def test_a_file_that_is_not_to_be_trusted_is_refused(
    tmp_path: Path, put: Callable[[Path], object], said: str
) -> None:
    put(tmp_path / NAME)
    with pytest.raises(TokenError, match=said):
        token_file.obtain(str(tmp_path))


def test_what_a_killed_process_of_the_same_number_has_left_is_no_hindrance(
    tmp_path: Path,
) -> None:
    # In a container each run may have the same pid.
    (tmp_path / f"{NAME}.{os.getpid()}").write_text("half of a tok")
    assert len(token_file.obtain(str(tmp_path))) == 43
    assert os.listdir(tmp_path) == [NAME]


def test_no_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(TokenError, match="No such file"):
        token_file.obtain(str(tmp_path / "missing"))


def test_a_dashboard_is_found_while_it_lives(tmp_path: Path) -> None:
    assert presence.find(str(tmp_path)) is None
    presence.announce(str(tmp_path), "http://127.0.0.1:3900")
    assert presence.find(str(tmp_path)) == "http://127.0.0.1:3900"
    assert (tmp_path / presence.NAME).stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == [presence.NAME]


def test_what_another_process_has_left_is_no_dashboard(tmp_path: Path) -> None:
    # Its port may be another user's by now, who would be handed the token.
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r});"
        "from supervisor.dashboard import presence; presence.announce(sys.argv[1], 'http://x')"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert (tmp_path / presence.NAME).exists()
    assert presence.find(str(tmp_path)) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"url": 1, "process": null}', "\0" * 9000])
def test_a_spoiled_file_is_no_dashboard(tmp_path: Path, text: str) -> None:
    (tmp_path / presence.NAME).write_text(text)
    assert presence.find(str(tmp_path)) is None
