"""Whole models brought into place: recorded, checked, linked, refused."""

import errno
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import pytest

from supervisor.core.models import ModelFile, ModelSpec
from supervisor.models import copies
from supervisor.models.claim import claim
from supervisor.models.copies import Surroundings
from supervisor.models.events import (
    Adopted,
    Already,
    Event,
    Failed,
    Fetched,
    Linked,
    Progress,
    Replacing,
    Retrying,
)
from supervisor.models.failures import ModelError
from supervisor.models.fetching import Errand, fetch
from tests.models.file_server import Answer, Cut, FileServer
from tests.models.specimens import CONFIG, NAMES, PAGE, torch_zip, voice

VOICE = voice()
Kind = TypeVar("Kind", bound=Event)


@dataclass(slots=True)
class Place:
    """A system with one model, and its fetches."""

    root: Path
    spec: ModelSpec
    events: list[Event] = field(default_factory=list)
    accept: bool = False

    @property
    def lock(self) -> Path:
        return self.root / "config" / "models.lock"

    @property
    def folder(self) -> Path:
        return Path(self.spec.directory)

    @property
    def elsewhere(self) -> Path:
        return self.root.parent / "old server"

    def __call__(self) -> bool:
        self.events.clear()
        errand = Errand(
            config=str(self.root / "config" / "services.yaml"),
            lock=str(self.lock),
            around=Surroundings(
                str(self.root), str(self.root), str(self.root.parent / "home"), "/nowhere"
            ),
            tell=self.events.append,
            pause=lambda _: None,
            accept_changed=frozenset({"voice"} if self.accept else ()),
        )
        return fetch((self.spec,), errand)

    def told(self, kind: type[Kind]) -> list[Kind]:
        return [event for event in self.events if isinstance(event, kind)]

    def failure(self) -> str:
        (failed,) = self.told(Failed)
        return f"{failed.name}: {failed.message}; {failed.hint}"

    def files(self) -> dict[str, bytes]:
        """What lies in the model's folder, but for the file that says who fetches."""
        return {
            path.name: path.read_bytes()
            for path in sorted(self.folder.iterdir())
            if path.name != ".fetching"
        }

    def recorded(self) -> dict[str, dict[str, object]]:
        whole = json.loads(self.lock.read_text())
        assert list(whole) == ["models", "version"]
        found: dict[str, dict[str, object]] = whole["models"]["voice"]
        return found

    def write(self, folder: Path, files: dict[str, bytes]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, body in files.items():
            (folder / name).write_bytes(body)


@pytest.fixture
def place(server: FileServer, tmp_path: Path) -> Place:
    root = tmp_path / "atlas"
    (root / "config").mkdir(parents=True)
    server.serve(VOICE)
    files = tuple(ModelFile(name) for name in NAMES)
    return Place(
        root, ModelSpec("voice", f"{server.url}/v1", files, str(root / "models" / "voice"))
    )


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def test_the_first_fetch_records_and_the_second_needs_no_network(
    server: FileServer, place: Place
) -> None:
    assert place()
    assert place.files() == VOICE
    assert [event.name for event in place.told(Fetched)] == list(NAMES)
    assert all(event.first for event in place.told(Fetched))
    url = f"{server.url}/v1/model.pth"
    model = VOICE["model.pth"]
    assert place.recorded()["model.pth"] == {
        "url": url,
        "size": len(model),
        "sha256": sha256(model),
    }
    assert list(place.recorded()) == sorted(NAMES)
    assert oct(place.lock.stat().st_mode)[-3:] == "644"
    server.requests.clear()
    before = place.lock.read_bytes(), place.lock.stat().st_mtime_ns
    assert place()
    assert [type(event) for event in place.events] == [Already] * 4
    assert server.requests == []
    assert (place.lock.read_bytes(), place.lock.stat().st_mtime_ns) == before


def test_what_was_fetched_is_what_was_recorded(server: FileServer, place: Place) -> None:
    place()
    for name in NAMES:
        (place.folder / name).unlink()
    assert place()
    assert not any(event.first for event in place.told(Fetched))


@pytest.mark.parametrize("longer", [0, 1000])
def test_another_file_under_the_same_name_is_refused(
    server: FileServer, place: Place, longer: int
) -> None:
    place()
    (place.folder / "model.pth").unlink()
    other = torch_zip(40_000 + longer, seed=2)
    server.change("/v1/model.pth", body=other, etag='"two"')
    assert not place()
    said = place.failure()
    assert f"{server.url}/v1/model.pth is not the file that models.lock says" in said
    assert ("bytes there" if longer else "SHA-256") in said
    assert said.endswith("if that is meant: atlasctl models fetch --accept-changed voice")
    assert sorted(place.files()) == sorted(set(NAMES) - {"model.pth"})
    assert place.recorded()["model.pth"]["sha256"] == sha256(VOICE["model.pth"])
    place.accept = True
    assert place()
    assert place.files()["model.pth"] == other
    assert place.recorded()["model.pth"]["sha256"] == sha256(other)
    place.accept = False
    assert place()


def test_a_change_is_accepted_in_place_of_what_is_right(server: FileServer, place: Place) -> None:
    place()
    other = torch_zip(seed=3)
    server.change("/v1/model.pth", body=other, etag='"two"')
    assert place()
    assert place.files()["model.pth"] == VOICE["model.pth"]
    place.accept = True
    assert place()
    assert place.files()["model.pth"] == other


def test_the_yaml_knows_better(server: FileServer, place: Place) -> None:
    right = ModelFile("model.pth", len(VOICE["model.pth"]), sha256(VOICE["model.pth"]))
    place.spec = replace(place.spec, files=(right,))
    assert place()
    assert not place.told(Fetched)[0].first
    place.spec = replace(place.spec, files=(replace(right, sha256="0" * 64),))
    assert not place()
    assert place.told(Replacing)
    assert "is not the file that services.yaml says: SHA-256 000000000000…" in place.failure()
    assert "if that is meant, mend size and sha256 in services.yaml" in place.failure()
    place.accept = True
    assert not place()
    assert place.files() == {"model.pth": VOICE["model.pth"]}


def test_the_yaml_against_what_was_recorded(server: FileServer, place: Place) -> None:
    place()
    other = torch_zip(seed=2)
    server.change("/v1/model.pth", body=other, etag='"two"')
    place.spec = replace(place.spec, files=(ModelFile("model.pth", None, sha256(other)),))
    assert place()
    assert place.files()["model.pth"] == other
    assert place.recorded()["model.pth"]["sha256"] == sha256(other)


def test_another_url_makes_it_another_file(server: FileServer, place: Place) -> None:
    place()
    server.serve(voice(seed=2), below="/v2")
    place.spec = replace(place.spec, url=f"{server.url}/v2")
    assert place()
    assert place.files() == voice(seed=2)
    assert place.recorded()["model.pth"]["url"] == f"{server.url}/v2/model.pth"


@pytest.mark.parametrize("accept", [False, True])
def test_offline_what_lies_there_is_not_taken_for_the_new_file(
    server: FileServer, place: Place, free_port: Callable[[], int], accept: bool
) -> None:
    place()
    before = place.lock.read_bytes()
    place.accept = accept
    if accept:
        server.tricks += [Answer(404)] * 4
    else:
        place.spec = replace(place.spec, url=f"http://127.0.0.1:{free_port()}")
    assert not place()
    assert [type(event) for event in place.events if isinstance(event, Failed)] == [Failed] * 4
    assert [type(event) for event in place.events if isinstance(event, Adopted | Already)] == []
    assert place.lock.read_bytes() == before
    assert place.files() == VOICE


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (PAGE, "is a web page"),
        (VOICE["feats_stats.npz"], "holds arrays of NumPy, not a model: were two files swapped?"),
        (VOICE["model.pth"][:20_000], "is cut off"),
        (b'{"message": "Not Found"}', "is JSON"),
    ],
)
def test_what_is_no_model_never_comes_into_place(
    server: FileServer, place: Place, body: bytes, words: str
) -> None:
    server.change("/v1/model.pth", body=body)
    assert not place()
    assert f"what {server.url}/v1/model.pth gave {words}" in place.failure()
    assert sorted(place.files()) == sorted(set(NAMES) - {"model.pth"})
    assert "model.pth" not in place.recorded()


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (b"", "is empty"),
        (VOICE["model.pth"][:-1], "is cut off"),
        (torch_zip(39_000), "bytes; models.lock says"),
        (torch_zip(seed=9), "has another content"),
    ],
)
def test_what_is_wrong_is_fetched_anew(
    server: FileServer, place: Place, found: bytes, words: str
) -> None:
    place()
    (place.folder / "model.pth").write_bytes(found)
    assert place()
    assert words in place.told(Replacing)[0].why
    assert place.files() == VOICE


