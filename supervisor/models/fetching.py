"""A model's files brought into place: what is there stays, what is elsewhere is linked, the rest
is fetched. Whatever is put in place has been inspected and compared with what was recorded.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from supervisor.core.models import ModelSpec
from supervisor.models import inspection
from supervisor.models.claim import claim
from supervisor.models.condition import Present, Wrong, look
from supervisor.models.copies import Surroundings, copies, link
from supervisor.models.digest import sha256_of
from supervisor.models.download import Offer, Pause, Tell, ask, changed, download, same_samples
from supervisor.models.events import Adopted, Already, Failed, Fetched, Linked, Replacing
from supervisor.models.failures import ModelError, TransientError, UnreachableError
from supervisor.models.lockfile import Recorded, read_lock, record
from supervisor.models.manifest import Wanted, wanted_files
from supervisor.models.part import Part
from supervisor.models.transport import Transport, unreachable


@dataclass(frozen=True, slots=True)
class Errand:
    """What every model's fetch has in common."""

    config: str
    """The YAML, absolute."""
    lock: str
    """The lock file, absolute."""
    around: Surroundings
    tell: Tell
    pause: Pause = time.sleep
    transport: Callable[[], Transport] = Transport
    accept_changed: frozenset[str] = frozenset()
    """Models of which what was recorded is forgotten: they are fetched and recorded anew."""


def fetch(specs: tuple[ModelSpec, ...], errand: Errand) -> bool:
    """Bring every file of these models into place; tell whether all are.

    What cannot be had is told as `Failed`, and the next file is tried. Raises ModelError if the
    lock file is damaged.
    """
    whole = True
    with contextlib.closing(errand.transport()) as transport:
        for spec in specs:
            try:
                with claim(spec.directory):
                    whole = _fetch_model(_Work(spec, errand, transport)) and whole
            except ModelError as error:
                errand.tell(Failed(spec.name, "", error.message, error.hint))
                whole = False
    return whole


@dataclass(slots=True)
class _Work:
    spec: ModelSpec
    errand: Errand
    transport: Transport
    offline: UnreachableError | None = None
    """The server could not be asked once, with retries; the next file does not try all that."""
    _copies: Mapping[str, list[str]] | None = field(default=None)

    @property
    def accepting(self) -> bool:
        return self.spec.name in self.errand.accept_changed

    def copies(self) -> Mapping[str, list[str]]:
        if self._copies is None:
            self._copies = copies(self.spec, self.errand.around)
        return self._copies


def _fetch_model(work: _Work) -> bool:
    errand, whole, explained = work.errand, True, False
    for wanted in wanted_files(
        work.spec,
        read_lock(errand.lock),
        os.path.basename(errand.config),
        os.path.basename(errand.lock),
        forget=work.accepting,
    ):
        try:
            _fetch_file(wanted, work)
        except ModelError as error:
            hint = error.hint
            if isinstance(error, UnreachableError):
                by_hand = f"by hand: fetch {wanted.url} elsewhere and put it at {wanted.path}"
                hint, explained = by_hand if explained else f"{hint}; {by_hand}", True
            errand.tell(Failed(wanted.model, wanted.name, error.message, hint))
            whole = False
    return whole


def _fetch_file(wanted: Wanted, work: _Work) -> None:
    trusting = not work.accepting and not wanted.moved
    if trusting and _stays(wanted, work):
        return
    if trusting and _linked(wanted, work):
        return
    _download(wanted, work)


def _stays(wanted: Wanted, work: _Work) -> bool:
    found = look(wanted, thorough=True)
    if isinstance(found, Wrong) and os.path.isdir(wanted.path):
        raise ModelError(f"{wanted.path} is a folder", "remove it: a file belongs there")
    if isinstance(found, Wrong):
        work.errand.tell(Replacing(wanted.model, wanted.name, wanted.path, found.why))
    if not isinstance(found, Present):
        return False
    if wanted.sha256 is not None:
        _record(wanted, found.size, wanted.sha256, work)
        work.errand.tell(Already(wanted.model, wanted.name, wanted.path, found.size))
        return True
    # Somebody has put it there by hand, and nothing is known of it.
    agrees = _agrees_with_server(wanted, wanted.path, found.size, work)
    if agrees is False:
        why = "is not the file that the server has"
        work.errand.tell(Replacing(wanted.model, wanted.name, wanted.path, why))
        return False
    if agrees:
        _record(wanted, found.size, found.sha256 or sha256_of(wanted.path), work)
    work.errand.tell(
        Adopted(wanted.model, wanted.name, wanted.path, found.size, compared=agrees is True)
    )
    return True


