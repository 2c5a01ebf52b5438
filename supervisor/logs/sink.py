"""The sink: the one process that reads what services print, writes their logs and rotates them.

    python -m supervisor.logs.sink STATE_DIR
    python -m supervisor.logs.sink --check STATE_DIR    could one start? prints JSON, exits 0 or 1

Kept true:
- Nothing is lost or doubled by the death of any process, SIGKILL of the sink included: see
  `supervisor.logs.transfer` for why, and for what remains on systems without splice(2).
- One sink for one state folder (flock on `sink.lock`), so that rename is safe.
- No service can starve another or the control socket: one turn each (`inlet.TURN`).
- It sleeps without a timeout unless a log is broken, its own end is near, or a match is to be told
  a second after the last.

SIGTERM, SIGINT and SIGHUP are ignored on purpose: a logout or a stray `kill` must not lose the last
lines of services that still run. It ends by `quit`, or by itself when nobody can need it any more:
no control connection, every FIFO at its end, nothing in the descriptor store, for `GRACE` seconds.
After `quit` the next sink goes on at the very byte: a line of which half is in the log has its
other half in the FIFO.

Control, on the Unix socket `STATE_DIR/sink.sock`: one JSON object a line, answered by one in order.
Replies are `{"ok": true, ...}` or `{"ok": false, "error": "..."}`. `op` is one of
  attach  name fifo log max_size keep compress [patterns] [run]   begin, or change any of these; an
          error with `attached` true means that it is drained, and lost until the log can be
          written, or not looked at for these patterns: it says which
  mark    name text [run] [after]  drain, end a partial line, write a line of our own; what comes
          after it is printed by this run. `after` is how many bytes lay in the FIFO when it was
          asked for: what has come since is of the new run, and is not drained
  flush   name                     drain; then all that was printed before is in the log
  detach  name                     drain, close, forget
  relocate  log folder             drain; move the log at this path, attached or not, and all that
          was rotated of it into the folder, which is of the same file system; begin it anew
  stats                            counts for each name
  store   name, 1..128 descriptors beside it, `count` of them, in place of those of this name
  fetch   [from]                   names, the descriptors in the same order, and how many are
          `left` after these: at most 128 at a time, counted from 0
  forget  name                     close the stored descriptors of this name
  subscribe                        from now on this connection is told of lines that match, in lines
          of its own: `{"match": {"name", "pattern", "run", "line", "times"}}`. See `logs.reports`.
          What was printed before a mark or flush is told before that is answered
  quit    [pack]                   drain everything, finish compressing unless `pack` is false (the
          next attach does what is left), exit 0
Its own trouble goes to `STATE_DIR/sink.log`, at most twice `LARGEST_OWN_LOG`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import selectors
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

from supervisor import __version__
from supervisor.logs import requests
from supervisor.logs.address import short_name
from supervisor.logs.capacity import raise_file_limit
from supervisor.logs.compression import Compressor
from supervisor.logs.conversation import MOST_DESCRIPTORS, Conversation, PeerError
from supervisor.logs.inlet import MOST_SELECTED, Inlet, selector_of_fifos
from supervisor.logs.intake import FILES_OF_INLET, Intake
from supervisor.logs.marks import mark_line
from supervisor.logs.reports import Reports
from supervisor.logs.requests import RequestError
from supervisor.logs.scanner import LONGEST_LINE
from supervisor.logs.store import DescriptorStore
from supervisor.logs.transfer import check_journal, finish_interrupted, open_mover

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

GRACE = 2.0
PACKING_TIME = 10.0
"""Seconds that the end waits for gzip; what is left then is done after the next attach."""
MOST_CONVERSATIONS = 16
LARGEST_OWN_LOG = 128 * 1024

SPARE_FILES = 64 + 2 * MOST_DESCRIPTORS
"""Kept free for connections, rotation, and descriptors on their way in and out."""

Reply = dict[str, object]


class Sink:
    """All that the sink holds, and its loop."""

    def __init__(self, state: str, most_files: int) -> None:
        """Take the state folder; BlockingIOError when it is taken, OSError when unusable.

        `most_files` is how many files this process may open.
        """
        self._state = state
        self._lock = _open_lock(state)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise
        self._conversations: set[Conversation] = set()
        self._store = DescriptorStore()
        self._reports = Reports()
        self._quitting = False
        self._packing_time = PACKING_TIME
        self._alone_since: float | None = None
        self._operations: dict[str, Callable[[Conversation, Mapping[str, object]], Reply]] = {
            "attach": self._attach,
            "mark": self._mark,
            "flush": self._flush,
            "detach": self._detach,
            "relocate": self._relocate,
            "stats": self._stats,
            "store": self._put,
            "forget": self._forget,
            "subscribe": self._subscribe,
            "quit": self._quit,
        }
        journal = os.path.join(state, "sink.journal")
        try:
            finish_interrupted(journal)
        except OSError as error:
            self.complain(f"what the last sink had read could not be written: {error}")
        self._listener = self._listen()
        self._selector = selector_of_fifos()
        self._most_files = most_files
        self._more_files = "raise the hard limit (ulimit -Hn) for the daemon"
        if isinstance(self._selector, selectors.SelectSelector) and most_files > MOST_SELECTED:
            self._most_files = MOST_SELECTED
            self._more_files = "no more can be waited for on this system, so split the services"
        self._selector.register(self._listener, selectors.EVENT_READ, self._listener)
        self._intake = Intake(
            self._selector, open_mover(journal), self.complain, self._reports.note
        )

    def complain(self, text: str) -> None:
        """Write a line to the sink's own log; never raises."""
        path = os.path.join(self._state, "sink.log")
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        with contextlib.suppress(OSError):
            fd = os.open(path, flags, 0o600)
            try:
                os.write(fd, mark_line(f"sink: {text}", time.time()))
                if os.fstat(fd).st_size > LARGEST_OWN_LOG:
                    os.rename(path, path + ".1")
            finally:
                os.close(fd)

    def run(self) -> None:
        """Serve until `quit` or until nobody can need the sink any more."""
        while not self._quitting:
            ready = self._selector.select(self._timeout())
            # Requests first: a mark belongs above what has been printed since it was asked for.
            ready.sort(key=lambda each: isinstance(each[0].data, Inlet))
            for key, events in ready:
                # An earlier event of the same round may have closed this one, and its number be
                # another's by now.
                known = self._selector.get_map().get(key.fd)
                if known is None or known.data is not key.data:
                    continue
                match key.data:
                    case Inlet() as inlet:
                        self._intake.pump(inlet)
                    case Conversation() as conversation:
                        self._converse(conversation, events)
                    case Compressor() as compressor:
                        compressor.collect()
                    case _:
                        self._accept()
            self._intake.look_after(idle=not ready)
            self._tell()
            if self._nobody_left():
                break
        self._finish()

    def _listen(self) -> socket.socket:
        path = os.path.join(self._state, "sink.sock")
        # Whoever holds the lock owns the name. Bound elsewhere first: nobody can find it before
        # it listens, or with the rights that the shell's umask would give it.
        fresh = os.path.join(self._state, "sink.new")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(fresh)
        mask = os.umask(0o077)
        try:
            with short_name(fresh) as name:
                listener.bind(name)
        finally:
            os.umask(mask)
        listener.listen(MOST_CONVERSATIONS)
        listener.setblocking(False)
        os.rename(fresh, path)
        return listener

    def _timeout(self) -> float | None:
        alone = None if self._alone_since is None else self._alone_since + GRACE
        times = (self._intake.due(), self._reports.due(), alone)
        due = [at for at in times if at is not None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _nobody_left(self) -> bool:
        # Besides FIFOs and conversations, the listener and the compressor are registered.
        if self._store.count or len(self._selector.get_map()) > 2:
            self._alone_since = None
            return False
        now = time.monotonic()
        if self._alone_since is None:
            self._alone_since = now
        return now >= self._alone_since + GRACE

    def _finish(self) -> None:
        self._intake.finish(self._packing_time)
        self._reports.tell(all_of_them=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self._state, "sink.sock"))
        # Before the connections: who sees them end may start the next sink at once.
        os.close(self._lock)
        for conversation in self._conversations:
            conversation.close()

    # Inlets

    def _inlet(self, request: Mapping[str, object]) -> Inlet:
        return self._intake.find(requests.text(request, "name"))

    def _attach(self, _: Conversation, request: Mapping[str, object]) -> Reply:
        name, fifo, path = (requests.text(request, field) for field in ("name", "fifo", "log"))
        policy = requests.policy(request)
        self._need_files(FILES_OF_INLET)
        log = self._intake.attach(name, fifo, path, policy)
        try:
            if "run" in request:
                log.scanner.run = requests.run(request)
            patterns = requests.patterns(request)
        except RequestError as refused:  # no reason to leave the output unread
            return {"ok": False, "attached": True, "error": str(refused)}
        if patterns is not None:
            log.scanner.look_for(patterns, log.tail(LONGEST_LINE))
        if log.broken:
            error = f"output is thrown away until the log can be written: {log.error}"
            return {"ok": False, "attached": True, "error": error}
        return {"ok": True}

    def _mark(self, _: Conversation, request: Mapping[str, object]) -> Reply:
        inlet = self._inlet(request)
        text, run = requests.text(request, "text"), requests.run(request)
        inlet.drain(requests.number(request, "after") if "after" in request else None)
        problem = inlet.log.mark(text)
        if run is not None:
            inlet.log.scanner.run = run
        self._tell()
        if problem is not None:
            raise RequestError(problem)
        return {"ok": True}

    def _flush(self, _: Conversation, request: Mapping[str, object]) -> Reply:
        inlet = self._inlet(request)
        inlet.drain()
        self._tell()
        return {"ok": True, "size": inlet.log.size}

    def _detach(self, _: Conversation, request: Mapping[str, object]) -> Reply:
        self._intake.detach(self._inlet(request))
        return {"ok": True}

    def _relocate(self, _: Conversation, request: Mapping[str, object]) -> Reply:
        log, folder = requests.text(request, "log"), requests.text(request, "folder")
        self._intake.relocate(log, folder)
        return {"ok": True}

    def _stats(self, _: Conversation, request: Mapping[str, object]) -> Reply:
        del request
        logs = self._intake.counts()
        return {"ok": True, "pid": os.getpid(), "version": __version__, "logs": logs}

    # The descriptor store

    def _need_files(self, count: int) -> None:
        used = self._intake.files + self._store.count
        if used + count + SPARE_FILES > self._most_files:
            raise RequestError(
                f"the sink may open only {self._most_files} files, and {used} are in use for logs "
                f"and sockets: {self._more_files}"
            )

    def _put(self, conversation: Conversation, request: Mapping[str, object]) -> Reply:
        count = requests.number(request, "count")
        if count < 1:
            raise RequestError("count must be the number of descriptors sent, at least 1")
        descriptors = conversation.claim(count)
        try:
            self._need_files(count)
            self._store.put(requests.text(request, "name"), descriptors)
        except RequestError:
            for descriptor in descriptors:
                os.close(descriptor)
            raise
        return {"ok": True}

    def _fetch(self, request: Mapping[str, object]) -> tuple[Reply, tuple[int, ...]]:
        start = requests.number(request, "from", 0)
        if start < 0:
            raise RequestError("from must be 0 or more")
        names, descriptors, left = self._store.page(start)
        return {"ok": True, "names": names, "left": left}, descriptors

    def _forget(self, _: Conversation, request: Mapping[str, object]) -> Reply:
        self._store.drop(requests.text(request, "name"))
        return {"ok": True}

    def _subscribe(self, conversation: Conversation, _: Mapping[str, object]) -> Reply:
        self._reports.subscribe(conversation)
        return {"ok": True}

    def _quit(self, _: Conversation, request: Mapping[str, object]) -> Reply:
        if not requests.choice(request, "pack", True):
            self._packing_time = 0.0
        self._intake.drain()
        self._quitting = True
        return {"ok": True}

    # Conversations

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        if len(self._conversations) >= MOST_CONVERSATIONS:
            connection.close()
            return
        conversation = Conversation(connection)
        self._conversations.add(conversation)
        self._selector.register(conversation, selectors.EVENT_READ, conversation)

    def _converse(self, conversation: Conversation, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE:
                conversation.flush()
            if events & selectors.EVENT_READ:
                for line in conversation.receive():
                    self._answer(conversation, line)
        except PeerError as error:
            if str(error) != "closed":
                self.complain(f"control connection closed: {error}")
            self._selector.unregister(conversation)
            self._conversations.discard(conversation)
            self._reports.leave(conversation)
            conversation.close()
            return
        self._listen_to(conversation)

    def _listen_to(self, conversation: Conversation) -> None:
        wanted = selectors.EVENT_READ
        if conversation.has_output:
            wanted |= selectors.EVENT_WRITE
        self._selector.modify(conversation, wanted, conversation)

    def _tell(self) -> None:
        """Tell who has subscribed what is due."""
        told = self._reports.tell()
        if told is not None:
            self._listen_to(told)

    def _answer(self, conversation: Conversation, line: bytes) -> None:
        descriptors: tuple[int, ...] = ()
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise RequestError("a request is a JSON object")
            op = request.get("op")
            if op == "fetch":
                reply, descriptors = self._fetch(request)
            elif isinstance(op, str) and op in self._operations:
                reply = self._operations[op](conversation, request)
            else:
                known = ", ".join([*self._operations, "fetch"])
                raise RequestError(f"op must be one of: {known}")
        except (ValueError, OSError, RecursionError) as error:
            reply = {"ok": False, "error": str(error) or type(error).__name__}
        conversation.send(json.dumps(reply).encode(), descriptors)


def _open_lock(state: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(os.path.join(state, "sink.lock"), flags, 0o600)


def check(state: str) -> Reply:
    """Do what a start does, short of taking the place of the sink that may be running."""
    try:
        os.close(_open_lock(state))
        check_journal(os.path.join(state, "sink.journal"))
        selector_of_fifos().close()
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).close()
    except OSError as error:
        return {"ok": False, "version": __version__, "error": f"the sink cannot start: {error}"}
    return {"ok": True, "version": __version__, "files": raise_file_limit()}


def main(arguments: list[str]) -> int:
    """Run the sink for the state folder named on the command line; return the exit code."""
    checking = arguments[:1] == ["--check"]
    if len(arguments) != 1 + checking:
        print("usage: python -m supervisor.logs.sink [--check] STATE_DIR", file=sys.stderr)
        return 2
    if checking:
        found = check(arguments[1])
        print(json.dumps(found))
        return 0 if found["ok"] else 1
    for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(ignored, signal.SIG_IGN)
    try:
        sink = Sink(arguments[0], raise_file_limit())
    except BlockingIOError:
        print(f"another sink serves {arguments[0]} already", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"the sink cannot start: {error}", file=sys.stderr)
        return 1
    sink.run()
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    # Not by way of the interpreter's end: a gzip that was not waited for would run on meanwhile,
    # beside the next sink's.
    os._exit(code)
