"""What of a service must not be written down, and notes of where it was left out. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from supervisor.core.masking import Text, names_secret, secrets_of, split, split_arguments
from supervisor.core.spec import Check, ExecCheck, HttpCheck, ServiceSpec, TcpCheck
from supervisor.export.exported import PLACEHOLDER, Note, Request


@dataclass(frozen=True, slots=True)
class Secrets:
    """Writes texts of one service with placeholders for what is secret in them.

    Secret is what `plan` masks: by its name, by its form, or because a variable that is a secret
    has it too.
    """

    service: str
    known: frozenset[str]
    openly: bool
    """Secrets were asked for."""
    notes: list[Note] = field(default_factory=list)

    def hides(self, name: str, value: str) -> bool:
        """Tell whether the value of this name is a secret, asked for or not."""
        return names_secret(name) or bool(split(value, self.known).hidden)

    def text(self, about: str, text: str) -> str:
        """Return a text up to where a secret begins."""
        return self._written(about, split(text, self.known))

    def value(self, about: str, name: str, value: str) -> str:
        """Return what is behind a name: all of it, or none."""
        return self._written(about, Text("", value) if self.hides(name, value) else Text(value))

    def words(self, about: str, words: Sequence[str]) -> tuple[str, ...]:
        """Return the words of a command."""
        return tuple(self._written(about, text) for text in split_arguments(words, self.known))

    def check(self, about: str, check: Check) -> Check:
        """Return what a probe asks."""
        match check:
            case ExecCheck(command):
                return ExecCheck(self.words(f"{about}.exec", command))
            case TcpCheck():
                return check
            case HttpCheck():
                return replace(
                    check,
                    path=self.text(f"{about}.http.path", check.path),
                    headers=tuple(self._headers(about, check)),
                    body=self._body(f"{about}.http.body", check.body),
                )

    def _headers(self, about: str, check: HttpCheck) -> Iterator[tuple[str, str]]:
        for name, value in check.headers:
            yield name, self.value(f"{about}.http.headers {name}", name, value)

    def _body(self, about: str, body: bytes | None) -> bytes | None:
        if body is None:
            return None
        # Latin-1 gives every byte a character, and back.
        text = body.decode("latin-1")
        known = frozenset(each.encode().decode("latin-1") for each in self.known)
        return self._written(about, split(text, known)).encode("latin-1")

    def _written(self, about: str, text: Text) -> str:
        if self.openly or not text.hidden:
            return text.shown + text.hidden
        self.tell(about)
        return text.shown + PLACEHOLDER

    def tell(self, about: str) -> None:
        """Note that there is a placeholder, once for each place."""
        text = f"a secret: write it where {PLACEHOLDER} stands, or export --with-secrets"
        note = Note(self.service, about, text)
        if note not in self.notes:
            self.notes.append(note)


def secrets(request: Request, service: ServiceSpec, notes: list[Note]) -> Secrets:
    """Return what is known of the secrets of a service."""
    taken = {n: request.inherited[n] for n in service.inherit_env if n in request.inherited}
    known = frozenset[str]().union(
        *map(secrets_of, (taken, request.file_values(service), service.env))
    )
    return Secrets(service.name, known, request.with_secrets, notes)
