"""Every command: what it runs, what it says of itself, and which options it has."""

from dataclasses import dataclass

from supervisor.cli import options
from supervisor.cli.invocation import (
    DOWN_TIMEOUT,
    EXPORT_FORMATS,
    MODEL_ACTIONS,
    SHELLS,
    UP_TIMEOUT,
    UPGRADE_TIMEOUT,
)
from supervisor.cli.options import Option


@dataclass(frozen=True, slots=True)
class Command:
    """One command: what it runs and what it says of itself."""

    name: str
    run: str
    help: str
    about: str
    options: tuple[Option, ...] = ()
    hidden: bool = False

    @property
    def takes_services(self) -> bool:
        """Tell whether its arguments are names of services."""
        return bool({options.services, options.service, options.exported} & {*self.options})

    @property
    def takes_file(self) -> bool:
        """Tell whether its argument is a file."""
        return options.file in self.options

    @property
    def takes_models(self) -> bool:
        """Tell whether names of models follow its first argument."""
        return options.models in self.options

    @property
    def choices(self) -> tuple[str, ...]:
        """Return the words of which its argument is one; empty if it is something else."""
        if options.shell in self.options:
            return SHELLS
        if options.exported in self.options:
            return EXPORT_FORMATS
        return MODEL_ACTIONS if self.takes_models else ()


