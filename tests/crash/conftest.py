import pytest

from sample import sample_migration
from tidegate.runbook.migration import Migration


@pytest.fixture(scope="session")
def migration() -> Migration:
    return sample_migration()
