"""The sink's control socket, its descriptor store and its own life."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from supervisor import __version__

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import SinkHost

    Await = Callable[[Callable[[], object], str], None]

beyond_select = pytest.mark.skipif(
    sys.platform == "darwin", reason="more descriptors than select(2) can wait for"
)
MARK = re.compile(
    rb"--- atlasctl \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d run 3 started, pid 7\n"
)


def test_a_mark_comes_after_what_was_printed_and_on_a_line_of_its_own(host: SinkHost) -> None:
    held = host.fifo("tts")
    control = host.start()
    assert host.attach(control, "tts") == {"ok": True}
    os.write(held, b"whole\nhalf a li")
    assert control.ask("mark", name="tts", text="run 3 started, pid 7") == {"ok": True}
    os.write(held, b"ne\n")
    flushed = control.ask("flush", name="tts")
    first, half, mark, rest = host.content("tts").splitlines(keepends=True)
    assert (first, half, rest) == (b"whole\n", b"half a li\n", b"ne\n")
    assert MARK.fullmatch(mark)
    assert flushed == {"ok": True, "size": host.log("tts").stat().st_size}


def test_a_mark_cannot_forge_lines(host: SinkHost) -> None:
    host.fifo("tts")
    control = host.start()
    host.attach(control, "tts")
    assert control.ask("mark", name="tts", text="a\nb\x1b[31m\ud800" + "z" * 5000)["ok"] is True
    (line,) = host.content("tts").splitlines()
    assert b" a b [31m" in line
    assert len(line) < 1100


def test_stats_count_bytes_and_a_live_policy_is_used(host: SinkHost) -> None:
    held = host.fifo("tts")
    control = host.start()
    host.attach(control, "tts")
    os.write(held, b"one\ntwo\n")
    control.ask("flush", name="tts")
    assert host.attach(control, "tts", max_size=4096) == {"ok": True}
    for _ in range(80):
        os.write(held, b"y" * 99 + b"\n")
    control.ask("flush", name="tts")
    logs = control.ask("stats")["logs"]
    assert isinstance(logs, dict)
    stats = logs["tts"]
    assert (stats["bytes"], stats["lost_bytes"], stats["lost_lines"]) == (8008, 0, 0)
    assert stats["error"] is None
    assert stats["rotations"] == 2
    assert all(file.stat().st_size <= 4096 for file in host.logs.glob("tts.log*"))
    assert all(file.read_bytes().endswith(b"\n") for file in host.logs.glob("tts.log*"))


def test_a_long_line_is_split_at_the_limit_and_nothing_of_it_is_lost(host: SinkHost) -> None:
    held = host.fifo("tts")
    control = host.start()
    host.attach(control, "tts", max_size=4096)
    line = b"z" * 10_000 + b"\n"
    os.write(held, line)
    control.ask("flush", name="tts")
    assert host.content("tts") == line
    assert max(file.stat().st_size for file in host.logs.glob("tts.log*")) == 4096


def test_rotated_logs_are_gzipped_and_too_old_ones_deleted(
    host: SinkHost, eventually: Await
) -> None:
    held = host.fifo("tts")
    control = host.start()
    host.attach(control, "tts", max_size=4096, keep=3, compress=True)
    lines = [b"%05d %s\n" % (number, b"w" * 90) for number in range(400)]
    for line in lines:
        os.write(held, line)
    control.ask("flush", name="tts")
    names = ["tts.log", "tts.log.1.gz", "tts.log.2.gz", "tts.log.3.gz"]
    eventually(
        lambda: sorted(file.name for file in host.logs.glob("tts.*")) == names, "all are gzipped"
    )
    content = host.content("tts")
    assert content == b"".join(lines)[-len(content) :]
    assert len(content) > 3 * 2500
    assert sorted(file.name for file in (host.logs / ".times").iterdir()) == sorted(
        f"{name.removesuffix('.gz')}.times" for name in names
    )


def test_an_attach_repairs_what_a_crash_left(host: SinkHost, eventually: Await) -> None:
    host.fifo("tts")
    host.logs.mkdir()
    (host.logs / "tts.log").write_bytes(b"5\n")
    (host.logs / "tts.log.1").write_bytes(b"4\n")
    (host.logs / "tts.log.2").write_bytes(b"3\n")
    (host.logs / "tts.log.2.gz").write_bytes(gzip.compress(b"3\n"))
    (host.logs / "tts.log.77.gz.tmp").write_bytes(b"half")
    control = host.start()
    host.attach(control, "tts", compress=True)
    names = ["tts.log", "tts.log.1.gz", "tts.log.2.gz"]
    eventually(
        lambda: sorted(file.name for file in host.logs.glob("tts.*")) == names, "all is repaired"
    )
    assert host.content("tts") == b"3\n4\n5\n"


def test_a_replaced_fifo_is_drained_before_it_is_left(host: SinkHost) -> None:
    held = host.fifo("tts")
    control = host.start()
    host.attach(control, "tts")
    os.write(held, b"old\n")
    (host.state / "tts").unlink()
    fresh = host.fifo("tts")
    assert host.attach(control, "tts") == {"ok": True}
    os.write(fresh, b"new\n")
    control.ask("flush", name="tts")
    assert host.content("tts") == b"old\nnew\n"


def test_a_connection_is_not_taken_for_the_fifo_whose_number_it_gets(
    host: SinkHost, eventually: Await
) -> None:
    """An attach anew closes a descriptor, and who connects in the same moment gets its number."""
    held = host.fifo("tts")
    control = host.start()
    host.attach(control, "tts")
    assert host.process is not None
    sink = psutil.Process(host.process.pid)
    for turn in range(5):
        sink.suspend()
        eventually(lambda: sink.status() == psutil.STATUS_STOPPED, "the sink stands still")
        attach = {"op": "attach", "name": "tts", "fifo": str(host.state / "tts")}
        policy = {"max_size": 1 << 20, "keep": 100, "compress": False}
        told = {**attach, **policy, "log": str(host.log("tts"))}
        control.send(json.dumps(told).encode() + b"\n")
        os.write(held, b"from the service\n")
        other = host.connect()
        other.send(b'{"op": "stats"}\n')
        sink.resume()
        assert control.receive() == {"ok": True}
        assert other.receive()["ok"] is True
        control.ask("flush", name="tts")
        assert host.content("tts") == b"from the service\n" * (turn + 1)


def test_a_fifo_at_its_end_is_taken_up_again(host: SinkHost, eventually: Await) -> None:
    held = host.fifo("tts")
    control = host.start()
    host.attach(control, "tts")
    os.write(held, b"first\n")
    host.release(held)
    eventually(lambda: host.content("tts") == b"first\n", "the first line is written")
    assert host.process is not None
    held = host.fifo("tts")
    assert host.attach(control, "tts") == {"ok": True}
    os.write(held, b"second\n")
    eventually(lambda: host.content("tts") == b"first\nsecond\n", "the second line is written")


def test_a_log_deleted_or_truncated_by_hand_is_gone_on_with(host: SinkHost) -> None:
    held = host.fifo("tts")
    control = host.start()
    host.attach(control, "tts")
    os.write(held, b"one\n")
    control.ask("flush", name="tts")
    os.truncate(host.log("tts"), 0)
    os.write(held, b"two\n")
    control.ask("flush", name="tts")
    assert host.content("tts") == b"two\n"
    host.log("tts").unlink()
    os.write(held, b"three\n")
    control.ask("flush", name="tts")
    assert host.content("tts") == b"three\n"


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"{", "Expecting"),
        (b"[]", "JSON object"),
        (b'"\xff"', "utf-8"),
        (b"[" * 60_000, "recursion"),
        (b'{"op": "reboot"}', "op must be one of: attach, mark"),
        (b'{"op": ["attach"]}', "op must be one of"),
        (b'{"op": "mark", "name": "tts"}', "'tts' is not attached"),
        (b'{"op": "flush"}', "name must be"),
        (b'{"op": "store", "name": "x", "count": 2}', "2 file descriptors named, 0 came"),
        (b'{"op": "store", "name": "x", "count": true}', "count must be a whole number"),
    ],
)
def test_a_bad_request_gets_an_error_and_the_connection_goes_on(
    host: SinkHost, raw: bytes, says: str
) -> None:
    control = host.start()
    control.send(raw + b"\n")
    reply = control.receive()
    assert reply["ok"] is False
    assert says in str(reply["error"])
    assert control.ask("stats")["logs"] == {}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"max_size": 0}, "max_size is 0: give at least 4096 bytes"),
        ({"max_size": None}, "max_size must be a whole number"),
        ({"keep": -1}, "keep is -1"),
        ({"compress": 1}, "compress must be true or false"),
        ({"fifo": "/nowhere/fifo"}, "No such file"),
        ({"fifo": "/dev/null"}, "not a FIFO"),
        ({"log": "relative.log"}, "absolute path"),
    ],
)
def test_a_bad_attach_says_what_is_wrong(
    host: SinkHost, change: dict[str, object], says: str
) -> None:
    host.fifo("tts")
    control = host.start()
    fields = {
        "name": "tts",
        "fifo": str(host.state / "tts"),
        "log": str(host.log("tts")),
        "max_size": 4096,
        "keep": 1,
        "compress": False,
    }
    reply = control.ask("attach", **{**fields, **change})
    assert reply["ok"] is False
    assert says in str(reply["error"])
    assert control.ask("stats")["logs"] == {}


def test_two_services_cannot_share_a_log(host: SinkHost) -> None:
    host.fifo("a")
    host.fifo("b")
    control = host.start()
    host.attach(control, "a")
    reply = control.ask(
        "attach",
        name="b",
        fifo=str(host.state / "b"),
        log=str(host.log("a")),
        max_size=4096,
        keep=1,
        compress=False,
    )
    assert "is the log of 'a' already" in str(reply["error"])


def test_an_endless_line_costs_only_its_connection(host: SinkHost) -> None:
    other = host.start()
    control = host.connect()

    def send_without_end() -> None:
        for _ in range(100):
            control.send(b"x" * 65536)
        control.receive()

    with pytest.raises((EOFError, BrokenPipeError, ConnectionResetError)):
        send_without_end()
    assert other.ask("stats")["ok"] is True


def test_several_requests_in_one_piece_are_answered_in_order(host: SinkHost) -> None:
    control = host.start()
    control.send(b'{"op":"stats"}\n{"op":"nonsense"}\n{"op":"fetch"}\n')
    assert [control.receive().get("ok") for _ in range(3)] == [True, False, True]


def test_stored_sockets_survive_their_owner(host: SinkHost) -> None:
    control = host.start()
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        assert control.ask("store", [server.fileno()], name="http", count=1) == {"ok": True}
    control.close()
    control = host.connect()
    assert control.ask("fetch") == {"ok": True, "names": ["http"], "left": 0}
    with (
        socket.socket(fileno=os.dup(control.descriptors[0])) as inherited,
        socket.create_connection(address, timeout=5) as client,
    ):
        accepted, _ = inherited.accept()
        with accepted:
            accepted.sendall(b"here")
        assert client.recv(10) == b"here"
    assert control.ask("forget", name="http") == {"ok": True}
    assert control.ask("fetch") == {"ok": True, "names": [], "left": 0}
    control.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=5)


def test_the_store_is_fetched_in_pages_and_a_name_is_replaced_whole(host: SinkHost) -> None:
    control = host.start()
    for name in ("a", "b", "c"):
        assert control.ask("store", [0] * 100, name=name, count=100) == {"ok": True}
    assert control.ask("store", [0] * 2, name="b", count=2) == {"ok": True}
    names: list[str] = []
    counts: list[tuple[int, object]] = []
    while not counts or counts[-1][1]:
        page = control.ask("fetch", **{"from": len(names)})
        assert isinstance(page["names"], list)
        names += page["names"]
        counts.append((len(page["names"]), page["left"]))
        assert len(control.descriptors) == len(names)
    assert names == ["a"] * 100 + ["c"] * 100 + ["b"] * 2
    assert counts == [(128, 74), (74, 0)]
    assert control.ask("fetch", **{"from": 500}) == {"ok": True, "names": [], "left": 0}
    assert "from must be 0 or more" in str(control.ask("fetch", **{"from": -1})["error"])


@beyond_select
def test_the_store_is_bounded(host: SinkHost) -> None:
    control = host.start()
    for number in range(8192 // 128):
        assert control.ask("store", [0] * 128, name=str(number), count=128) == {"ok": True}
    reply = control.ask("store", [0], name="many", count=1)
    assert "at most 8192" in str(reply["error"])
    # What is replaced makes room first.
    assert control.ask("store", [0], name="7", count=1) == {"ok": True}
    assert "name is longer" in str(control.ask("store", [0], name="n" * 513, count=1)["error"])
    assert descriptors_of(host) < 8192 + 40


def descriptors_of(host: SinkHost) -> int:
    assert host.process is not None
    return psutil.Process(host.process.pid).num_fds()


def test_too_few_files_are_said_and_cost_only_the_request(host: SinkHost) -> None:
    """The hard limit is a neighbour's: the sink says so, serves on, and leaks nothing."""
    host.fifo("a")
    control = host.start_with_files(400)
    control.ask("stats")
    before = descriptors_of(host)
    assert host.attach(control, "a") == {"ok": True}
    reply = control.ask("store", [0] * 128, name="http", count=128)
    said = "the sink may open only 400 files, and 3 are in use for logs and sockets: raise"
    assert said in str(reply["error"])
    for number in range(30):
        host.fifo(f"b{number}")
        reply = host.attach(control, f"b{number}")
        if reply["ok"] is not True:
            break
    assert "the sink may open only 400 files" in str(reply["error"])
    assert control.ask("stats")["ok"] is True
    assert descriptors_of(host) <= before + 4 * 30


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS refuses the whole message")
def test_descriptors_that_do_not_fit_at_all_cost_only_the_request(host: SinkHost) -> None:
    """The kernel cuts them off (MSG_CTRUNC); the peer would come back and send them again."""
    control = host.start_with_files(40)
    control.ask("stats")
    before = descriptors_of(host)
    reply = control.ask("store", [0] * 100, name="http", count=100)
    assert "100 file descriptors came and not all fit" in str(reply["error"])
    assert descriptors_of(host) == before
    assert control.ask("stats")["ok"] is True


