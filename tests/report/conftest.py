import pytest

from report.telling import sample_plan
from tidegate.runbook.plan import Plan


@pytest.fixture(scope="session")
def plan() -> Plan:
    return sample_plan()
