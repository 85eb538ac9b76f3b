"""Part after part of the users, the switch among them; nobody notices, nothing is lost."""

import pytest

from scenarios.conftest import must_keep_its_promise

pytestmark = pytest.mark.rehearsal


def test_the_workload_moves_and_nobody_notices(rehearse):
    rehearsed = rehearse("incremental")
    must_keep_its_promise(rehearsed, "migrated")
    figures = rehearsed.figures
    assert figures["requests"]["failed"] == 0
    assert figures["writes"]["lost"] == 0
    assert figures["seconds"]["writes_stopped"] > 0
    assert figures["seconds"]["detect"] is None
    assert figures["seconds"]["rollback"] is None
    assert [stage["name"] for stage in figures["stages"]][4:] == [
        *("shift /catalog", "shift beta", "shift SE", "shift 5%", "shift 25%", "shift 50%"),
        *("switch", "prove", "shift 100%", "watch", "finish"),
    ]
    assert rehearsed.state.approvals == {"finish": "the rehearsal"}
    shares = [event.figure("azure") for event in rehearsed.state.traffic]
    assert shares[0] == 0
    assert shares[-1] == 1
