"""What a preflight doesn't pass, by check; of one shop for all tests of a file, each of which leaves it as it was."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from postgres.conftest import Shop
from tidegate.lab.servers.postgres import Postgres
from tidegate.postgres.database import DatabaseMove
from tidegate.postgres.preflight import DatabaseFacts
from tidegate.runbook.migration import Database
from tidegate.runbook.step import Finding

PLANTING = "set allow_system_table_mods = on; "
"""What no statement makes, but a server may hold, is written to its catalog."""


@contextmanager
def one_shop(aws: Postgres, azure: Postgres) -> Iterator[Shop]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOP_APP_PASSWORD", "app")
        patch.setenv("SHOP_LIMITED_PASSWORD", "limited")
        yield Shop(aws, azure)


def open_ones(facts: DatabaseFacts) -> dict[str, Finding]:
    """Each says what it is about, and its mend, apart."""
    found = {each.check: each for each in facts.findings if each.verdict != "pass"}
    for each in found.values():
        assert each.where, each
        assert each.mend, each
        assert each.mend not in each.message
    return found


async def troubles(shop, users: tuple[str, ...] = (), **changes: dict[str, str]) -> dict[str, Finding]:
    """`changes`: of the migration, by side."""
    document = shop.spec.model_dump(mode="json")
    for side, change in changes.items():
        document[side] |= change
    return open_ones(await DatabaseMove("orders", Database.model_validate(document), "run-1").facts(users))


def verdicts(found: dict[str, Finding]) -> dict[str, str]:
    return {check: each.verdict for check, each in found.items()}
