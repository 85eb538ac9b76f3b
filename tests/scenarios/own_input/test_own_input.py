"""A dump and files of the user's own, taken along beside the shop: moved, proved and reported like the rest."""

import secrets
from pathlib import Path

import pytest

from scenarios.conftest import must_keep_its_promise

pytestmark = pytest.mark.rehearsal

ROOT = Path(__file__).parents[3]
CHINOOK = ROOT.parent / "shared" / "corpus" / "databases" / "chinook.sql"
CALM = ("--rate", "60")
"""Requests per second: the machine has the user's own to move as well."""


@pytest.fixture
def files(tmp_path) -> Path:
    """Real files under names that somebody has really given."""
    folder = tmp_path / "My files (final)"
    named = {
        "read me first!.md": ROOT / "README.md",
        "a+b & c=d 100%#?.txt": ROOT / "LICENSE",
        "Übersicht/naïve, “quoted”.md": ROOT / "docs" / "migration.schema.json",
        "日本語/ファイル.toml": ROOT / "pyproject.toml",
        "very/very/deep down/.hidden": ROOT / "Makefile",
    }
    for name, original in named.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(original.read_bytes())
    for source in (ROOT / "src" / "tidegate" / "runbook").glob("*.py"):
        (folder / source.name).write_bytes(source.read_bytes())
    (folder / "empty").touch()
    (folder / "large.bin").write_bytes(secrets.token_bytes(9 * 2**20 + 1))
    return folder


@pytest.fixture
def rows(postgres16) -> dict[str, int]:
    """How many each table of the dump has, by a server that has loaded it."""
    if not CHINOOK.exists():
        pytest.skip(f"there is no {CHINOOK.name} beside this repository")
    try:
        postgres16.psql("postgres", file=CHINOOK)
        tables = postgres16.psql("chinook", "select relname from pg_stat_user_tables order by 1").split()
        counts = " union all ".join(f"select '{table}', count(*) from {table}" for table in tables)
        counted = postgres16.psql("chinook", counts)
    finally:
        postgres16.psql("postgres", "drop database if exists chinook with (force)")
    return {name: int(count) for name, count in (line.split("\t") for line in counted.splitlines())}


def test_it_is_replicated_verified_switched_and_reported_like_the_rest(rehearse, files, rows):
    rehearsed = rehearse("window", "--database", str(CHINOOK), "--objects", str(files), *CALM)
    must_keep_its_promise(rehearsed, "migrated")
    assert rehearsed.figures["requests"]["failed"] == 0
    assert rehearsed.figures["writes"]["lost"] == 0

    state = rehearsed.state
    objects = sum(file.is_file() for file in files.rglob("*"))
    for verb in ("verify", "prove"):  # before the switch, and after it
        [database] = state.step(f"{verb}-own-database").findings
        message = f"own-database: {sum(rows.values()):,} rows in {len(rows)} tables are the same on both sides"
        assert (database.verdict, database.message) == ("pass", message)
        [bucket] = state.step(f"{verb}-own-objects").findings
        message = f"own-objects: {objects:,} objects are the same on both sides"
        assert (bucket.verdict, bucket.message) == ("pass", message)
    assert rehearsed.figures["rows"]["verified"] > 5000 + sum(rows.values())
    assert rehearsed.figures["objects"]["verified"] > 150 + objects
    checks = [finding.check for finding in state.step("preflight").findings]
    assert {"own-database.keys", "own-objects.names"} <= set(checks)
    assert state.step("finish-own-database").status == state.step("finish-own-objects").status == "done"
    for store in ("own-database", "own-objects"):
        assert store in rehearsed.report
