"""The runbook that is rehearsed, executed on servers that nobody but their owner started."""

from collections import Counter

import pytest

from scenarios.foreign_servers.conftest import has_begun, waits_for

pytestmark = pytest.mark.rehearsal


def nothing_is_lost_or_doubled(estate, users, owner):
    """Rows and objects of everything that was acknowledged, where the writes now belong."""
    users.leave()
    assert users.failed == []
    assert len(users.acknowledged) > 50
    rows, objects = Counter(estate.notes(owner)), estate.attachments(owner)
    assert {note: rows[note] for note in users.acknowledged} == dict.fromkeys(users.acknowledged, 1)
    assert {note: objects.get(note) for note in users.acknowledged} == users.acknowledged
    [[noted, counted]] = estate.query(
        owner, "select (select count(*) from notebook.notes), (select sum(notes) from notebook.authors)"
    )
    assert noted == counted


def test_a_workload_is_moved_by_what_an_operator_types(estate, operator, users):
    before = estate.state()
    plan = operator.tidegate("plan", estate.migration, "-o", estate.folder / "plan.json")
    assert plan.returncode == 0, plan.stderr
    reversible, _, lasting = plan.stdout.partition("point of no return")
    assert "ask Head of support: Tell support that the switch is about to begin." in reversible
    assert f"run touch: touch {estate.folder}/caches are warm" in " ".join(reversible.split())
    assert "drop what was copied" in reversible
    assert "nothing undoes this" in lasting
    assert estate.state() == before, "a plan has changed something"

    operator.begin(estate.folder / "plan.json")
    seen = operator.until(has_begun("shift 50%"))
    assert (seen["environment"], seen["driver"]) == ("rehearsal", operator.run.pid)
    assert (estate.folder / "caches are warm").exists()
    operator.says("pause")
    operator.until(lambda status: status["status"] == "paused")
    operator.says("resume")
    operator.until(waits_for("tell-support"))
    operator.says("approve", "--gate", "tell-support", "--by", "the head of support")
    seen = operator.until(waits_for("finish"))
    assert seen["approvals"] == {"tell-support": "the head of support"}
    operator.says("approve", "--gate", "finish")
    assert operator.run.wait(60) == 0, operator.said()

    users.go_on()
    nothing_is_lost_or_doubled(estate, users, "azure")
    assert users.last == ("azure", "azure")
    assert {("aws", "aws"), ("azure", "aws"), ("azure", "azure")} <= users.served.keys()
    assert [estate.told(cloud)["stores"]["attachments"]["kind"] for cloud in ("aws", "azure")] == ["blob", "blob"]
    left = [row for state in estate.state().values() for row in state if "tidegate" in row[1]]
    assert left == []
    replicating = [row for state in estate.state().values() for row in state if row[0] in ("subscription", "slot")]
    assert replicating == []
    can_login = f"select rolcanlogin from pg_roles where rolname = '{estate.login}'"
    assert estate.query("aws", can_login) == [["f"]]
    assert estate.query("azure", can_login) == [["t"]]

    report = estate.folder / "report.html"
    operator.says("report", seen["run"], "-o", str(report))
    assert seen["run"] in report.read_text()
    written = [report, estate.folder / "plan.json", operator.run.log, *(estate.folder / "runs").glob("journal.db*")]
    for secret in (estate.password, estate.admin_password):
        assert [file.name for file in written if secret.encode() in file.read_bytes()] == []


def test_told_to_roll_back_after_the_switch_both_sides_are_as_before(estate, operator, users):
    before = estate.state()
    operator.begin(estate.migration)
    operator.until(waits_for("tell-support"))
    operator.says("approve", "--gate", "tell-support")
    operator.until(has_begun("shift 100%"))
    users.go_on()
    operator.says("rollback", "--by", "the lead")
    assert operator.run.wait(120) == 6, operator.said()

    seen = operator.status()
    assert (seen["status"], seen["exit_code"]) == ("rolled-back", 6)
    assert "the lead" in seen["decision"]["reason"]
    users.go_on()
    nothing_is_lost_or_doubled(estate, users, "aws")
    assert users.last == ("aws", "aws")
    assert estate.state() == before
    assert estate.attachments("azure") is None
    assert not (estate.folder / "caches are warm").exists()
    assert [estate.told(cloud)["primary"] for cloud in ("aws", "azure")] == ["aws", "aws"]
