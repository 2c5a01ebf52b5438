"""What must not be shown: values that are secret by their name, by their form, or by being known.

A word too many behind a mask is harmless, a password on a screen or in a log is not; so whatever
looks like a secret is hidden to the end of its text. What is hidden can still be told from
something else that is hidden, which is what a comparison needs.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

MASK: Final = "••••"
CHANGED: Final = f"{MASK} (changed)"

LONG_ENOUGH: Final = 8
"""Characters of a known secret that is looked for in other texts too. Shorter ones are ordinary
words (`AUTH=true`), and hiding every `true` would hide what is to be read."""

_SECRET = re.compile(
    r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|AUTH|COOKIE|PRIVATE|DSN|WEBHOOK|JWT"
    r"|BEARER|(?:^|[_.-])PASS(?:$|[_.-])|[_.-]PWD$",
    re.IGNORECASE,
)
# Names that hold one of these words and are common where models are served.
_HARMLESS = re.compile(
    r"TOKENI[SZ]|(?<![A-Z])(?:MAX|MIN|NUM|N)[_.-]?(?:[A-Z]+[_.-])*TOKENS"
    r"|KEYBOARD|KEYWORD|MONKEY|AUTHOR(?!I[SZ])",
    re.IGNORECASE,
)
# `token=…`, `"api_key": …`, `Authorization: …`, `--token …`. The look-behind lets a match begin
# only where a word does, which keeps the search linear in the length of the text.
_NAMED = re.compile(r"(?<![\w.-])([\w.-]+)([\"']?\s*[=:]\s*|\s+)")
# Well-known forms: OpenAI, Stripe, GitHub, Hugging Face, Slack, AWS, JSON Web Tokens, PEM.
_WELL_KNOWN = re.compile(
    r"\b(?:sk[-_]|gh[opsu]_|github_pat_|hf_|xox[abeprs]-|AKIA|eyJ)[\w-]{8,}|-----BEGIN"
)
_OPTION = re.compile(r"--[A-Za-z]|-[A-Za-z]$")


@dataclass(frozen=True, slots=True)
class Text:
    """A text in two parts: what may be shown, and the rest, which may not."""

    shown: str
    hidden: str = ""

    def masked(self, before: Collection[str] = ()) -> str:
        """Return what may be shown, and a mask for the rest.

        Where there is a text before, `before` has what was hidden in it: what is not among that
        is marked as changed.
        """
        if not self.hidden:
            return self.shown
        return self.shown + (CHANGED if before and self.hidden not in before else MASK)


def names_secret(name: str) -> bool:
    """Tell whether a variable, option, header or key of this name holds a secret."""
    return _SECRET.search(_HARMLESS.sub("", name)) is not None


def is_secret(name: str, value: str) -> bool:
    """Tell whether the value of this name must not be shown."""
    return names_secret(name) or bool(split(value).hidden)


def secrets_of(environment: Mapping[str, str]) -> frozenset[str]:
    """Return the secret values of an environment that are long enough to be known elsewhere."""
    return frozenset(
        value
        for name, value in environment.items()
        if len(value) >= LONG_ENOUGH and is_secret(name, value)
    )


def split(text: str, known: Collection[str] = ()) -> Text:
    """Return the text up to where a secret begins, and the rest; `known` are secrets themselves."""
    at = min(_beginnings(text, known), default=len(text))
    return Text(text[:at], text[at:])


def masked_pair(
    name: str, old: str | None, new: str | None, known: Collection[str] = ()
) -> tuple[str | None, str | None]:
    """Return two values of one variable or header: both masked if either is a secret.

    None is no value. An empty one is shown as it is: that it is empty is what a person must know.
    """
    values = [value for value in (old, new) if value]
    hidden = any(
        is_secret(name, value) or any(secret in value for secret in known) for value in values
    )
    if not hidden:
        return old, new
    changed = CHANGED if old and old != new else MASK
    return (MASK if old else old), (changed if new else new)


def split_arguments(arguments: Sequence[str], known: Collection[str] = ()) -> tuple[Text, ...]:
    """Return the arguments of a command; one that follows an option like `--token` is hidden."""
    texts = []
    option = ""
    for argument in arguments:
        follows = option and not _OPTION.match(argument)
        # `curl -u name:password`; a `-u` that means something else has no colon after it.
        login = option in ("-u", "--user") and ":" in argument
        hidden = follows and (names_secret(option) or login)
        texts.append(Text("", argument) if hidden else split(argument, known))
        option = argument if argument.startswith("-") else ""
    return tuple(texts)


def _beginnings(text: str, known: Collection[str]) -> Iterator[int]:
    url, at = text.find("://"), text.rfind("@")
    if 0 <= url < at and ":" in text[url + 3 : at]:
        yield url + 3
    for secret in known:
        if (found := text.find(secret)) >= 0:
            yield found
    if (form := _WELL_KNOWN.search(text)) is not None:
        yield form.start()
    for match in _NAMED.finditer(text):
        # A word and a space is prose; an option and a space is an option with its value.
        if names_secret(match[1]) and (match[2].strip() or match[1].startswith("-")):
            yield match.end()
            return
