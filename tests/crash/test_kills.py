"""tidegate killed for real, again and again, in whole rehearsals: what was begun is finished or taken back."""

import asyncio
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random

import psutil
import pytest

from crash.killing import BROKEN_BY_KILLS, Aim, Ended, Rehearsed, at_once, inside, later, until
from tidegate.edges.edge import Routes
from tidegate.engine.state import RunState
from tidegate.errors import Unreachable
from tidegate.lab.lab import Lab
from tidegate.lab.scenarios import SCENARIOS

pytestmark = pytest.mark.rehearsal

EVERYBODY = 10_000
EMPTY = {"role postgres true "}
LONGER_THAN_THE_HOLD = 9.0
A_WHILE = 3.0


def slow(test: Callable[..., None]) -> Callable[..., None]:
    """Killed that often, objects pile up, and a busy machine takes its time to bring them over."""
    return pytest.mark.slow(pytest.mark.timeout(1500)(test))


def must_be_whole(rehearsed: Rehearsed, ended: Ended) -> None:
    """What was acknowledged is there once, where the writes belong; and nothing else of the run is."""
    state, scenario = ended.state, SCENARIOS[rehearsed.scenario]
    rehearsed.store.verify(rehearsed.run)
    assert state.status == scenario.outcome, f"{state.status}: {state.reason}"
    broken = [each for each in ended.verdict.promises if not each.kept and each.promise not in BROKEN_BY_KILLS]
    assert broken == []
    assert ended.told == ended.answered > 0
    assert ended.held.waiting == 0
    assert ended.misled == []
    assert ended.left == []
    assert ended.down == (["postgres-azure"] if scenario.forced else [])
    if state.status == "migrated":
        assert ended.routes.basis_points == EVERYBODY
        return
    assert state.reason
    assert ended.routes == Routes()
    assert ended.after["aws"] == ended.before
    assert all(not step.touched for stage in state.stages for step in stage.steps)
    if not scenario.forced:
        assert ended.after["azure"] == EMPTY


def taken_back(rehearsed: Rehearsed) -> dict[str, bool]:
    """By an operator, to what was there before, with no write lost. Whether each promise was kept."""
    assert rehearsed.tidegate("rollback", rehearsed.run).returncode == 0
    rehearsed.go_on()
    ended = rehearsed.ended()
    assert ended.state.status == "rolled-back"
    assert (ended.routes, ended.misled, ended.left) == (Routes(), [], [])
    assert ended.after == {"aws": ended.before, "azure": EMPTY}
    kept = {each.promise: each.kept for each in ended.verdict.promises}
    assert kept["no acknowledged write is lost"]
    return kept


@slow
def test_killed_inside_both_switches_nothing_is_lost(rehearse):
    def draw(chance: Random) -> Iterable[Aim]:
        yield later(chance, 3)
        yield inside("forward", chance)
        yield at_once(chance)
        yield inside("back", chance)
        yield at_once(chance)

    rehearsed = rehearse("fault-after-switch")
    rehearsed.shoot(draw)
    must_be_whole(rehearsed, rehearsed.ended())
    assert len(rehearsed.kills) >= 4


def anywhere(chance: Random) -> Iterable[Aim]:
    """Gaps of all sizes: a bake that is always broken off never has its evidence."""
    for _ in range(5):
        yield later(chance, chance.choice((2, 12)))


def forward(chance: Random) -> Iterable[Aim]:
    yield later(chance)
    yield inside("forward", chance)
    yield at_once(chance)
    yield inside("forward", chance)
    for _ in range(3):
        yield later(chance)


def back(chance: Random) -> Iterable[Aim]:
    yield inside("forward", chance)
    yield at_once(chance)
    for _ in range(2):
        yield inside("back", chance)
        yield at_once(chance)
    yield later(chance, 1)


def after_a_rest(chance: Random) -> Iterable[Aim]:
    """Nobody is there when it dies: the hold has long expired when it goes on."""
    yield later(chance, 3)
    yield inside("forward", chance, LONGER_THAN_THE_HOLD)
    yield inside("forward", chance, LONGER_THAN_THE_HOLD)
    yield inside("back", chance, LONGER_THAN_THE_HOLD)
    yield later(chance, 2)


