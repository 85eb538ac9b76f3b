"""By backup: the database is closed, backed up, restored and compared while the edge tells of the maintenance."""

import pytest

from scenarios.conftest import must_keep_its_promise

pytestmark = pytest.mark.rehearsal

STAGES = ["preflight", "replicate", "verify", "endpoints"]
STAGES += ["maintenance", "close", "backup", "transfer", "restore", "verify restored"]
STAGES += ["switch", "prove", "watch", "finish"]


def test_users_are_told_of_the_maintenance_and_then_served_by_azure(rehearse):
    rehearsed = rehearse("restore-window")
    must_keep_its_promise(rehearsed, "migrated")
    figures = rehearsed.figures
    assert [stage["name"] for stage in figures["stages"]] == STAGES
    assert (figures["requests"]["failed"], figures["writes"]["lost"]) == (0, 0)
    assert figures["requests"]["away"] > 50
    away = next(stage["seconds"] for stage in figures["stages"] if stage["name"] == "backup")
    assert figures["seconds"]["writes_stopped"] > away
    assert "a mirror carries them back" in " ".join(rehearsed.progress.split())
