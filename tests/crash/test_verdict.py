"""A rehearsal whose process is killed when its run has ended, and its verdict isn't written yet."""

import json
import signal

import pytest

pytestmark = [pytest.mark.rehearsal, pytest.mark.slow]


def test_it_is_judged_later_and_its_figures_go_where_they_were_wanted(rehearse, tmp_path):
    rehearsed = rehearse("window", "--json", "figures.json")
    rehearsed.wait_for(lambda state: state.ended)
    rehearsed.process.send_signal(signal.SIGKILL)
    rehearsed.process.wait()
    verdict = rehearsed.store.folder / "runs" / rehearsed.run / "verdict.json"
    assert not verdict.exists()
    judged = rehearsed.tidegate("resume", "--json", "--plain", rehearsed.run)
    document = json.loads(judged.stdout)
    assert (judged.returncode, document["status"]) == (0, "migrated"), judged.stderr
    assert document["rehearsal"]["writes"]["lost"] == 0
    assert json.loads((tmp_path / "figures.json").read_text()) == document["rehearsal"]
    assert json.loads(verdict.read_text()) == document["rehearsal"]
    again = rehearsed.tidegate("resume", rehearsed.run)
    assert again.returncode == 2
    assert "this run has ended" in again.stderr
