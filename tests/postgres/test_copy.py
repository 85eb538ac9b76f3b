"""A copy is the database, whatever it holds."""

import subprocess
from pathlib import Path

import pytest

HARD_CASES = Path(__file__).with_name("hard_cases.sql").read_text()


def quiet(text: str, **_: object) -> None:
    pass


@pytest.fixture
async def hard(make_shop):
    shop = make_shop()
    shop.query("aws", HARD_CASES.format(app=f"hard_app_{shop.name}", owner=f"hard_owner_{shop.name}"))
    yield shop
    await shop.move().remove()


def schema_of(shop, cloud: str) -> list[str]:
    """As the same pg_dump tells it."""
    server = shop.aws if cloud == "aws" else shop.azure
    done = subprocess.run(
        [
            *(shop.azure.bin / "pg_dump", "--schema-only", "--exclude-schema", "tidegate", "--no-publications"),
            *("--no-subscriptions", "--restrict-key", "same", server.full_dsn(shop.name)),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return [line for line in done.stdout.splitlines() if not line.startswith("-- Dumped from")]


async def test_every_hard_case_goes_over(hard):
    await hard.move().replicate(quiet)
    assert schema_of(hard, "azure") == schema_of(hard, "aws")