def test_a_folder_in_the_place_of_a_file(place: Place) -> None:
    (place.folder / "model.pth").mkdir(parents=True)
    assert not place()
    assert "is a folder; remove it" in place.failure()


def test_a_broken_link_is_replaced(place: Place) -> None:
    place.folder.mkdir(parents=True)
    (place.folder / "model.pth").symlink_to("/nowhere/model.pth")
    assert place()
    assert "is a link to /nowhere/model.pth, which is not there" in place.told(Replacing)[0].why
    assert not (place.folder / "model.pth").is_symlink()


# Copies that are on the machine already ------------------------------------------------------


def test_copies_are_linked_and_not_fetched(server: FileServer, place: Place) -> None:
    place.write(place.elsewhere, VOICE)
    assert place()
    assert [event.name for event in place.told(Linked)] == list(NAMES)
    assert all(event.compared and not event.symbolic for event in place.told(Linked))
    for name in NAMES:
        assert (place.folder / name).samefile(place.elsewhere / name)
        assert {request.range is None for request in server.asked(name)} == {False}
    assert place.recorded()["model.pth"]["sha256"] == sha256(VOICE["model.pth"])
    server.requests.clear()
    assert place()
    assert place.told(Linked) == []
    assert server.requests == []


def test_copies_of_other_weights_are_not_linked(server: FileServer, place: Place) -> None:
    place.write(place.elsewhere, voice(seed=2) | {"config.yaml": CONFIG})
    assert place()
    assert [event.name for event in place.told(Linked)] == ["config.yaml"]
    assert place.files() == VOICE


