"""The keys under `models:`: files that `atlasctl models fetch` brings. No service is changed."""

import re
from dataclasses import dataclass
from os.path import normpath
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from supervisor.config.document import Scalar
from supervisor.config.fields import (
    EXPANDABLE,
    Integer,
    ScalarType,
    Text,
    read_text,
    rejection,
)
from supervisor.config.problems import clip
from supervisor.config.root import Folders
from supervisor.config.shapes import Keys, Name, Path, Paths
from supervisor.core.models import ModelFile, ModelSpec

MAX_FILES = 100
MAX_MODELS = 100

# No slash and no dot first: a file stays in its model's folder, beside .part and .fetching.
FILE_NAME = Text(
    r"(?!.*\.part(?:\.json)?$)[A-Za-z0-9_][A-Za-z0-9._+-]{0,127}",
    "cannot name a file of a model",
    "use letters, digits, . _ + and -, no folder, and .part not last",
)
SHA256 = Text(
    r"[0-9a-fA-F]{64}", "is not a SHA-256", "write the 64 hexadecimal digits that sha256sum prints"
)


@dataclass(frozen=True, slots=True)
class BaseUrl(ScalarType):
    """Where files are downloaded from: http or https, without a query."""

    def read(self, value: object) -> str:
        """Return the URL without a slash at its end."""
        text = read_text(value)
        hint = "write it like https://host/folder, which the names of the files are below"
        if not re.fullmatch(r"[\x21-\x7e]+", text):
            raise rejection(f"{clip(text)!r} has characters a URL may not have", "percent-encode")
        try:
            parts = urlsplit(text)
            host, _ = parts.hostname, parts.port
        except ValueError as error:
            raise rejection(f"{clip(text)!r} is not a URL: {error}", hint) from None
        if parts.scheme not in ("http", "https") or not host:
            raise rejection(f"{clip(text)!r} is not an http or https URL", hint)
        if parts.query or parts.fragment or "?" in text or "#" in text:
            raise rejection("a ? or # cannot stand before the name of a file", hint)
        if parts.username is not None:
            raise rejection(
                "a password does not belong in this file", f"put it into ~/.netrc for {host}"
            )
        return text.rstrip("/")

    def schema(self) -> dict[str, object]:
        """Return the pattern of URLs."""
        pattern = rf"^(?:https?://[\x21\x22\x24-\x3e\x41-\x7e]+|{EXPANDABLE})$"
        return {"type": "string", "pattern": pattern, "examples": ["https://host/folder"]}


def as_file(value: object) -> object:
    """Read `model.pth` as `{name: model.pth}`."""
    return {"name": value} if isinstance(value, Scalar) else value


def check_files(files: "list[File]") -> "list[File]":
    """Reject none, too many, and two of one name."""
    if not 1 <= len(files) <= MAX_FILES:
        raise rejection(f"has {len(files)} files", f"name 1 to {MAX_FILES}")
    names: set[str] = set()
    for file in files:
        # A Mac's disk takes both spellings for one file.
        if file.name.lower() in names:
            raise rejection(f"{file.name!r} is named twice", "remove one")
        names.add(file.name.lower())
    return files


def check_models(models: "dict[str, Model]") -> "dict[str, Model]":
    """Reject more models than one file is made for, and two that would write one file."""
    if len(models) > MAX_MODELS:
        raise rejection(f"has {len(models)} models", f"{MAX_MODELS} are the most")
    owners: dict[tuple[str, str], str] = {}
    for name, model in models.items():
        folder = normpath(model.directory or f"models/{name}")
        for file in model.files:
            first = owners.setdefault((folder, file.name.lower()), name)
            if first != name:
                raise rejection(
                    f"{first} and {name} both put {file.name} into {folder}",
                    "give one of them another directory",
                )
    return models


class File(Keys):
    """One file. What is given here is checked; what is not is recorded by the first fetch."""

    name: Annotated[str, FILE_NAME] = Field(description="Its name, here and below the URL.")
    size: Annotated[int, Integer(1, 2**40)] | None = Field(
        default=None, description="Bytes, exactly. Default: as models.lock says."
    )
    sha256: Annotated[str, SHA256] | None = Field(
        default=None, description="SHA-256, hexadecimal. Default: as models.lock says."
    )


class Model(Keys):
    """Files that belong together, in one folder."""

    url: Annotated[str, BaseUrl()] = Field(description="Where they are: each is below this URL.")
    files: Annotated[
        list[Annotated[File, BeforeValidator(as_file, json_schema_input_type=File | str)]],
        AfterValidator(check_files),
    ] = Field(description="Their names, or name with size and sha256.")
    directory: Path | None = Field(
        default=None, description="Folder that they are put in. Default models/NAME."
    )
    look_in: Paths = Field(
        default_factory=list,
        description="Folders (~ and * are understood) where copies may be: what is found there"
        " and is right is linked, not fetched again.",
    )


Models = Annotated[dict[Name, Model], AfterValidator(check_models)]


def model_spec(name: str, read: Model, folders: Folders) -> ModelSpec:
    """Return one model, its paths absolute."""
    return ModelSpec(
        name=name,
        url=read.url,
        files=tuple(
            ModelFile(file.name, file.size, None if file.sha256 is None else file.sha256.lower())
            for file in read.files
        ),
        directory=folders.absolute(read.directory or f"models/{name}"),
        look_in=tuple(folders.absolute(path) for path in read.look_in),
    )
