"""Nothing of the YAML is dropped in silence: it is in the files, or in a note, or both."""

import dataclasses
from collections.abc import Callable
from dataclasses import replace

import pytest

from supervisor.core.spec import ExecCheck, ProbeSpec, ServiceSpec
from supervisor.export import kubernetes, launchd, systemd
from supervisor.export.exported import Exported, Note, Request, told
from supervisor.export.kubernetes_pod import Cluster
from tests.export.specimens import (
    EVERYTHING,
    FLEET,
    HEALTH,
    LIVENESS,
    PLAIN,
    SECRET,
    SPEECH,
    request,
)

RENDERERS: dict[str, Callable[[Request], Exported]] = {
    "kubernetes": lambda asked: kubernetes.render(asked, Cluster()),
    "systemd": systemd.render,
    "launchd": launchd.render,
}
DEFAULT = ServiceSpec("", (), "")
NESTED = ("restart", "stop", "limits")
FOR_ATLASCTL_ALONE = {"description": ("kubernetes", "launchd"), "enabled": tuple(RENDERERS)}
"""What it is called for people; whether `up` starts it: who exports one has decided that."""


def said(exported: Exported) -> str:
    return "\n".join([*(f.text for f in exported.files), *(n.line() for n in exported.notes)])


def changes() -> list[tuple[str, ServiceSpec, ServiceSpec]]:
    """Return each field, with a service that has it as it is by default and one that has not."""
    made = []
    for entry in dataclasses.fields(ServiceSpec):
        if entry.name in ("name", "command", "cwd"):
            continue
        value = getattr(EVERYTHING, entry.name, getattr(DEFAULT, entry.name))
        if entry.name not in NESTED:
            made.append((entry.name, PLAIN, replace(PLAIN, **{entry.name: value})))
            continue
        usual = getattr(DEFAULT, entry.name)
        for part in dataclasses.fields(value):
            changed = replace(usual, **{part.name: getattr(value, part.name)})
            if part.name == "policy":
                changed = replace(usual, policy="on-failure")
            with_it = replace(PLAIN, **{entry.name: changed})
            made.append((f"{entry.name}.{part.name}", PLAIN, with_it))
    return made


@pytest.mark.parametrize("form", RENDERERS)
@pytest.mark.parametrize(
    ("field", "without", "with_it"), changes(), ids=lambda each: str(each)[:24]
)
def test_every_key_that_is_set_leaves_a_trace(
    form: str, field: str, without: ServiceSpec, with_it: ServiceSpec
) -> None:
    if form in FOR_ATLASCTL_ALONE.get(field, ()):
        return
    assert without != with_it, f"give tests.export.specimens.EVERYTHING a {field}"
    render = RENDERERS[form]
    assert said(render(request(with_it))) != said(render(request(without)))


@pytest.mark.parametrize("form", RENDERERS)
def test_so_does_every_key_of_the_file(form: str) -> None:
    whole = replace(FLEET, services=(PLAIN,), protected_ports=(1,), start_limit=3)
    lines = [note.line() for note in RENDERERS[form](request(PLAIN, fleet=whole)).notes]
    for key in ("protected_ports", "start_limit", "metrics", "models"):
        assert any(line.startswith(f"{key}: ") for line in lines), key


@pytest.mark.parametrize("form", RENDERERS)
def test_a_key_of_a_later_release_is_told_too(form: str) -> None:
    @dataclasses.dataclass(frozen=True, slots=True)
    class Later(ServiceSpec):
        colour: str = "none"

    service = Later(name="a", command=("b",), cwd="/c", colour="red")
    lines = [note.line() for note in RENDERERS[form](request(service)).notes]
    assert "a: colour: is not carried over" in lines


@pytest.mark.parametrize("form", RENDERERS)
def test_notes_stand_in_the_file_of_their_service(form: str) -> None:
    asked = request(SPEECH, replace(PLAIN, user="nobody"))
    exported = RENDERERS[form](asked)
    assert exported.notes
    for note in exported.notes:
        line = f"{note.about}: {note.text}".replace("--", "- -")
        assert any(
            each.endswith(line) and note.service in each
            for file in exported.files
            for each in file.text.replace("--", "- -").splitlines()
        ), note


def test_what_is_to_be_said_of_several_is_said_once() -> None:
    notes = [Note("a", "x", "y"), Note("", "x", "z"), Note("b", "x", "y"), Note("a", "x", "z")]
    assert told(notes) == ["a, b: x: y", "a: x: z"]
    assert told(notes[:2]) == ["a: x: y", "x: z"]


def http(**more: object) -> ProbeSpec:
    return replace(LIVENESS, check=replace(HEALTH, **more))  # type: ignore[arg-type]


KNOWN = {"KIND_OF_TOKEN": SECRET}
"""A variable that is a secret by its name; what it says is one wherever it stands."""


@pytest.mark.parametrize("form", RENDERERS)
@pytest.mark.parametrize(
    "holder",
    [
        {"env": {"HF_TOKEN": SECRET}},
        {"env": {"URL": f"https://me:{SECRET}@db"}},
        {"env": {**KNOWN, "GREETING": f"hello {SECRET}"}},
        {"command": ("serve", "--api-key", SECRET)},
        {"command": ("serve", f"--token={SECRET}")},
        {"command": ("serve", "--greeting", SECRET), "env": KNOWN},
        {"liveness": http(headers=(("Authorization", SECRET),))},
        {"liveness": http(headers=(("X-Greeting", SECRET),)), "env": KNOWN},
        {"liveness": http(path=f"/health?token={SECRET}")},
        {"startup": http(method="POST", body=f'{{"password": "{SECRET}"}}'.encode())},
        {"startup": http(method="POST", body=b"\xff" + SECRET.encode()), "env": KNOWN},
        {"readiness": http(headers=(("Authorization", SECRET),), busy="busy")},
        {"readiness": ProbeSpec(ExecCheck(("curl", "-H", f"Authorization: {SECRET}")))},
        {"transaction": replace(http(path=f"/?key={SECRET}"), idle=True)},
        {
            "transaction": replace(LIVENESS, idle=True),
            "readiness": http(path=f"/?key={SECRET}", busy="b"),
        },
    ],
)
def test_a_secret_is_written_down_only_where_that_was_asked_for(
    form: str, holder: dict[str, object]
) -> None:
    service = replace(PLAIN, ports=(3001,), **holder)  # type: ignore[arg-type]
    render = RENDERERS[form]
    exported = render(request(service))
    assert SECRET not in said(exported)
    openly = render(request(service, with_secrets=True))
    assert not any(SECRET in note.line() for note in openly.notes)
    assert "REPLACE_ME" not in said(openly)
    # systemd and launchd have no probes, and nothing of them.
    if form == "kubernetes" or holder.keys() & {"command"} or "HF_TOKEN" in service.env:
        assert SECRET in said(openly).replace("\\", "")
        assert "a secret: write it where REPLACE_ME stands" in said(exported)


def test_the_specimen_has_no_default() -> None:
    for entry in dataclasses.fields(ServiceSpec):
        assert getattr(EVERYTHING, entry.name) != getattr(DEFAULT, entry.name), entry.name


def test_a_system_without_anything_odd_has_nothing_to_tell() -> None:
    exported = systemd.render(request(PLAIN))
    assert exported.notes == ()
    assert "Not, or not exactly" not in exported.files[0].text


def test_source_is_named_from_root_and_no_folder_of_this_machine() -> None:
    first = kubernetes.render(request(PLAIN), Cluster()).files[0].text.splitlines()[0]
    assert first == "# Written by `atlasctl export FORMAT` from config/services.yaml."
