import json
from pathlib import Path

import yaml

from tidegate.runbook.compile import compile_runbook
from tidegate.runbook.migration import Bucket
from tidegate.runbook.parse import parse_migration

DOCS = Path(__file__).parents[2] / "docs"


def test_the_sample_is_a_valid_migration(cli, tmp_path):
    file = tmp_path / "migration.yaml"
    assert cli("init", file).exit_code == 0
    migration, _ = parse_migration(file.read_text(), str(file))
    names = [stage.name for stage in compile_runbook(migration).stages]
    assert names.index("tell-support") == names.index("switch") - 1


def test_what_the_sample_has_in_comments_is_valid_too(cli, tmp_path):
    file = tmp_path / "migration.yaml"
    cli("init", file)
    lines = file.read_text().splitlines()
    begin = next(index for index, line in enumerate(lines) if line.startswith("# witness"))
    witness = [line.removeprefix("# ") for line in lines[begin : begin + 4]]
    steps = [line.replace("  # ", "  ", 1) if line.startswith("  # ") else line for line in lines]
    whole = [line.replace("# peer:", "peer:").replace("# events:", "events:") for line in [*steps, *witness]]
    migration, _ = parse_migration("\n".join(whole), "whole.yaml")
    assert migration.witness is not None
    assert [step.name for step in migration.steps] == ["tell-support", "warm-caches"]
    receipts = migration.stores["receipts"]
    assert isinstance(receipts, Bucket)
    assert receipts.aws.events is not None


def test_nothing_is_overwritten(cli, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("mine")
    done = cli("init", file)
    assert done.exit_code == 2
    assert f"{file}: there is such a file already" in done.stderr
    assert file.read_text() == "mine"


def test_a_folder_that_there_is_not_is_named(cli, tmp_path):
    done = cli("init", tmp_path / "nowhere" / "migration.yaml")
    assert done.exit_code == 2
    assert f"{tmp_path / 'nowhere'}: there is no such folder" in done.stderr


def test_the_schema_in_the_docs_is_what_the_models_say(cli):
    """`tidegate schema > docs/migration.schema.json` brings it up to date."""
    done = cli("schema")
    assert done.exit_code == 0
    assert done.output == (DOCS / "migration.schema.json").read_text()


def test_every_field_of_the_sample_is_in_the_schema(cli, tmp_path):
    file = tmp_path / "migration.yaml"
    cli("init", file)
    schema = json.loads(cli("schema").output)
    assert set(yaml.safe_load(file.read_text())) <= set(schema["properties"])