@slow
@pytest.mark.parametrize(
    ("scenario", "draw"),
    [
        ("incremental", forward),
        ("incremental", anywhere),
        ("window", forward),
        ("window", after_a_rest),
        ("restore-window", anywhere),
        ("restore-window", forward),
        ("fault-before-switch", anywhere),
        ("fault-after-switch", back),
        ("fault-after-switch", after_a_rest),
        ("target-lost-after-switch", forward),
        ("target-lost-after-switch", anywhere),
    ],
)
def test_killed_at_any_moment_it_is_finished_or_taken_back(rehearse, scenario, draw):
    rehearsed = rehearse(scenario)
    rehearsed.shoot(draw)
    must_be_whole(rehearsed, rehearsed.ended())
    assert len(rehearsed.kills) >= 3


@slow
def test_what_is_held_when_it_dies_is_let_go_and_counted(rehearse):
    rehearsed = rehearse("window")
    until(lambda: asyncio.run(rehearsed.edge())[0].waiting, "requests are held")
    rehearsed.kill("while requests are held")
    before, _ = asyncio.run(rehearsed.edge())
    until(lambda: asyncio.run(rehearsed.edge())[0].waiting == 0, "the hold expires")
    after, _ = asyncio.run(rehearsed.edge())
    assert after.expired >= before.expired + before.waiting
    rehearsed.go_on()
    must_be_whole(rehearsed, rehearsed.ended())


def test_taken_back_while_the_backup_is_restored_aws_serves_again(rehearse):
    rehearsed = rehearse("restore-window")
    rehearsed.wait_for(lambda state: state.step("restore-orders").began)
    rehearsed.kill("while the backup is restored")
    assert asyncio.run(rehearsed.edge())[1] == Routes(maintenance=True)
    kept = taken_back(rehearsed)
    assert kept["no request fails in another way"]


@slow
def test_taken_back_while_azure_is_gone_aws_serves_again(rehearse):
    rehearsed = rehearse("restore-window")
    reason = loses(rehearsed, "postgres-azure", lambda state: state.step("close-orders").status == "done")
    assert "orders on azure" in reason
    assert rehearsed.tidegate("rollback", rehearsed.run).returncode == 0
    rehearsed.go_on()
    state = rehearsed.wait_for(lambda state: state.ended)
    assert state.status == "rolled-back"
    assert asyncio.run(rehearsed.edge())[1] == Routes()


@slow
def test_taken_back_between_its_commit_and_its_end_it_leaves_nobody_on_azure(rehearse):
    rehearsed = rehearse("window")
    rehearsed.wait_for(lambda state: state.step("endpoints").status == "done")
    slow_to_answer = psutil.Process(rehearsed.lab.call("status")["servers"]["shop-azure"]["pid"])
    slow_to_answer.suspend()
    try:
        until(lambda: asyncio.run(rehearsed.edge())[1].basis_points == EVERYBODY, "the commit stands")
        rehearsed.kill("while an instance is waited for")
    finally:
        slow_to_answer.resume()
    kept = taken_back(rehearsed)
    assert kept["every receipt has its bytes"]


@dataclass(frozen=True)
class Interrupted:
    """A rehearsal that a second process wanted to drive, and that Ctrl-C has ended."""

    first: int
    second: subprocess.CompletedProcess[str]
    code: int
    said: str
    state: RunState
    running: list[int]
    lab: Lab


@pytest.fixture
def interrupted(rehearse) -> Interrupted:
    rehearsed = rehearse("incremental")
    first = rehearsed.process.pid
    servers = [server["pid"] for server in rehearsed.lab.call("status")["servers"].values()]
    second = rehearsed.tidegate("resume", "--plain", rehearsed.run)
    rehearsed.wait_for(lambda state: state.step("replicate-orders").began)
    rehearsed.process.send_signal(signal.SIGINT)
    code, said = rehearsed.says()
    running = [pid for pid in servers if psutil.pid_exists(pid)]
    return Interrupted(first, second, code, said, rehearsed.look(), running, rehearsed.lab)


