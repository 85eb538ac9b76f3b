"""All at once: requests are held, not refused, until Azure owns the writes."""

import pytest

from scenarios.conftest import must_keep_its_promise

pytestmark = pytest.mark.rehearsal


def test_requests_are_held_while_the_workload_moves_and_then_served_by_azure(rehearse):
    rehearsed = rehearse("window")
    must_keep_its_promise(rehearsed, "migrated")
    figures = rehearsed.figures
    assert figures["requests"]["failed"] == 0
    assert figures["requests"]["held"] > 0
    assert figures["writes"]["lost"] == 0
    assert figures["seconds"]["writes_stopped"] > 0
    assert [stage["name"] for stage in figures["stages"]] == [
        *("preflight", "replicate", "verify", "endpoints", "switch", "prove", "watch", "finish"),
    ]