def test_what_was_recorded_decides(server: FileServer, place: Place) -> None:
    place()
    for name in NAMES:
        (place.folder / name).unlink()
    server.requests.clear()
    place.write(place.elsewhere, voice(seed=2))
    place.write(place.elsewhere / "below", VOICE)
    assert place()
    linked = {event.name: Path(event.origin).parent.name for event in place.told(Linked)}
    assert linked == dict.fromkeys(NAMES, "below") | {"config.yaml": "old server"}  # the same
    assert server.requests == []


@pytest.mark.parametrize("whole", [True, False])
def test_offline_a_whole_installation_is_linked_and_half_of_one_is_not(
    place: Place, free_port: Callable[[], int], whole: bool
) -> None:
    place.spec = replace(place.spec, url=f"http://127.0.0.1:{free_port()}")
    found = dict(VOICE) if whole else {"model.pth": VOICE["model.pth"]}
    place.write(place.elsewhere, found)
    assert place() is whole
    assert len(place.told(Linked)) == (4 if whole else 0)
    assert not any(event.compared for event in place.told(Linked))
    assert not place.lock.exists(), "another file of the server would be refused for this"
    if not whole:
        failed = place.told(Failed)
        assert [event.name for event in failed] == list(NAMES)
        assert "cannot be reached: connection refused" in failed[0].message
        assert failed[0].hint.startswith("is this machine offline?")
        for event in failed:
            by_hand = f"by hand: fetch {place.spec.url}/{event.name} elsewhere and put it at"
            assert f"{by_hand} {place.folder / event.name}" in event.hint
        # Once with patience is enough to know that a server is not there.
        assert len(place.told(Retrying)) <= 3