def test_two_cannot_drive_one_run_and_ctrl_c_ends_all_that_was_started(interrupted):
    second = interrupted.second
    assert (second.returncode, second.stdout) == (1, "")
    assert f"process {interrupted.first} drives this run already" in second.stderr
    assert "Traceback" not in second.stderr
    assert interrupted.code == 130
    assert "interrupted" in interrupted.said.splitlines()[-1]
    assert "Traceback" not in interrupted.said
    assert (interrupted.state.status, interrupted.state.reason) == ("stopped", "interrupted")
    assert interrupted.running == []
    with pytest.raises(Unreachable):
        Lab.attach(interrupted.lab.folder)


def loses(rehearsed: Rehearsed, server: str, when: Callable[[RunState], object]) -> str:
    """Kill a server of the lab when that has happened; the reason for which the run then stops."""
    rehearsed.wait_for(when)
    rehearsed.lab.call("kill", server=server)
    code, said = rehearsed.says()
    state = rehearsed.look()
    assert (state.status, code) == ("stopped", 1), said
    assert "Traceback" not in said
    assert state.mend
    return state.reason


def comes_back(rehearsed: Rehearsed, server: str) -> None:
    rehearsed.lab.call("restart", server=server)
    rehearsed.go_on()
    must_be_whole(rehearsed, rehearsed.ended())


def test_a_database_that_dies_while_it_is_filled(rehearse):
    rehearsed = rehearse("window")
    reason = loses(rehearsed, "postgres-azure", lambda state: state.step("replicate-orders").began)
    assert "orders on azure" in reason
    comes_back(rehearsed, "postgres-azure")


@slow
def test_a_database_that_dies_while_it_is_left(rehearse):
    rehearsed = rehearse("window")
    reason = loses(rehearsed, "postgres-aws", lambda state: state.step("switch").kept.get("forward"))
    assert "orders on aws" in reason
    comes_back(rehearsed, "postgres-aws")


@slow
def test_an_edge_that_dies_while_users_are_shifted(rehearse):
    rehearsed = rehearse("incremental")
    reason = loses(rehearsed, "envoy", lambda state: state.step("shift-5%").began)
    assert "edge doesn't answer" in reason
    comes_back(rehearsed, "envoy")


@slow
def test_a_hold_that_dies_before_it_is_needed(rehearse):
    rehearsed = rehearse("window")
    reason = loses(rehearsed, "hold", lambda state: state.step("endpoints").began)
    assert "edge doesn't answer" in reason
    comes_back(rehearsed, "hold")


@slow
@pytest.mark.parametrize(("server", "stage"), [("moto", "replicate"), ("azurite", "verify")])
def test_objects_that_are_gone_stop_the_run_with_their_name(rehearse, server, stage):
    rehearsed = rehearse("window", "--receipts", "1000")
    reason = loses(rehearsed, server, lambda state: state.step(f"{stage}-receipts").began)
    assert "receipts on " in reason


@slow
def test_a_network_that_is_cut_is_told_and_before_the_switch_waited_for(rehearse):
    rehearsed = rehearse("window")
    rehearsed.lab.call("cut", link="replication-aws")
    code, said = rehearsed.says()
    state = rehearsed.look()
    assert (state.status, code) == ("stopped", 1), said
    assert "could not connect to the publisher" in state.reason
    [finding] = state.step("replicate-orders").findings
    assert finding.verdict == "inconclusive"
    rehearsed.lab.call("heal", link="replication-aws")
    rehearsed.go_on()
    rehearsed.wait_for(lambda state: state.step("verify-orders").status == "done")
    rehearsed.lab.call("cut", link="replication-aws")
    rehearsed.wait_for(lambda state: state.step("switch").kept.get("forward"))
    time.sleep(A_WHILE)
    assert rehearsed.look().step("switch").kept["forward"] == "begun"
    rehearsed.lab.call("heal", link="replication-aws")
    must_be_whole(rehearsed, rehearsed.ended())
