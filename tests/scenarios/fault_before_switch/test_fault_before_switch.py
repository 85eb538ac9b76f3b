"""Azure fails while AWS owns the writes: traffic goes back by itself, and Azure is left as it was."""

import pytest

from scenarios.conftest import must_keep_its_promise

pytestmark = pytest.mark.rehearsal


def test_the_guard_notices_and_traffic_goes_home(rehearse):
    rehearsed = rehearse("fault-before-switch")
    must_keep_its_promise(rehearsed, "rolled-back")
    figures, state = rehearsed.figures, rehearsed.state
    assert figures["writes"]["lost"] == 0
    assert figures["seconds"]["writes_stopped"] is None
    assert figures["seconds"]["detect"] > 0
    assert state.decision.figure("reason") == state.reason
    assert "Azure failed" in state.reason
    assert all(not step.touched for stage in state.stages for step in stage.steps)
    kinds = [event.kind for event in rehearsed.events]
    assert kinds.index("decided") < kinds.index("step-undoing")
    assert next(event.step for event in rehearsed.events if event.stage == "retreat") == "traffic-home"
