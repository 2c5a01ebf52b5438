"""What the pages say of the code is so: names, places, words and tables that both have."""

import re
import tomllib
from pathlib import Path

import pytest

from supervisor import exposition
from supervisor.cli.commands import COMMANDS
from supervisor.core.notify import Transition
from tests.docs.pages import CHECKOUT, PAGES, blocks, inline, parsed

DOCS = CHECKOUT / "docs"
README = CHECKOUT / "README.md"
ROOTS = ("supervisor", "services", "tests", "scripts", "docs", "config", "benchmarks")
PICTURES = sorted((DOCS / "pictures").iterdir())
MOST_BYTES = 100_000
LATER = {"config/models.lock", "scripts/told"}
"""Files that a reader makes: by a command, and for an example."""

by_name = pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")


def words(page: Path) -> list[str]:
    """Return every word that the page sets as code, in blocks and in sentences."""
    texts = [token.content for token in inline(page, "code_inline")]
    texts += [token.content for token in parsed(page) if token.type == "fence"]
    return [word for text in texts for word in text.split()]


def cells(page: Path, head: str) -> list[list[str]]:
    """Return the rows of the table whose head begins with this word, as Markdown."""
    lines = page.read_text(encoding="utf-8").splitlines()
    at = next(at for at, line in enumerate(lines) if line.startswith(f"| {head} |"))
    rows = []
    for line in lines[at + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows


def named(text: str) -> list[str]:
    """Return what stands in backticks."""
    return re.findall(r"`([^`]+)`", text)


@by_name
def test_files_that_are_named_are_there(page: Path) -> None:
    made = {block.file for block in blocks("python")}
    for word in words(page):
        path = re.sub(r"::.*", "", word.strip("\"',;:()[]"))
        if not re.fullmatch(r"[a-z_]+/[\w./-]+\w", path) or path in made | LATER:
            continue
        top, _, rest = path.partition("/")
        if top in ROOTS:
            found = (CHECKOUT / path).exists()
        elif rest.endswith(".py"):
            # Modules are called by their place in the package: `posix/spawn.py`.
            found = (CHECKOUT / "supervisor" / path).exists() or (page.parent / path).exists()
        else:
            continue
        assert found, f"{page.name}: there is no {path}"


@by_name
def test_modules_and_targets_that_are_run_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for module in re.findall(r"(?:python|py) (?:-P )?-m ([a-z_]+\.[a-z_.]+\w)", text):
        if module.partition(".")[0] not in ROOTS:
            continue
        place = CHECKOUT / module.replace(".", "/")
        assert place.is_dir() or place.with_suffix(".py").exists(), f"{page.name}: {module}"
    targets = re.findall(r"^([a-z]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    for target in re.findall(r"(?:`|^|[;&] )make ([a-z]+)\b", text, re.MULTILINE):
        assert target in targets, f"{page.name}: make {target}"


def test_variables_that_are_named_are_read_somewhere() -> None:
    sources = [
        file.read_text(encoding="utf-8")
        for folder in ("supervisor", "services", "config", "scripts")
        for file in (CHECKOUT / folder).rglob("*")
        if file.suffix in (".py", ".yaml", ".sh")
    ]
    known = {name for text in sources for name in re.findall(r"[A-Z][A-Z_]+[A-Z]", text)}
    parts = "WHISPER|RECOVERY|ORCHESTRATOR|FRONTEND|FALLBACK|LLM"
    ours = re.compile(rf"\b(?:ATLAS|TTS|{parts})_[A-Z_]+")
    for page in PAGES:
        found = {name for word in words(page) for name in ours.findall(word)}
        assert found <= known, f"{page.name}: nobody reads {sorted(found - known)}"


@pytest.mark.parametrize("command", [c for c in COMMANDS if not c.hidden], ids=lambda c: c.name)
def test_every_command_is_on_some_page(command: object) -> None:
    name = getattr(command, "name", "")
    known = rf"atlasctl\S* (?:\S+ )*?{name}\b|`{name}[ `]"
    assert any(re.search(known, page.read_text(encoding="utf-8")) for page in PAGES)


def test_the_readme_leads_to_every_page() -> None:
    targets = {str(token.attrs["href"]).partition("#")[0] for token in inline(README, "link_open")}
    pages = {str(page.relative_to(CHECKOUT)) for page in PAGES} - {"README.md"}
    assert pages <= targets


def test_pictures_are_small_described_and_shown() -> None:
    shown = set()
    for page in PAGES:
        for image in inline(page, "image"):
            assert len(image.content) > 20, f"{page.name}: {image.attrs['src']} is not described"
            shown.add((page.parent / str(image.attrs["src"])).resolve())
    assert shown == set(PICTURES)
    sizes = {picture.name: picture.stat().st_size for picture in PICTURES}
    assert {name: size for name, size in sizes.items() if size >= MOST_BYTES} == {}


def test_the_layers_of_the_design_are_those_of_import_linter() -> None:
    settings = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = (
        each
        for each in settings["tool"]["importlinter"]["contracts"]
        if each.get("containers", [None]) == [None] and each["type"] == "layers"
    )
    held = [
        {name.strip().removeprefix("supervisor.") for name in layer.split("|")}
        for layer in contract["layers"]
    ]
    text = next(
        token.content
        for token in parsed(DOCS / "design.md")
        if token.type == "fence" and token.content.startswith("trial > ")
    )
    assert [{name.strip() for name in layer.split("|")} for layer in text.split(">")] == held


def test_the_table_of_states_has_every_state_and_no_other() -> None:
    told = {state for row in cells(README, "state") for state in named(row[0])}
    assert told == set(exposition.STATES)


def test_the_table_of_notifications_has_every_transition_and_no_other() -> None:
    told = [name for row in cells(DOCS / "notify.md", "`when`") for name in named(row[0])]
    assert sorted(told) == sorted(transition.value for transition in Transition)


def test_the_table_of_metrics_names_what_there_is() -> None:
    source = Path(exposition.__file__).read_text(encoding="utf-8")
    there = set(re.findall(r'"(atlas_\w+)"', source))
    for row in cells(DOCS / "notify.md", "metric"):
        first, *rest = named(row[0])
        stem = first[: first.index("_", len("atlas_s"))]
        for name in (first, *(each if each.startswith("atlas") else stem + each for each in rest)):
            assert {name, name.removesuffix("_total")} & there, name


def test_the_guide_has_every_verb_of_the_old_script_and_no_other() -> None:
    script = (CHECKOUT / "restart_system.sh").read_text(encoding="utf-8")
    verbs = set(re.findall(r"^  (\w+)  +\w", script, re.MULTILINE))
    rows = cells(DOCS / "from-restart-system.md", "old verb")
    assert {named(row[0])[0].split()[0] for row in rows} == verbs


def test_the_guide_has_every_setting_of_the_old_system_with_its_default() -> None:
    text = (CHECKOUT / "config" / "atlas.yaml").read_text(encoding="utf-8")
    code = "\n".join(line.partition(" #")[0] for line in text.splitlines() if line[:1] != "#")
    rows = cells(DOCS / "from-restart-system.md", "part")
    told = " ".join(cell for row in rows for cell in row)
    for name, default in re.findall(r"\$\{([A-Z_]+):-([^${}]*)\}", code):
        assert re.search(rf"\b{name}\b", told), name
        assert default in told or name == "FALLBACK_LLM", f"{name}: {default}"
    settings = set(re.findall(r"[A-Z]+(?:_[A-Z]+)+", told))
    assert settings <= set(re.findall(r"[A-Z]+(?:_[A-Z]+)+", code))


def test_the_keys_of_the_launch_agent_are_those_that_are_written() -> None:
    source = (CHECKOUT / "supervisor" / "install" / "launchd.py").read_text(encoding="utf-8")
    for row in cells(DOCS / "login.md", "key"):
        key = named(row[0])[0]
        assert f'"{key}"' in source, key