def test_damaged_copies_are_passed_over(server: FileServer, place: Place) -> None:
    place.write(place.elsewhere, VOICE | {"model.pth": PAGE, "config.yaml": b"a: 1"})
    assert place()
    assert [event.name for event in place.told(Fetched)] == ["model.pth", "config.yaml"]


def test_a_server_without_ranges_cannot_vouch_for_a_copy(server: FileServer, place: Place) -> None:
    for name in NAMES:
        server.change(f"/v1/{name}", ranges=False)
    place.write(place.elsewhere, {"model.pth": VOICE["model.pth"]})
    assert place()
    assert place.told(Linked) == []
    place.write(place.elsewhere, VOICE)
    (place.folder / "model.pth").unlink()
    place.lock.unlink()
    assert place()
    assert not place.told(Linked)[0].compared


def test_between_two_disks_the_link_is_symbolic(
    server: FileServer, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    place.write(place.elsewhere, VOICE)
    assert place()
    assert all(event.symbolic for event in place.told(Linked))
    assert (place.folder / "model.pth").readlink() == place.elsewhere / "model.pth"
    assert place.files() == VOICE
    assert place()
    assert [type(event) for event in place.events] == [Already] * 4


def test_a_link_of_a_store_of_blobs_leads_to_the_blob(server: FileServer, place: Place) -> None:
    blobs = place.root.parent / "blobs"
    place.write(blobs, {"abc": VOICE["model.pth"]})
    place.elsewhere.mkdir()
    (place.elsewhere / "model.pth").symlink_to(blobs / "abc")
    assert place()
    assert place.told(Linked)[0].origin == str(blobs / "abc")
    assert not (place.folder / "model.pth").is_symlink()


def test_a_part_is_removed_when_a_copy_was_found(server: FileServer, place: Place) -> None:
    server.tricks += [Cut(1000), *[Cut(0)] * 10]
    place.spec = replace(place.spec, files=(ModelFile("model.pth"),))
    assert not place()
    assert sorted(place.files()) == ["model.pth.part", "model.pth.part.json"]
    server.tricks.clear()
    place.write(place.elsewhere, {"model.pth": VOICE["model.pth"]})
    assert place()
    assert list(place.files()) == ["model.pth"]


def test_files_put_there_by_hand_are_compared_and_recorded(
    server: FileServer, place: Place
) -> None:
    place.write(place.folder, VOICE | {"model.pth": torch_zip(seed=2)})
    assert place()
    assert [event.name for event in place.told(Adopted)] == list(NAMES[1:])
    assert all(event.compared for event in place.told(Adopted))
    assert place.told(Replacing)[0].why == "is not the file that the server has"
    assert place.files() == VOICE


def test_files_put_there_by_hand_offline(place: Place, free_port: Callable[[], int]) -> None:
    place.spec = replace(place.spec, url=f"http://127.0.0.1:{free_port()}")
    place.write(place.folder, VOICE)
    assert place()
    assert [event.compared for event in place.told(Adopted)] == [False] * 4
    # What the server has is still to be seen: it must not be refused for this.
    assert not place.lock.exists()
    assert place()
    assert len(place.told(Adopted)) == 4


# Trouble -------------------------------------------------------------------------------------


def test_one_file_that_is_missing_does_not_keep_the_others(
    server: FileServer, place: Place
) -> None:
    del server.files["/v1/config.yaml"]
    assert not place()
    assert place.failure().startswith("config.yaml: 127.0.0.1 answered 404 Not Found")
    assert sorted(place.files()) == sorted(set(NAMES) - {"config.yaml"})


def test_two_at_once(server: FileServer, place: Place) -> None:
    with claim(str(place.folder)):
        assert not place()
    (failed,) = place.told(Failed)
    assert f"another fetch (pid {os.getpid()}) is at work in {place.folder}" in failed.message
    assert server.requests == []
    assert place()


def test_a_folder_that_cannot_be_made(place: Place) -> None:
    place.folder.parent.mkdir()
    place.folder.write_text("a file")
    assert not place()
    assert "cannot be written to" in place.told(Failed)[0].message


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"version": 2, "models": {}}',
        '{"version": 1, "models": {"voice": {"model.pth": {"url": "x"}}}}',
        '{"version": 1, "models": {"voice": {"a": {"url": "x", "size": 1, "sha256": "x"}}}}',
        '{"version": 1, "models": {"voice": {"a": {"url": "x", "size": true, "sha256": "x"}}}}',
    ],
)
def test_a_damaged_lock_stops_everything(server: FileServer, place: Place, text: str) -> None:
    place.lock.write_text(text)
    assert not place()
    (failed,) = place.told(Failed)
    assert f"{place.lock} is damaged" in failed.message
    assert "git checkout" in failed.hint
    assert place.lock.read_text() == text
    assert server.requests == []


