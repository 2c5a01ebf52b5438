"""No secret is in what is said of a change: what is one, and what is shown in its place."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.masking import CHANGED, MASK, names_secret, split, split_arguments
from supervisor.core.plan import (
    Change,
    ChangeKind,
    EnvChange,
    masked,
    plan,
)
from supervisor.core.spec import (
    ExecCheck,
    HttpCheck,
    ProbeSpec,
    ServiceSpec,
)
from tests.core.test_plan import BASE, ENV, changed


@pytest.mark.parametrize(
    "name",
    [
        "API_KEY",
        "apiKey",
        "HF_TOKEN",
        "db_password",
        "DB_PASS",
        "DB_PWD",
        "PGPASSWD",
        "CLIENT_SECRET",
        "AWS_CREDENTIALS",
        "Authorization",
        "AUTHORIZATION",
        "Set-Cookie",
        "PRIVATE_PEM",
        "SENTRY_DSN",
        "API_TOKENS",
        "ADMIN_TOKENS",
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert names_secret(name)


@pytest.mark.parametrize(
    "name",
    ["PATH", "PWD", "OLDPWD", "TOKENIZERS_PARALLELISM", "MAX_TOKENS", "max-new-tokens",
     "KEYBOARD", "AUTHOR", "PASSIVE", "COMPASS", "HOME", "LANG"],
)  # fmt: skip
def test_names_of_no_secrets(name: str) -> None:
    assert not names_secret(name)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgres://me:pw@db/x", "postgres://"),
        ("see http://127.0.0.1:80/ and redis://:pw@h", "see http://"),
        ("--token=abc", "--token="),
        ("serve --api-key abc --port 1", "serve --api-key "),
        ("Authorization: Bearer abc", "Authorization: "),
        ('{"api_key": "abc"}', '{"api_key": '),
        ("/health?a=1&token=abc", "/health?a=1&token="),
        ("sk-abcdefghijkl", ""),
        ("x hf_abcdefghijkl", "x "),
        ("-----BEGIN RSA PRIVATE KEY-----", ""),
    ],
)
def test_where_a_secret_begins(text: str, shown: str) -> None:
    found = split(text)
    assert (found.shown, found.shown + found.hidden) == (shown, text)
    assert found.hidden


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:3001/health",
        "ssh://git@host/x",
        "me@example.org",
        "turn the key of the token",
        "--max-tokens=5",
        "--port=3001",
        "a=b",
        "",
        "desk-1234567890",
    ],
)
def test_what_is_no_secret_is_shown(text: str) -> None:
    assert split(text).hidden == ""


def test_an_option_after_a_secret_flag_is_no_value() -> None:
    def shown(*arguments: str) -> str:
        return " ".join(text.masked() for text in split_arguments(arguments))

    assert shown("serve", "--no-auth", "--port", "1") == "serve --no-auth --port 1"
    assert shown("serve", "--api-key", "-xyz", "1") == f"serve --api-key {MASK} 1"
    assert shown("python", "-u", "a.py") == "python -u a.py"
    assert shown("env", "TOKEN=a", "serve") == f"env TOKEN={MASK} serve"


def test_a_mask_tells_same_from_different() -> None:
    old = replace(BASE, command=("a", "--token=one", "--key", "two"), env={"API_KEY": "x"})
    new = replace(BASE, command=("a", "--token=one", "--key", "three"), env={"API_KEY": "y"})
    assert changed(new, old=old).why == (
        f"command: a --token={MASK} --key {MASK} → a --token={MASK} --key {CHANGED}",
        f"env.API_KEY: {MASK} → {CHANGED}",
    )


def test_masked_env() -> None:
    env = (
        EnvChange("API_KEY", "one", "two"),
        EnvChange("NEW_TOKEN", None, "two"),
        EnvChange("OLD_TOKEN", "one", None),
        EnvChange("EMPTY_TOKEN", "", "two"),
        EnvChange("URL", "http://a/", "http://me:pw@a/"),
        EnvChange("PLAIN", "one", "two"),
    )
    (change,) = masked((Change("tts", ChangeKind.RESTART, (), env),))
    assert change.env == (
        EnvChange("API_KEY", MASK, CHANGED),
        EnvChange("NEW_TOKEN", None, MASK),
        EnvChange("OLD_TOKEN", MASK, None),
        EnvChange("EMPTY_TOKEN", "", MASK),
        EnvChange("URL", MASK, CHANGED),
        EnvChange("PLAIN", "one", "two"),
    )


def test_a_secret_of_the_environment_is_hidden_elsewhere_too() -> None:
    secret = "hunter2hunter2"
    new = replace(
        BASE,
        command=("serve", secret),
        env={"API_KEY": secret, "COPY": f"<{secret}>"},
        description=f"it's {secret}",
        readiness=ProbeSpec(ExecCheck(("check", f"it's {secret}"))),
    )
    for change in (changed(new), changed(BASE, old=new)):
        assert len(change.why) >= 5
        assert secret not in repr(change)
    # One that was not told by name in either spec, but is known from the run.
    inherited = {**ENV, "API_KEY": secret}
    assert secret not in repr(changed(replace(BASE, command=(secret,)), running=inherited))


# Letters that no word of ours has, so that one of them in the output is a leak.
SECRETS = st.text("☃☠☢♠♣'\"\\ \n", min_size=1, max_size=12).filter(
    lambda text: text.strip(" \n'\"\\") != ""
)
LETTERS = "☃☠☢♠♣"


@st.composite
def with_secret(draw: st.DrawFn) -> ServiceSpec:
    """A spec with a secret in one of the places where people put them."""
    secret = draw(SECRETS)
    check = HttpCheck("::1", 1, headers=(("Authorization", secret),), body=secret.encode())
    places: dict[str, dict[str, Any]] = {
        "nowhere": {},
        "env": {"env": {draw(st.sampled_from(["API_KEY", "HF_TOKEN", "DB_PASS"])): secret}},
        "url": {"env": {"DB": f"postgres://me:{secret}@host/db"}},
        "argument": {"command": ("a", f"--token={secret}", "b")},
        "next argument": {"command": ("a", "--api-key", secret, "b")},
        "shell": {"command": ("sh", "-c", f"SECRET={secret} exec it's")},
        "header argument": {"command": ("curl", "-H", f"Authorization: Bearer {secret}")},
        "url argument": {"command": ("a", f"redis://:{secret}@host")},
        "header": {"readiness": ProbeSpec(check)},
        "query": {"liveness": ProbeSpec(replace(check, path=f"/?a=b&token={secret}"))},
        "exec": {"startup": ProbeSpec(ExecCheck(("curl", "-u", f"me:{secret}")))},
        "description": {"description": f"password: {secret}"},
    }
    return replace(BASE, **draw(st.sampled_from(list(places.values()))))


@given(with_secret(), with_secret(), st.booleans())
def test_no_secret_is_in_what_is_said(old: ServiceSpec, new: ServiceSpec, runs: bool) -> None:
    running = {"tts": {**ENV, **old.env}} if runs else {}
    changes = plan({"tts": old}, {"tts": new}, running, {"tts": {**ENV, **new.env}})
    said = repr(masked(changes))
    assert not any(letter in said for letter in LETTERS)
    assert not any(
        letter in line for change in changes for line in change.why for letter in LETTERS
    )