@beyond_select
def test_the_counts_of_very_many_services_are_one_reply(host: SinkHost) -> None:
    """Larger than what a peer may leave unread."""
    control = host.start()
    long = "name" * 50
    for number in range(900):
        host.fifo(f"{long}-{number}")
        host.attach(control, f"{long}-{number}")
    reply = control.ask("stats")
    assert len(json.dumps(reply)) > 256 * 1024
    logs = reply["logs"]
    assert isinstance(logs, dict)
    assert len(logs) == 900


def test_quit_leaves_a_half_line_to_be_gone_on_with(host: SinkHost) -> None:
    held = host.fifo("tts")
    control = host.start()
    host.attach(control, "tts")
    os.write(held, b"first\nhalf a ")
    assert control.ask("quit", pack=False) == {"ok": True}
    assert host.reap() == 0
    os.write(held, b"line\n")
    host.attach(host.start(), "tts")
    host.connect().ask("flush", name="tts")
    assert host.content("tts") == b"first\nhalf a line\n"


def test_quit_without_packing_leaves_that_to_the_next(host: SinkHost, eventually: Await) -> None:
    held = host.fifo("tts")
    control = host.start()
    host.attach(control, "tts", max_size=1 << 20, compress=True)
    lines = b"".join(b"%06d %s\n" % (number, b"p" * 93) for number in range(20_000))
    for start in range(0, len(lines), 4000):
        os.write(held, lines[start : start + 4000])
    assert control.ask("quit", pack=False) == {"ok": True}
    assert host.reap() == 0
    host.attach(host.start(), "tts", max_size=1 << 20, compress=True)
    eventually(lambda: not list(host.logs.glob("tts.log.?")), "the next one has gzipped all")
    assert host.content("tts") == lines


