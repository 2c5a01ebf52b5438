"""The JSON Schema (2020-12) of the YAML, from the same models that validate it."""

from functools import cache
from typing import cast

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from supervisor.config.model import Fleet


class _Generator(GenerateJsonSchema):
    """Leaves out what the YAML does not know: null for "not given", defaults in seconds."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002 - pydantic's signature
        """Return False: a title that repeats the key hides the description in some editors."""
        return False

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """Return the schema of what is given: an absent key is how nothing is spelled."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Return the schema without the default, which is a number of seconds here."""
        return self.generate_inner(schema["schema"])

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """Refuse keys that match no pattern: pydantic's own schema lets them pass."""
        described = super().dict_schema(schema)
        if "patternProperties" in described:
            described["additionalProperties"] = False
        return described


@cache
def fleet_schema() -> dict[str, object]:
    """Return the schema that `atlasctl schema` prints. The same dict each time: do not change it.

    Cached because every unknown key is looked up in it, and a bad file may have thousands.
    """
    described = Fleet.model_json_schema(by_alias=True, schema_generator=_Generator)
    head: dict[str, object] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "atlasctl services",
    }
    return head | {k: v for k, v in cast("dict[str, object]", described).items() if k not in head}
