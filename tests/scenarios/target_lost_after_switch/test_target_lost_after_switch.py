"""Azure's database dies for good once it owns the writes: no automatic rollback; a person accepts the loss."""

from pathlib import Path

import pytest

from scenarios.conftest import must_keep_its_promise

pytestmark = pytest.mark.rehearsal


def test_the_run_pauses_and_a_forced_rollback_loses_exactly_what_it_named(rehearse):
    rehearsed = rehearse("target-lost-after-switch")
    must_keep_its_promise(rehearsed, "rolled-back")
    events, state = rehearsed.events, rehearsed.state
    named = Path(state.decision.figure("file")).read_text().split()
    assert len(named) == rehearsed.figures["writes"]["lost"] == state.decision.figure("writes")
    kinds = [event.kind for event in events]
    assert kinds.index("paused") < kinds.index("decided")
    assert state.decision.figure("forced") is True
    assert state.approvals["forced-rollback"] == "the rehearsal"
    asked = [event.figure("command") for event in state.commands]
    assert asked == ["rollback", "approve"]
