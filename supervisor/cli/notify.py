"""`notify`: who is told of what, how that went, and a try of it. Works without a supervisor."""

import json
import os
import socket
import time
from dataclasses import asdict
from typing import assert_never

from supervisor.cli import wording
from supervisor.cli.connection import System, short_path
from supervisor.cli.exits import ExitStatus, Interrupted
from supervisor.cli.invocation import Invocation
from supervisor.cli.services import check_names
from supervisor.cli.terminal import columns, printable, warn
from supervisor.config.loader import load
from supervisor.core.notify import Channel, Desktop, Hook, Target, Webhook
from supervisor.core.spec import FleetSpec
from supervisor.notify.check import check
from supervisor.notify.delivery import Delivery, try_within_its_limit
from supervisor.notify.errand import Remembered, recall
from supervisor.notify.mailbox import Letter
from supervisor.notify.outcome import Delivered
from supervisor.notify.words import host_of


def notify(call: Invocation) -> int:
    """Show the targets, or tell them something to see whether it arrives."""
    system = call.system()
    fleet = load(system.config)
    check_names(call.targets, [target.name for target in fleet.notify], "target")
    asked = [t for t in fleet.notify if not call.targets or t.name in call.targets]
    if not fleet.notify and not call.json:
        print(f"{short_path(system.config)} names nobody who is to be told (notify:)")
        return ExitStatus.AS_ASKED
    if not call.test:
        return _list(call, system, fleet, asked)
    try:
        return _test(call, asked, fleet.root)
    except KeyboardInterrupt:
        raise Interrupted("what was sent may still arrive") from None


def _test(call: Invocation, asked: list[Target], root: str) -> int:
    results: list[dict[str, object]] = []
    reached = True
    for target in asked:
        now = time.time()
        text = f"a test of {target.name}: if you can read this, it works"
        letter = Letter("", "test", text, 0, now, now)
        began = time.monotonic()
        delivery = Delivery(target, letter, socket.gethostname(), cwd=root)
        outcome = try_within_its_limit(delivery)
        took = time.monotonic() - began
        ok = isinstance(outcome, Delivered)
        reached = reached and ok
        if call.json:
            found = {"target": target.name, "delivered": ok, "said": outcome.words}
            results.append({**found, "seconds": round(took, 3)})
        elif ok:
            within = wording.duration(took)
            print(f"{target.name}: sent in {within}: {printable(outcome.words)}", flush=True)
        else:
            warn(f"{target.name}: {printable(outcome.words)}")
    if call.json:
        print(json.dumps({"ok": reached, "tests": results}, ensure_ascii=False, indent=2))
    return ExitStatus.AS_ASKED if reached else ExitStatus.NOT_REACHED


def _list(call: Invocation, system: System, fleet: FleetSpec, asked: list[Target]) -> int:
    memory = recall(system.state_dir)
    known = {} if memory is None else memory.targets
    troubles = list(
        check(
            tuple(asked),
            fleet.metrics,
            state_dir=system.state_dir,
            root=fleet.root,
            environ=os.environ,
        )
    )
    if call.json:
        told = [_told(target, known.get(target.name, Remembered())) for target in asked]
        found = {"targets": told, "troubles": [asdict(trouble) for trouble in troubles]}
        print(json.dumps(found, ensure_ascii=False, indent=2))
        return ExitStatus.AS_ASKED
    rows = [["NAME", "HOW", "WHEN", "OF", "TOLD"]]
    for target in asked:
        services = "all" if target.services is None else ", ".join(target.services)
        past = _past(known.get(target.name, Remembered()))
        when = ", ".join(target.when)
        rows.append([target.name, printable(_how(target.channel)), when, services, past])
    print("\n".join(columns(rows)))
    for trouble in troubles:
        print(f"{trouble.target or 'metrics'}: {printable(trouble.text)}; {trouble.hint}")
    return ExitStatus.AS_ASKED


def _told(target: Target, known: Remembered) -> dict[str, object]:
    return {
        "name": target.name,
        "how": _how(target.channel),
        "when": list(target.when),
        "services": None if target.services is None else list(target.services),
        "delivered": known.delivered,
        "given_up": known.given_up,
        "dropped": known.dropped,
        "waiting": len(known.letters),
        "last_at": known.last_at or None,
        "last_ok": known.last_ok if known.last_at else None,
        "last_said": known.last_words,
    }


def _how(channel: Channel) -> str:
    """Return the way, without what may be secret of it."""
    match channel:
        case Webhook():
            return f"webhook {host_of(channel.url)} ({channel.format})"
        case Desktop():
            return "desktop"
        case Hook(command=command):
            return f"command {os.path.basename(command[0])}"
        case _:
            assert_never(channel)


def _past(known: Remembered) -> str:
    if not known.last_at:
        return "never"
    parts = [f"last {wording.clock(known.last_at, time.time())}"]
    parts += [f"{len(known.letters)} waiting"] if known.letters else []
    parts += [f"{known.given_up} given up"] if known.given_up else []
    parts += [f"{known.dropped} dropped"] if known.dropped else []
    return ", ".join(parts)
