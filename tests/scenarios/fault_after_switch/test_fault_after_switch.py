"""Azure fails once it owns the writes: traffic goes home, then the data by the mirrored switch."""

import pytest

from scenarios.conftest import must_keep_its_promise

pytestmark = pytest.mark.rehearsal


def test_what_azure_acknowledged_comes_home(rehearse):
    rehearsed = rehearse("fault-after-switch")
    must_keep_its_promise(rehearsed, "rolled-back")
    figures = rehearsed.figures
    assert figures["writes"]["lost"] == 0
    assert figures["seconds"]["writes_stopped"] > 0
    assert figures["seconds"]["detect"] > 0
    kept = rehearsed.state.step("switch").kept
    assert (kept["forward"], kept["back"]) == ("done", "done")
    assert kept["back-epoch"] == kept["forward-epoch"] + 1
