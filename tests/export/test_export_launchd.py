"""Property lists: as a whole, and read back by plistlib."""

import plistlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from supervisor.core.spec import Backoff, Limits, RestartSpec, ServiceSpec, StopSpec
from supervisor.export.exported import ExportError
from supervisor.export.launchd import render
from tests.export.conftest import Golden
from tests.export.specimens import EVERYTHING, PLAIN, REQUEST, SPEECH, request

TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n\t<>&\"'"), max_size=40
)


def agent(service: ServiceSpec, **more: Any) -> dict[str, Any]:
    (file,) = render(request(service, **more)).files
    read: dict[str, Any] = plistlib.loads(file.text.encode())
    return read


def test_the_golden_files(golden: Golden) -> None:
    golden(render(REQUEST))


@given(st.lists(TEXT, max_size=4), st.dictionaries(st.sampled_from("ABC"), TEXT, max_size=3))
@example(["-->", "]]>", "&amp;", "<x/>", "", " a "], {"A": "-->"})
def test_texts_survive(words: list[str], env: dict[str, str]) -> None:
    service = replace(PLAIN, command=("/bin/x", *words), env=env, description="--> <b>")
    read = agent(service, with_secrets=True, inherited={"PATH": "/bin"})
    assert read["ProgramArguments"] == ["/bin/x", *words]
    assert read["EnvironmentVariables"] == {"PATH": "/bin", "PYTHONUNBUFFERED": "1", **env}


@pytest.mark.parametrize("text", ["\x1b", "a\r\nb", "\udcff", "\ufffe", "\uffff", "\0"])
def test_what_a_property_list_cannot_hold_is_an_error(text: str) -> None:
    place = r"plain: EnvironmentVariables\.A has .*: take it out"
    with pytest.raises(ExportError, match=place) as told:
        agent(replace(PLAIN, env={"A": f"said {text}"}), with_secrets=True)
    assert "said" not in str(told.value), "it may be a secret"


def test_notes_end_no_comment() -> None:
    service = replace(PLAIN, inherit_env=("A",), env_files=("/a-->b--",))
    (file,) = render(request(service)).files
    assert "/a- ->b- -" in file.text
    assert plistlib.loads(file.text.encode())["Label"] == "org.atlasctl.service.plain"


@pytest.mark.parametrize(
    ("policy", "kept"),
    [("always", True), ("on-failure", {"SuccessfulExit": False}), ("never", None)],
)
def test_when_it_is_started_again(policy: Any, kept: object) -> None:
    assert agent(replace(PLAIN, restart=RestartSpec(policy))).get("KeepAlive") == kept


def test_times_are_whole_seconds_and_never_for_ever() -> None:
    service = replace(
        PLAIN, stop=StopSpec(timeout=0.0), restart=RestartSpec(backoff=Backoff(first=1.2))
    )
    read = agent(service)
    assert (read["ExitTimeOut"], read["ThrottleInterval"]) == (1, 2)


def test_limits_user_and_mask() -> None:
    service = replace(
        PLAIN, limits=Limits(open_files=64, processes=8, nice=3), user="nobody", umask=0o077
    )
    read = agent(service)
    limits = {"NumberOfFiles": 64, "NumberOfProcesses": 8}
    assert read["SoftResourceLimits"] == read["HardResourceLimits"] == limits
    assert (read["Nice"], read["UserName"], read["Umask"]) == (3, "nobody", 0o077)
    (file,) = render(request(service)).files
    # launchd makes no folder for the output, and says nothing of a service that it cannot start.
    how = "/Library/LaunchDaemons, then: mkdir -p /srv/atlas/logs && launchctl bootstrap system"
    assert how in file.text


def test_sockets_are_opened_by_a_program_that_becomes_the_service() -> None:
    assert agent(SPEECH)["ProgramArguments"] == [
        *("/srv/atlas/.venv/bin/python", "-m", "supervisor.export.listen"),
        *("http=127.0.0.1:3001", "http=[::1]:3001", "--"),
        *("/usr/bin/env", *SPEECH.command),
    ]


def test_what_env_files_say_is_in_the_list_and_env_wins() -> None:
    read = agent(EVERYTHING, files=REQUEST.files)
    assert read["EnvironmentVariables"]["TEXT"] == "two\nlines"
    assert read["EnvironmentVariables"]["DB_URL"] == "postgres://db/x"
    assert read["EnvironmentVariables"]["EDITOR"] == "vi"
