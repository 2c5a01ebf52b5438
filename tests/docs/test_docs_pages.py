"""What the pages say can be done is done: links lead somewhere, commands and YAML are valid."""

import re
import shlex
import textwrap
from pathlib import Path

import pytest
import yaml

from supervisor.cli.arguments import read
from supervisor.cli.exits import CommandError
from supervisor.config.compile import compile_bytes
from supervisor.config.model import Fleet, Service
from tests.docs.pages import CHECKOUT, PAGES, Block, anchors, blocks, inline

by_name = pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")


@by_name
def test_links_lead_somewhere(page: Path) -> None:
    targets = [str(token.attrs["href"]) for token in inline(page, "link_open")]
    targets += [str(token.attrs["src"]) for token in inline(page, "image")]
    for target in targets:
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{page.name}: {target} is not there"
        if anchor:
            assert anchor in anchors(file), f"{page.name}: {target} has no such heading"


@by_name
def test_no_two_headings_have_one_anchor(page: Path) -> None:
    found = anchors(page)
    assert sorted(set(found)) == sorted(found)


def commands(page: Path) -> list[str]:
    """Return what the page tells to type after `atlasctl`, in blocks and in sentences."""
    shell = [block.text for block in blocks("sh") if block.page == page]
    lines = [line for text in shell for line in text.replace("\\\n", " ").splitlines()]
    lines += [token.content for token in inline(page, "code_inline")]
    parts = [part.strip() for line in lines for part in re.split(r" #|;|&&|\|", line)]
    found = [re.fullmatch(r"(?:\./)?(?:atlasctl|ctl) +(.+)", part) for part in parts]
    return [match[1] for match in found if match is not None]


@by_name
def test_every_command_of_atlasctl_is_one(page: Path) -> None:
    for line in commands(page):
        words = shlex.split(re.sub(r"[][]", "", line))  # [NAME] may be given
        if {"-h", "--help"} & {*words}:
            continue
        try:
            read(words, {})
        except CommandError as error:
            pytest.fail(f"{page.name}: atlasctl {line}: {error.message}; {error.hint}")


def test_commands_are_found() -> None:
    assert "restart --rolling tts" in commands(CHECKOUT / "README.md")


FOREIGN = {"scrape_configs": "Prometheus", "apiVersion": "Kubernetes"}
"""Keys by which the configuration of another program is known."""


def whole(text: str) -> str:
    """Return the configuration that a block is, or is a part of.

    A part is keys of the file, of a service, or services by name; what must be there and is not is
    added.
    """
    text = textwrap.dedent(text)
    document = yaml.safe_load(text)
    service_keys = {field.alias or name for name, field in Service.model_fields.items()}
    if "services" in document or document.keys() <= Fleet.model_fields.keys() - service_keys:
        pass
    elif document.keys() <= service_keys:
        text = "services:\n  tts:\n" + textwrap.indent(text, "    ")
    elif all(isinstance(value, dict) and "command" in value for value in document.values()):
        text = "services:\n" + textwrap.indent(text, "  ")
    else:
        raise AssertionError(f"keys of neither the file nor a service: {sorted(document)}")
    document = yaml.safe_load(text)
    if "services" not in document:
        text += "services: {tts: {command: [x]}}\n"
    if "version" not in document:
        text = f"version: 1\n{text}"
    for name, service in yaml.safe_load(text)["services"].items():
        if "command" not in service:
            # An excerpt; what it speaks of may need a probe.
            rest = "" if "probes" in service else "\n    probes: {liveness: {tcp: {port: 1}}}"
            text = re.sub(
                rf"^  {name}:$", rf"\g<0>\n    command: [x]{rest}", text, flags=re.MULTILINE
            )
    return text


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_yaml_is_a_configuration(block: Block) -> None:
    if program := next(
        (FOREIGN[key] for key in yaml.safe_load(block.text) if key in FOREIGN), None
    ):
        pytest.skip(f"it is of {program}")
    # A variable without a default is one that the reader has; most are secrets of webhooks.
    needed = re.findall(r"\$\{(\w+)(?:\}|:\?)", block.text)
    environ = {"HOME": "/nonexistent"} | dict.fromkeys(needed, "http://127.0.0.1:9/hook")
    compile_bytes(whole(block.text).encode(), "/nonexistent/services.yaml", environ)


def test_a_wrong_block_would_be_noticed() -> None:
    with pytest.raises(AssertionError, match="keys of neither"):
        whole("comand: [x]\n")
    assert "    command: [x]\n" in whole("services:\n  a:\n    enabled: true\n")
    assert whole("  a:\n    command: x\n") == "version: 1\nservices:\n  a:\n    command: x\n"


def test_the_first_block_of_the_reference_is_whole() -> None:
    first = next(b for b in blocks("yaml") if b.page == CHECKOUT / "docs" / "configuration.md")
    assert whole(first.text) == first.text
