"""PID files, the daemon's lock and private directories, with traps laid under them."""

import fcntl
import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from supervisor.posix.lock import DaemonLock, LockHeldError, lock_holder
from supervisor.posix.pidfile import PidFile
from supervisor.posix.state import UnsafePathError, private_directory, write_whole

if TYPE_CHECKING:
    from .conftest import Stage

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")


def test_pid_file_is_exactly_the_pid_and_replaces_a_stale_one(tmp_path: Path) -> None:
    path = tmp_path / "tts.pid"
    file = PidFile(str(path))
    assert file.read() is None
    file.write(4711)
    assert path.read_bytes() == b"4711\n"
    file.write(12)
    assert path.read_bytes() == b"12\n"
    assert file.read() == 12
    assert os.listdir(tmp_path) == ["tts.pid"]


def test_pid_file_is_removed_only_by_the_one_it_names(tmp_path: Path) -> None:
    file = PidFile(str(tmp_path / "tts.pid"))
    file.write(4711)
    assert not file.remove(only_if=12)
    assert file.read() == 4711
    assert file.remove(only_if=4711)
    assert not file.remove(only_if=4711)
    assert os.listdir(tmp_path) == []


def test_pid_file_is_not_written_through_a_link(tmp_path: Path) -> None:
    treasure = tmp_path / "treasure"
    treasure.write_text("42\n")
    link = tmp_path / "tts.pid"
    link.symlink_to(treasure)
    file = PidFile(str(link))
    for act in (lambda: file.write(1), file.read, lambda: file.remove(only_if=42)):
        with pytest.raises(UnsafePathError, match=r"tts\.pid is a symbolic link: remove it"):
            act()
    assert treasure.read_text() == "42\n"
    assert link.is_symlink()


def test_pid_file_is_not_a_directory_nor_a_fifo(tmp_path: Path) -> None:
    (tmp_path / "folder.pid").mkdir()
    os.mkfifo(tmp_path / "fifo.pid")
    for name in ("folder.pid", "fifo.pid"):
        file = PidFile(str(tmp_path / name))
        with pytest.raises(UnsafePathError, match="not a regular file: move it away"):
            file.write(1)
        with pytest.raises(UnsafePathError, match="not a regular file"):
            file.read()


@root_only
def test_pid_file_of_another_user_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "tts.pid"
    path.write_text("42\n")
    os.chown(path, 12345, -1)
    with pytest.raises(UnsafePathError, match="belongs to uid 12345"):
        PidFile(str(path)).write(1)
    assert path.read_text() == "42\n"


def test_trap_under_the_temporary_name_is_not_followed(tmp_path: Path) -> None:
    treasure = tmp_path / "treasure"
    treasure.write_text("gold")
    (tmp_path / f".tts.pid.{os.getpid()}.new").symlink_to(treasure)
    PidFile(str(tmp_path / "tts.pid")).write(7)
    assert treasure.read_text() == "gold"
    assert sorted(os.listdir(tmp_path)) == ["treasure", "tts.pid"]


@pytest.mark.parametrize("content", [b"", b"x", b"-4", b"0\n", b"\xff\xfe", b"1 2", b"9" * 5000])
def test_junk_in_a_pid_file_names_nobody(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tts.pid"
    path.write_bytes(content)
    read = PidFile(str(path)).read()
    assert read is None or content.startswith(b"999")


def test_pid_file_in_a_missing_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnsafePathError, match=r"cannot write the PID file .*: No such file"):
        PidFile(str(tmp_path / "none" / "tts.pid")).write(1)


@pytest.mark.parametrize("synced", [False, True])
def test_a_file_is_written_whole_and_of_its_mode(tmp_path: Path, *, synced: bool) -> None:
    path = tmp_path / "state.json"
    before = os.umask(0o777)
    try:
        for mode in (0o600, 0o644):
            write_whole(str(path), b"%o" % mode, mode=mode, synced=synced)
            assert stat.S_IMODE(path.stat().st_mode) == mode
            assert path.read_bytes() == b"%o" % mode
    finally:
        os.umask(before)
    assert os.listdir(tmp_path) == ["state.json"]


def test_who_reads_an_old_file_reads_on_in_it_while_it_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_whole(str(path), b"old")
    with path.open("rb") as reading:
        write_whole(str(path), b"new and longer")
        assert reading.read() == b"old"
    assert path.read_bytes() == b"new and longer"