def test_other_models_in_the_lock_are_kept(server: FileServer, place: Place) -> None:
    entry = {"url": "https://h/x", "size": 3, "sha256": "a" * 64}
    place.lock.write_text(json.dumps({"version": 1, "models": {"other": {"x.bin": entry}}}))
    assert place()
    assert json.loads(place.lock.read_text())["models"]["other"] == {"x.bin": entry}


def test_a_lock_that_cannot_be_written(
    server: FileServer, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.lock.parent.rmdir()
    assert not place()
    assert (
        "models.lock cannot be written: No such file or directory" in place.told(Failed)[0].message
    )


def test_progress_is_told_for_each_file(server: FileServer, place: Place) -> None:
    server.tricks = [Cut(10_000), Answer(500)]
    place.spec = replace(place.spec, files=place.spec.files[:1])
    assert place()
    assert [type(event) for event in place.events if not isinstance(event, Progress)] == [
        Retrying,
        Retrying,
        Fetched,
    ]


# The search ----------------------------------------------------------------------------------


def test_where_copies_are_looked_for(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    base = place.root.parent
    home, hub = base / "home", base / "hub"
    spots = [
        base / "named" / "v6",
        home / "voice",
        home / ".cache" / "voice",
        hub / "models--robinhad--voice" / "snapshots" / "abc",
        place.root / "tools" / "speech" / "server",
    ]
    far = base / "1" / "2" / "3" / "4" / "5"
    far.mkdir(parents=True)
    (place.root / "link").symlink_to(far)
    hidden = [
        far,
        place.root / ".venv",
        place.root / "node_modules",
        place.root / "a" / "b" / "c" / "d",
    ]
    for folder in (*spots, *hidden, place.folder):
        place.write(folder, {"model.pth": b"x"})
    around = Surroundings(str(place.root), str(place.root), str(home), str(hub))
    spec = replace(place.spec, look_in=(str(base / "named" / "v*"),))
    found = copies.copies(spec, around)
    assert sorted(Path(path).parent for path in found["model.pth"]) == sorted(spots)
    assert found["model.pth"][0] == str(spots[0] / "model.pth")
    assert found["config.yaml"] == []


def test_the_search_is_bounded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(50):
        place.write(place.root / f"d{index:02}", {"model.pth": b"x"})
    monkeypatch.setattr(copies, "MAX_FOLDERS", 20)
    around = Surroundings(str(place.root), str(place.root), "/nowhere", "/nowhere")
    assert len(copies.copies(place.spec, around)["model.pth"]) < 20


def test_links_in_a_circle_end_the_search(place: Place) -> None:
    (place.root / "loop").symlink_to(place.root)
    around = Surroundings(str(place.root), str(place.root), "/nowhere", "/nowhere")
    assert copies.copies(place.spec, around)["model.pth"] == []


def test_surroundings_of_a_person() -> None:
    around = copies.surroundings("/r", "/c", {"HOME": "/h"})
    assert around == Surroundings("/r", "/c", "/h", "/h/.cache/huggingface/hub")
    assert copies.surroundings("/r", "/c", {"HF_HOME": "/x"}).hub == "/x/hub"
    assert copies.surroundings("/r", "/c", {"XDG_CACHE_HOME": "/y"}).hub == "/y/huggingface/hub"


def test_a_claim_is_free_again(tmp_path: Path) -> None:
    with claim(str(tmp_path)), pytest.raises(ModelError), claim(str(tmp_path)):
        pass
    with claim(str(tmp_path)):
        pass
