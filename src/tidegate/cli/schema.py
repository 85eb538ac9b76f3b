"""`schema`: what can stand in a migration.yaml, for editors and other programs."""

import json

import click

from tidegate.runbook.migration import Migration

__all__ = ["schema", "schema_text"]


def schema_text() -> str:
    """JSON Schema, from the models themselves; docs/migration.schema.json is a copy."""
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Migration.model_json_schema()}
    return json.dumps(document, indent=2)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="The same: a schema is JSON.")
def schema(*, as_json: bool) -> None:
    """Print the JSON Schema of migration.yaml.

    With it editors complete fields and mark mistakes.
    """
    del as_json
    click.echo(schema_text())