def test_a_loss_is_said_before_the_end(host: SinkHost) -> None:
    """Else nobody would ever know: the next sink has not seen it."""
    held = host.fifo("tts")
    host.logs.write_bytes(b"in the way")
    control = host.start()
    host.attach(control, "tts")
    os.write(held, b"lost\nand half of ano")
    control.ask("flush", name="tts")
    host.logs.unlink()
    control.ask("quit")
    assert host.reap() == 0
    (mark,) = host.content("tts").splitlines()
    assert b"lost 20 bytes of 1 lines here" in mark


def test_a_check_proves_a_start_and_disturbs_nobody(host: SinkHost) -> None:
    held = host.fifo("tts")
    control = host.start()
    host.attach(control, "tts")
    code, said = check(host.state)
    assert code == 0
    assert said["ok"] is True
    assert said["version"] == __version__
    os.write(held, b"undisturbed\n")
    assert control.ask("flush", name="tts")["ok"] is True
    assert control.ask("stats")["version"] == __version__
    (host.state / "sink.journal").unlink(missing_ok=True)
    (host.state / "sink.journal").mkdir()
    code, said = check(host.state)
    assert code == 1
    assert said["ok"] is False
    assert "Is a directory" in str(said["error"])
    assert check(host.state / "nowhere")[0] == 1


