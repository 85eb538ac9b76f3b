import json

import pytest

from tidegate.cli.findings import show
from tidegate.errors import CheckFailed
from tidegate.runbook.step import Finding

FINE = Finding(check="names", verdict="pass", message="Blob can hold every name")
TIME = Finding(check="time", verdict="pass", message="about 2 h")
LOOK = Finding(check="lock", verdict="inconclusive", message="there is a lock", where="bucket b", mend="a policy")
WRONG = Finding(check="empty", verdict="fail", message="it isn't empty", mend="give an empty one")


def test_what_does_not_pass_is_shown_with_its_mend_and_figures_too(capsys):
    show([FINE, TIME, LOOK], as_json=False, figures={"time", "lock"})
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "pass  time: about 2 h",
        "inconclusive  lock: there is a lock",
        "  mend: a policy",
        "2 of 3 checks pass",
    ]


@pytest.mark.parametrize("as_json", [True, False])
def test_a_check_that_fails_ends_the_command(capsys, as_json):
    with pytest.raises(CheckFailed, match="the move would fail: empty"):
        show([FINE, WRONG], as_json=as_json)
    out = capsys.readouterr().out
    if as_json:
        assert [finding["check"] for finding in json.loads(out)] == ["names", "empty"]
    else:
        assert "mend: give an empty one" in out