def test_a_link_in_its_place_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    treasure = tmp_path / "treasure"
    treasure.write_text("gold")
    link = tmp_path / "state.json"
    link.symlink_to(treasure)
    write_whole(str(link), b"{}")
    assert (treasure.read_text(), link.is_symlink(), link.read_bytes()) == ("gold", False, b"{}")


def test_on_a_full_disk_the_old_file_stays_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_whole(str(path), b"old")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_whole(str(path), bytes(3000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert path.read_bytes() == b"old"
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_whole(str(tmp_path / "folder"), b"")
    assert sorted(os.listdir(tmp_path)) == ["folder", "state.json"]


HOLD = (
    "import sys\n"
    "from supervisor.posix.lock import DaemonLock\n"
    "lock = DaemonLock.acquire(sys.argv[1])\n"
    "print('held', flush=True)\n"
    "sys.stdin.read()\n"
)


def test_second_holder_is_told_who_the_first_is(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, path], cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == b"held\n"
        with pytest.raises(LockHeldError, match=f"runs already: pid {first.pid} holds"):
            DaemonLock.acquire(path)
        assert lock_holder(path) == first.pid
    finally:
        first.kill()
        first.communicate()
    # Killed, it could tidy nothing up; the file is stale and the lock is free.
    assert lock_holder(path) is None
    lock = DaemonLock.acquire(path)
    assert lock_holder(path) == os.getpid()
    with pytest.raises(LockHeldError) as caught:
        DaemonLock.acquire(path)
    assert caught.value.pid == os.getpid()
    lock.release()
    lock.release()
    assert os.path.exists(path)
    DaemonLock.acquire(path).release()


def test_holder_that_has_not_signed_yet_is_no_other_pid(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text("1 2 other-boot 0\n")
    with path.open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(LockHeldError, match="has not written its pid yet"):
            DaemonLock.acquire(str(path))


def test_services_do_not_inherit_the_lock(stage: "Stage", tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    lock = DaemonLock.acquire(path)
    service = stage.spawn("sleep", "60")
    lock.release()
    DaemonLock.acquire(path).release()
    os.kill(service.pid, signal.SIGKILL)
    assert stage.reap(service.pid) == -signal.SIGKILL


def test_lock_is_not_taken_through_a_link_nor_on_a_removed_file(tmp_path: Path) -> None:
    (tmp_path / "target").touch()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(UnsafePathError, match="symbolic link"):
        DaemonLock.acquire(str(tmp_path / "link"))
    path = tmp_path / "lock"
    removed = DaemonLock.acquire(str(path))
    path.unlink()
    fresh = DaemonLock.acquire(str(path))
    with pytest.raises(LockHeldError):
        DaemonLock.acquire(str(path))
    fresh.release()
    removed.release()


def test_file_that_is_removed_while_it_is_being_locked_is_not_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    real = fcntl.flock

    def tidied_up(fd: int, operation: int) -> None:
        monkeypatch.undo()
        path.unlink()
        real(fd, operation)

    monkeypatch.setattr("supervisor.posix.lock.fcntl.flock", tidied_up)
    lock = DaemonLock.acquire(str(path))
    with pytest.raises(LockHeldError):
        DaemonLock.acquire(str(path))
    lock.release()


def test_state_directory_is_made_private(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state"
    private_directory(str(path))
    assert path.stat().st_mode & 0o777 == 0o700
    private_directory(str(path))


def test_state_directory_ignores_a_strange_umask(tmp_path: Path) -> None:
    before = os.umask(0o777)
    try:
        private_directory(str(tmp_path / "state"))
    finally:
        os.umask(before)
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


def test_state_directory_that_is_not_private_is_refused_and_kept(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(0o755)
    with pytest.raises(UnsafePathError, match=f"mode 0755.*: run chmod 700 {shared}"):
        private_directory(str(shared))
    assert shared.stat().st_mode & 0o777 == 0o755
    shared.chmod(0o700)
    (tmp_path / "link").symlink_to(shared)
    with pytest.raises(UnsafePathError, match="symbolic link: name the directory"):
        private_directory(str(tmp_path / "link"))
    (tmp_path / "file").touch()
    with pytest.raises(UnsafePathError, match="not a directory"):
        private_directory(str(tmp_path / "file"))
    with pytest.raises(UnsafePathError, match="cannot make the directory"):
        private_directory(str(tmp_path / "file" / "below"))


@root_only
def test_state_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(0o700)
    os.chown(tmp_path / "state", 12345, -1)
    with pytest.raises(UnsafePathError, match="belongs to uid 12345"):
        private_directory(str(tmp_path / "state"))