COMMANDS = (
    Command(
        "up",
        "lifecycle:up",
        "start everything and wait until it works",
        "Start the supervisor in the background, unless it runs, and with it every enabled "
        "service, or those named; wait until each is healthy, and say where it is.",
        (options.timeout(UP_TIMEOUT), options.no_wait, options.services),
    ),
    Command(
        "down",
        "lifecycle:down",
        "stop everything, the supervisor too",
        "Stop every service, those that others need last, and then the supervisor.",
        (options.timeout(DOWN_TIMEOUT),),
    ),
    Command(
        "start",
        "lifecycle:start",
        "start services and what they need",
        "Start services, with all that they depend on, and wait until they work. A service that "
        "had given up tries again with a clean record.",
        (options.timeout(UP_TIMEOUT), options.no_wait, options.services),
    ),
    Command(
        "stop",
        "lifecycle:stop",
        "stop services",
        "Stop services and wait until no process of theirs is left and their ports are free. "
        "They stay stopped until somebody starts them.",
        (options.timeout(DOWN_TIMEOUT), options.no_wait, options.services),
    ),
    Command(
        "restart",
        "lifecycle:restart",
        "stop services and start them again",
        "Stop services, start them again, and wait until they work. With --rolling the old run "
        "of each goes on until the new one is ready, so that there is no moment without it. That "
        "takes room for both at once, and sockets held by the supervisor instead of own ports.",
        (
            options.rolling,
            options.timeout(UP_TIMEOUT),
            options.no_wait,
            options.services,
        ),
    ),
    Command(
        "plan",
        "reload:plan",
        "show what reload would change",
        "Read the configuration again and show what it would change in what runs: what changes "
        "while a service runs on, what needs a restart, and why. Nothing is changed. Values of "
        "secrets are masked. Exit code 0 whether there is something to do or not.",
        (options.json,),
    ),
    Command(
        "reload",
        "reload:reload",
        "apply the configuration to what runs",
        "Read the configuration again and apply it: restart only what must be restarted, start "
        "what is new, stop what is gone, and wait until all of that works. A configuration with "
        "an error changes nothing. What it will do: atlasctl plan.",
        (options.rolling, options.json, options.timeout(UP_TIMEOUT), options.no_wait),
    ),
    Command(
        "upgrade",
        "upgrade:upgrade",
        "run the supervisor's new code, services undisturbed",
        "Let the supervisor execute itself anew with the code that is installed now, after that "
        "code has proved itself in a trial. Its pid and all services stay as they are; no service "
        "is restarted.",
        (options.json, options.timeout(UPGRADE_TIMEOUT)),
    ),
    Command(
        "status",
        "status:status",
        "show the state of services",
        "Show each service and, for whatever is not healthy, why. Exit code 0 if every enabled "
        "service, or every one named, is healthy, running or completed; otherwise 1.",
        (options.json, options.watch, options.services),
    ),
    Command(
        "logs",
        "logs:logs",
        "show what services have written",
        "Show the output of services, rotated files included. Works without a supervisor.",
        (
            options.follow,
            options.lines("lines of each service (default 100)"),
            options.all_lines,
            options.since,
            options.timestamps,
            options.services,
        ),
    ),
    Command(
        "why",
        "story:why",
        "tell why a service is in its state",
        "Tell what led to the present state of a service, in fewer than 20 lines: what happened, "
        "what was decided for which reason, and what it printed last. Without a name: of whatever "
        "is not well. Works without a supervisor.",
        (options.json, options.service),
    ),
    Command(
        "events",
        "chronicle:events",
        "list what happened and was decided",
        "List the journal: what happened to services and what was decided. Works without a "
        "supervisor, except for -f, which goes on when a supervisor is killed or upgraded and "
        "another comes. With --json each line is one object: seq, at (Unix seconds), time, unit, "
        "topic, text, run, kind (asked, seen or decided), because (what a decision rests on, by "
        "seq).",
        (
            options.follow,
            options.json,
            options.lines("entries (default 50, with --since all)"),
            options.since,
            options.services,
        ),
    ),
    Command(
        "clean",
        "clean:clean",
        "archive logs, and begin them anew",
        "Move what is in the logs of services, with old PID files and dumps, to a folder of "
        "logs/archive, gzip it, and begin the logs anew; then remove the oldest archives. Services "
        "go on, and no line is lost. Works without a supervisor.",
        (options.keep, options.strangers, options.dry_run, options.json, options.services),
    ),
    Command(
        "remedies",
        "remedies:remedies",
        "show what is done about known failures",
        "Show the remedies of services: what each looks for, what it does, how often it was "
        "applied and what is in force. --dry-run tries them on what was printed and happened of "
        "late, and changes nothing. Both work without a supervisor.",
        (options.rehearse, options.forget, options.json, options.services),
    ),
    Command(
        "models",
        "models:models",
        "fetch and check the files of models",
        "fetch: bring the files of models where they belong. What is there and right stays; a copy "
        "that is found elsewhere on this machine is linked; the rest is downloaded, and goes on "
        "where an earlier fetch ended. What came first is recorded in models.lock beside the YAML, "
        "and another file of the same name is refused ever after. verify: compare every file with "
        "what was recorded. list: show them. All three need no supervisor and change no service.",
        (options.json, options.accept_changed, options.models),
    ),
    Command(
        "doctor",
        "doctor:doctor",
        "find out what is wrong and what to do",
        "Look at the configuration, files of models, the supervisor, the state, the commands and "
        "the ports of services, their Pythons, disk, clock, login items and what older starts have "
        "left, and run the doctor of each service that has one. Nothing is changed. Works without "
        "a supervisor. Exit code 0 if nothing is wrong, otherwise 1. `diagnose` is the same.",
        (options.details, options.json, options.services),
    ),
    Command(
        "diagnose",
        "doctor:doctor",
        "",
        "The same as: atlasctl doctor",
        (options.details, options.json, options.services),
        hidden=True,
    ),
    Command(
        "validate",
        "configuration:validate",
        "check the configuration",
        "Check the YAML and print every error with its place.",
        (options.json, options.file),
    ),
    Command(
        "schema",
        "configuration:schema",
        "print the JSON Schema of the configuration",
        "Print the JSON Schema (2020-12) of the YAML, which an editor can use.",
    ),
    Command(
        "notify",
        "notify:notify",
        "show who is told when a service fails, and try it",
        "Show who is told of what (notify: in the YAML), and how that went. With --test, tell them "
        "something now. Works without a supervisor.",
        (options.test, options.json, options.targets),
    ),
    Command(
        "dashboard",
        "dashboard:dashboard",
        "open the web page of the system",
        "Open the dashboard, a service of the configuration, in your browser, which is handed the "
        "token that lets it in. With --print the address is printed instead, token and all.",
        (options.print_address,),
    ),
    Command(
        "say",
        "say:say",
        "speak a text",
        "Speak a text through the speech service of the system, from its first sentence on while "
        "the next ones are made; Ctrl-C stops it at once. Words, numbers, dates and Markdown are "
        "read as a person would. What to play it with is looked for: afplay, pw-play, paplay, "
        "aplay or ffplay. With -o nothing is played.",
        (options.speech, options.timeout(UP_TIMEOUT)),
    ),
    Command(
        "metrics",
        "metrics:metrics",
        "print figures for Prometheus",
        "Print states, restarts, probes and what services use, in Prometheus' text format. To have "
        "it in a file for node_exporter: metrics: in the YAML.",
        (options.json,),
    ),
    Command(
        "run",
        "configuration:run",
        "run the supervisor in the foreground",
        "Run the supervisor in the foreground until SIGTERM or Ctrl-C, for launchd, systemd or a "
        "terminal of its own. `up` does this in the background. With --take-down nothing is "
        "started: what a killed supervisor has left is taken over and ended.",
        (options.take_down, options.compiled, options.login),
    ),
    Command(
        "install",
        "install:install",
        "start everything at login, from now on",
        "Write a login item, a launch agent of macOS or a user unit of systemd, that runs the "
        "supervisor, and start it. A supervisor that runs already is replaced by the login item's; "
        "services go on meanwhile, same pid. From then on `up` and `down` start and stop that "
        "one. Asked again, it brings the login item up to date.",
        (options.dry_run, options.no_start, options.linger),
    ),
    Command(
        "uninstall",
        "install:uninstall",
        "start nothing at login any more",
        "Remove the login item that `install` has made. Whatever runs goes on.",
        (options.dry_run,),
    ),
    Command(
        "export",
        "export:export",
        "write what runs here for Kubernetes, systemd or launchd",
        "Write the enabled services, or those named, as files for what runs services elsewhere. "
        "What the other has no word for is told on standard error and in the files.",
        (options.exported,),
    ),
    Command(
        "completion",
        "completion:completion",
        "print completions for a shell",
        'Print a script that completes commands, options and services: eval "$(atlasctl '
        'completion bash)"',
        (options.shell,),
    ),
    Command("version", "configuration:version", "print the version", "Print the version."),
    Command("_services", "status:service_names", "", "", hidden=True),
    Command("_models", "models:model_names", "", "", hidden=True),
)