def check(state: Path) -> tuple[int, dict[str, object]]:
    command = [sys.executable, "-m", "supervisor.logs.sink", "--check", str(state)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def test_quit_leaves_nothing_undone(host: SinkHost) -> None:
    held = host.fifo("tts")
    control = host.start()
    host.attach(control, "tts", max_size=4096, compress=True)
    lines = b"".join(b"%05d %s\n" % (number, b"q" * 90) for number in range(300))
    os.write(held, lines)
    assert control.ask("quit") == {"ok": True}
    assert host.reap() == 0
    assert host.content("tts") == lines
    assert all(file.suffix == ".gz" for file in host.logs.glob("tts.log.*"))
    assert not host.socket_path.exists()


def test_signals_that_end_a_session_do_not_end_the_sink(host: SinkHost) -> None:
    held = host.fifo("tts")
    control = host.start()
    host.attach(control, "tts")
    assert host.process is not None
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        host.process.send_signal(number)
    os.write(held, b"still here\n")
    assert control.ask("flush", name="tts")["ok"] is True
    assert host.content("tts") == b"still here\n"


def test_it_ends_by_itself_when_nobody_is_left(host: SinkHost, eventually: Await) -> None:
    held = host.fifo("tts")
    control = host.start()
    host.attach(control, "tts")
    control.close()
    assert host.process is not None
    os.write(held, b"last words\n")
    eventually(lambda: host.content("tts") == b"last words\n", "it reads without a daemon")
    host.release(held)
    assert host.reap() == 0


def test_a_second_sink_says_so_and_leaves_the_first_alone(host: SinkHost) -> None:
    control = host.start()
    second = host.launch()
    _, error = second.communicate(timeout=20)
    assert second.returncode == 1
    assert error.decode() == f"another sink serves {host.state} already\n"
    assert control.ask("stats")["ok"] is True


def test_a_socket_of_a_dead_sink_is_replaced(host: SinkHost) -> None:
    host.start()
    host.kill()
    assert host.socket_path.is_socket()
    assert host.start().ask("stats")["ok"] is True
    assert host.socket_path.stat().st_mode & 0o777 == 0o700 & ~0o077


def test_wrong_arguments_and_a_missing_folder_are_explained(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "supervisor.logs.sink"]
    bare = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert (bare.returncode, bare.stderr.split(" ")[0]) == (2, "usage:")
    missing = subprocess.run(
        [*command, str(tmp_path / "no")], capture_output=True, text=True, timeout=20
    )
    assert missing.returncode == 1
    assert "cannot start" in missing.stderr


def test_a_flood_does_not_starve_another_service_or_control(
    host: SinkHost, eventually: Await
) -> None:
    flood = host.fifo("flood")
    quiet = host.fifo("quiet")
    control = host.start()
    host.attach(control, "flood", max_size=1 << 20, keep=1)
    host.attach(control, "quiet")
    line = repr("f" * 80 + "\n")
    writer = subprocess.Popen(
        [sys.executable, "-c", f"import os\nwhile True: os.write(1, b{line} * 800)"], stdout=flood
    )
    try:
        eventually((host.logs / "flood.log.1").exists, "the flood is on")
        for number in range(20):
            os.write(quiet, b"%d\n" % number)
            assert control.ask("stats")["ok"] is True
        eventually(
            lambda: host.content("quiet") == b"".join(b"%d\n" % n for n in range(20)),
            "the quiet service's lines are written during the flood",
        )
        assert writer.poll() is None
    finally:
        writer.kill()
        writer.wait()


def test_requests_are_json_lines_whatever_their_field_order(host: SinkHost) -> None:
    held = host.fifo("назва")
    control = host.start()
    assert host.attach(control, "назва") == {"ok": True}
    os.write(held, "привіт\n".encode())
    control.send(json.dumps({"name": "назва", "op": "flush"}, ensure_ascii=False).encode() + b"\n")
    assert control.receive()["ok"] is True
    assert host.content("назва").decode() == "привіт\n"