def _linked(wanted: Wanted, work: _Work) -> bool:
    for origin in work.copies()[wanted.name]:
        with contextlib.suppress(OSError):
            if _link(wanted, origin, work):
                return True
    return False


def _link(wanted: Wanted, origin: str, work: _Work) -> bool:
    size = os.stat(origin).st_size
    if (wanted.size is not None and size != wanted.size) or inspection.fault(origin, wanted.name):
        return False
    compared = wanted.sha256 is not None
    sha256 = None
    if wanted.sha256 is None:
        agrees = _agrees_with_server(wanted, origin, size, work)
        # Unasked, only a folder that has every file of the model looks like an installation of it.
        if agrees is False or (agrees is None and not _is_installation(origin, work.spec)):
            return False
        compared = agrees is True
    elif (sha256 := sha256_of(origin)) != wanted.sha256:
        return False
    symbolic = link(origin, wanted.path)
    Part(wanted.path).discard()
    # What the server was not asked of must not be what its file is held to ever after.
    if compared:
        _record(wanted, size, sha256 or sha256_of(wanted.path), work)
    work.errand.tell(
        Linked(
            wanted.model,
            wanted.name,
            wanted.path,
            os.path.realpath(origin),
            size,
            symbolic=symbolic,
            compared=compared,
        )
    )
    return True


def _is_installation(origin: str, spec: ModelSpec) -> bool:
    folder = os.path.dirname(origin)
    try:
        return all(
            inspection.fault(os.path.join(folder, file.name), file.name) is None
            for file in spec.files
        )
    except OSError:
        return False


def _agrees_with_server(wanted: Wanted, path: str, size: int, work: _Work) -> bool | None:
    """Tell whether the server has the same file, as far as a few pieces show; None: not known."""
    offer = _offer(wanted, work)
    if offer is None:
        return None
    if offer.size is not None and offer.size != size:
        return False
    if not offer.ranges or offer.size is None:
        return None
    try:
        return same_samples(wanted, path, size, work.transport)
    except (TransientError, ModelError):
        return None


def _offer(wanted: Wanted, work: _Work) -> Offer | None:
    if work.offline is not None:
        return None
    try:
        return ask(wanted, work.transport)
    except TransientError as error:
        if not error.reached:
            work.offline = unreachable(error)
        return None
    except ModelError:
        return None


def _download(wanted: Wanted, work: _Work) -> None:
    if work.offline is not None:
        raise work.offline
    part = Part(wanted.path)
    try:
        download(wanted, part, work.transport, work.errand.tell, work.errand.pause)
    except UnreachableError as error:
        work.offline = error
        raise
    except OSError as error:
        folder = os.path.dirname(wanted.path)
        raise ModelError(f"{folder} cannot be written to: {error.strerror}", "mend that") from None
    with _discarded_unless_right(part):
        size = part.length()
        if why := inspection.fault(part.path, wanted.name):
            raise ModelError(
                f"what {wanted.url} gave {why}", "open the URL in a browser, and see what it is"
            )
        sha256 = sha256_of(part.path)
        if wanted.size not in (None, size) or wanted.sha256 not in (None, sha256):
            raise changed(wanted, size, sha256)
        part.become(wanted.path)
    _record(wanted, size, sha256, work)
    first = wanted.sha256 is None
    work.errand.tell(Fetched(wanted.model, wanted.name, wanted.path, size, sha256, first=first))


@contextlib.contextmanager
def _discarded_unless_right(part: Part) -> Iterator[None]:
    try:
        yield
    except (ModelError, OSError) as error:
        part.discard()
        if isinstance(error, OSError):
            raise ModelError(f"{part.path} cannot be read: {error.strerror}", "mend that") from None
        raise


def _record(wanted: Wanted, size: int, sha256: str, work: _Work) -> None:
    if not wanted.recorded:
        found = Recorded(wanted.url, size, sha256)
        record(work.errand.lock, wanted.model, wanted.name, found)
