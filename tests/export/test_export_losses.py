"""Nothing of the YAML is dropped in silence: it is in the files, or in a note, or both."""

import dataclasses
from collections.abc import Callable
from dataclasses import replace

import pytest

from supervisor.core.spec import ServiceSpec
from supervisor.export import kubernetes, launchd, systemd
from supervisor.export.exported import Exported, Request
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
        assert any(
            note.line().replace("--", "- -") in file.text.replace("--", "- -")
            for file in exported.files
        ), note


@pytest.mark.parametrize("form", RENDERERS)
def test_a_secret_is_written_down_only_where_that_was_asked_for(form: str) -> None:
    hidden = (("Authorization", SECRET),)
    service = replace(
        SPEECH,
        command=(*SPEECH.command, "--api-key", SECRET, f"--token={SECRET}", "--max-tokens", "5"),
        env={**SPEECH.env, "URL": f"https://me:{SECRET}@db"},
        liveness=replace(LIVENESS, check=replace(HEALTH, headers=hidden)),
        readiness=replace(LIVENESS, check=replace(HEALTH, headers=hidden, busy="busy")),
    )
    render = RENDERERS[form]
    exported = render(request(service))
    assert SECRET not in said(exported)
    assert not any(file.secret for file in exported.files)
    told = said(exported)
    assert "REPLACE_ME" in told
    assert "HF_TOKEN: a secret" in told
    assert "command: a secret" in told
    openly = render(request(service, with_secrets=True))
    assert any(SECRET in file.text and file.secret for file in openly.files)
    assert "REPLACE_ME" not in said(openly)
    assert not any(SECRET in note.line() for note in openly.notes)


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
