"""A daemon that runs nothing: the real control server, with answers that a test writes down."""

import asyncio
import json
import subprocess
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import cast

from supervisor.config import codec
from supervisor.control.messages import ChangeMessage, ServiceStatus, TreatedService
from supervisor.control.server import ControlServer, Handler, Limits, Reply, Request, Stream
from supervisor.core.spec import FleetSpec
from supervisor.journal import NAME, Entry
from supervisor.posix.lock import DaemonLock
from tests.cli.fleets import daemon

DEADLINE = 20.0

Picture = list[ServiceStatus]


class FakeDaemon:
    """Answers with the first of `pictures`, each once, and with the last for ever after."""

    def __init__(self, root: Path, *pictures: Picture) -> None:
        self.root = root
        self.state_dir = root / ".atlas"
        self.pictures = list(pictures)
        self.config = str(root / "services.yaml")
        self.stopping = False
        self.commands: list[tuple[str, list[str]]] = []
        self.also: list[str] = []
        self.refusal: Reply | None = None
        self.changes: list[ChangeMessage] = []
        """What a plan or a reload says of the spec that it was sent."""
        self.specs: list[FleetSpec] = []
        """What was sent to be reloaded."""
        self.rolling: list[bool] = []
        """Of each restart and reload: whether it was to be rolling."""
        self.treated: list[TreatedService] = []
        """What remedies have done."""
        self.upgrades = 0
        self.version = "0.1.0"
        self.sink_pid: int | None = 42
        self.upgraded: Callable[[], None] = self._upgraded
        """What happens once an upgrade has been answered."""
        self.limits = Limits()
        self.events: list[Entry] = []
        self.after: Callable[[], list[Picture]] = list
        """What the pictures are after a command; nothing leaves them as they are."""
        self.ends = True
        """What comes of a shutdown."""
        self.errors: list[str] = []
        # A process that can end, as the test's own cannot.
        self._body = subprocess.Popen(["sleep", "1000"])
        self.pid = self._body.pid
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._ready = threading.Event()
        self._serving = asyncio.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "FakeDaemon":
        self.lock()
        self.serve()
        return self

    def lock(self) -> None:
        """Have the lock, and do not answer yet, as a daemon that is starting."""
        self._thread.start()
        assert self._ready.wait(DEADLINE)
        self._ready.clear()

    def serve(self) -> None:
        """Answer from now on."""
        self._loop.call_soon_threadsafe(self._serving.set)
        assert self._ready.wait(DEADLINE)

    def succeed(self, pid: int) -> None:
        """Be another daemon from now on: the first has ended."""
        self._body.kill()
        self._body.wait(DEADLINE)
        self.pid = pid

    def __exit__(self, *_: object) -> None:
        self.end()
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()
        self._loop.close()
        assert self.errors == []

    def end(self) -> None:
        """Close the socket and let go of the lock, as a daemon does that ends."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end.set)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        self.state_dir.mkdir(mode=0o700, exist_ok=True)
        lock = DaemonLock.acquire(str(self.state_dir / "lock"))
        verbs = {("POST", f"/v1/{verb}"): self._command(verb) for verb in _VERBS}
        server = ControlServer(
            str(self.state_dir),
            {
                ("GET", "/v1/status"): self._status,
                ("GET", "/v1/events"): self._events,
                ("GET", "/v1/remedies"): self._remedies,
                ("POST", "/v1/remedies/forget"): self._command("forget"),
                ("POST", "/v1/shutdown"): self._shutdown,
                ("POST", "/v1/plan"): self._plan,
                ("POST", "/v1/reload"): self._reload,
                ("POST", "/v1/upgrade"): self._upgrade,
                **verbs,
            },
            on_error=self.errors.append,
            limits=self.limits,
        )
        self._ready.set()
        await self._serving.wait()
        await server.start()
        self._ready.set()
        await self._end.wait()
        await server.close()
        lock.release()
        self._body.kill()
        self._body.wait(DEADLINE)

    async def _status(self, _request: Request) -> Reply:
        picture = self.pictures.pop(0) if len(self.pictures) > 1 else self.pictures[0]
        about = daemon(stopping=self.stopping, config=self.config)
        about["pid"] = self.pid
        about["version"] = self.version
        about["sink_pid"] = self.sink_pid
        about["upgrades"] = self.upgrades
        return Reply(200, cast("object", {"daemon": about, "services": picture}))

    async def _remedies(self, _request: Request) -> Reply:
        return Reply(200, {"services": self.treated})

    def _command(self, verb: str) -> Handler:
        async def handle(request: Request) -> Reply:
            body = cast("dict[str, list[str]]", request.json)
            names = body["services"]
            self.commands.append((verb, names))
            self.rolling.append(bool(body.get("rolling")))
            if self.refusal is not None:
                return self.refusal
            self.pictures = self.after() or self.pictures
            known = [s["name"] for s in self.pictures[-1]]
            return Reply(202, {"services": names or known, "also": self.also, "seq": 0})

        return handle

    async def _plan(self, request: Request) -> Reply:
        self._spec_of(request)
        return self.refusal or Reply(200, {"changes": self.changes})

    async def _reload(self, request: Request) -> Reply:
        self.specs.append(self._spec_of(request))
        self.rolling.append(bool(cast("dict[str, object]", request.json)["rolling"]))
        if self.refusal is not None:
            return self.refusal
        self.pictures = self.after() or self.pictures
        moved = [change["service"] for change in self.changes if change["kind"] != "none"]
        return Reply(202, {"services": moved, "also": [], "seq": 0, "changes": self.changes})

    def _spec_of(self, request: Request) -> FleetSpec:
        return codec.decode(FleetSpec, cast("dict[str, codec.Json]", request.json)["spec"])

    async def _upgrade(self, _request: Request) -> Reply:
        self.commands.append(("upgrade", []))
        if self.refusal is not None:
            return self.refusal
        self._loop.call_later(0.1, self.upgraded)
        return Reply(202, {"seq": 0, "pid": self.pid})

    def _upgraded(self) -> None:
        self.upgrades += 1
        self.pictures = self.after() or self.pictures

    async def _shutdown(self, _request: Request) -> Reply:
        self.commands.append(("shutdown", []))
        self.pictures = self.after() or self.pictures
        self.stopping = True
        if self.ends:
            self._loop.call_later(0.05, self._end.set)
        return Reply(202, {"services": [], "also": [], "seq": 0})

    async def _events(self, request: Request) -> Stream:
        return Stream(self._entries(int(request.query["after"])))

    async def _entries(self, after: int) -> AsyncIterator[object]:
        for entry in self.events:
            if entry.seq > after:
                yield entry.message()
        self._end.set()


_VERBS = ("start", "stop", "restart")


def write_journal(root: Path, entries: list[Entry]) -> None:
    """Write a journal as a daemon does."""
    folder = root / ".atlas"
    folder.mkdir(mode=0o700, exist_ok=True)
    lines = [json.dumps(entry.message()) for entry in entries]
    (folder / NAME).write_text("".join(f"{line}\n" for line in lines))
