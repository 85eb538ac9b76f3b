"""The real engine, killed at any effect and any journal write, over steps in memory.

Afterwards the workload is fully migrated, exactly restored, or waits for a human with the reason.
"""

import asyncio
import tempfile
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from crash.memory import QUICK, Before, Crash, FusedStore, Sound, World, maker
from tidegate.engine.health import Losses
from tidegate.engine.journal import Store
from tidegate.engine.lease import lease
from tidegate.engine.run import Surroundings, drive, start
from tidegate.engine.state import RunState, fold
from tidegate.errors import LeaseHeld
from tidegate.runbook.plan import Plan, make_plan
from tidegate.runbook.runbook import Runbook, Stage, StepSpec
from tidegate.runbook.step import Action

BEFORE = {"there from the start"}


def spec(uses: str, name: str, **fields) -> StepSpec:
    return StepSpec(uses=uses, name=name, fields=fields)


RUNBOOK = Runbook(
    stages=(
        Stage(
            name="copy",
            phase="before",
            steps=(spec("put", "rows"), spec("put", "objects"), spec("put", "there from the start")),
        ),
        Stage(
            name="shift",
            phase="during",
            guarded=True,
            on_failure="roll back",
            steps=(spec("traffic", "half", to="both"),),
        ),
        Stage(name="switch", phase="during", on_failure="roll back", steps=(spec("turn", "turn"),)),
        Stage(
            name="all",
            phase="during",
            guarded=True,
            on_failure="roll back",
            steps=(spec("traffic", "everybody", to="azure"),),
        ),
        Stage(name="finish", phase="after", approval="the mirror ends", steps=(spec("put", "finished"),)),
    ),
    retreat=(spec("traffic", "home", to="aws"),),
)
FATES = ("", "broken rows", "broken half", "broken turn", "broken everybody", "harm shift", "harm all", "down objects")


@pytest.fixture(scope="session")
def plan(migration) -> Plan:
    actions = {
        step.name: [Action(verb="create", target=step.name, detail="put it there", undo="take it away")]
        for stage in RUNBOOK.stages
        for step in stage.steps
    }
    return make_plan(migration, RUNBOOK, actions, 0)


def one_life(folder: Path, plan: Plan, world: World, harm_in: str = "", losses: Losses | None = None) -> RunState:
    """One process drives the folder's run until it ends, stops or waits. Raises Crash if the process dies."""
    store = FusedStore(folder)
    store.world = world
    surroundings = Surroundings(maker(world), lambda driver: Sound(driver, harm_in, losses), lambda _: [])
    try:
        runs = store.runs()
        return asyncio.run(drive(store, runs[0] if runs else start(store, plan), surroundings, wait=False))
    finally:
        store.close()


def several_lives(folder: Path, plan: Plan, world: World, harm_in: str, fuses: list[int]) -> RunState:
    state = None
    for fuse in [*fuses, 10**9, 10**9]:
        world.fuse = fuse
        try:
            state = one_life(folder, plan, world, harm_in)
        except Crash:
            continue
        if state.status == "waiting":
            Store(folder).append(state.run, "command", {"command": "approve", "gate": "finish", "by": "her"})
    assert state is not None
    return state


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    fuses=st.lists(st.integers(1, 120), min_size=1, max_size=4),
    fate=st.sampled_from(FATES),
)
@example(fuses=[60], fate="harm all")
def test_killed_anywhere_and_resumed_the_run_ends_whole(plan, fuses, fate):
    kind, _, name = fate.partition(" ")
    world = World(present=set(BEFORE), broken=name if kind == "broken" else "", down=name if kind == "down" else "")
    harm_in = name if kind == "harm" else ""
    with tempfile.TemporaryDirectory(dir=QUICK) as folder:
        state = several_lives(Path(folder), plan, world, harm_in, fuses)
        Store(Path(folder)).verify(state.run)
        if kind == "down" or fate == "broken rows":
            assert state.status == "stopped"
            assert name in state.reason
        elif kind:
            assert state.status == "rolled-back"
            assert (world.present, world.primary, world.traffic) == (BEFORE, "aws", "aws")
        else:
            assert state.status == "migrated"
            assert (world.primary, world.traffic) == ("azure", "azure")
            assert world.present == BEFORE | {"rows", "objects", "finished"}


COMMANDS = (
    {"command": "pause"},
    {"command": "resume"},
    {"command": "abort"},
    {"command": "rollback"},
    {"command": "rollback", "force": True},
    {"command": "approve", "gate": "call"},
    {"command": "approve", "gate": "finish"},
)
GONE = Losses("3 writes are at risk", 3, "at-risk.txt")
STEERED = Runbook(
    stages=(
        *RUNBOOK.stages[:1],
        Stage(name="call", phase="before", steps=(spec("ask", "call"),)),
        *RUNBOOK.stages[1:4],
        Stage(name="finish", phase="after", approval="the mirror ends", steps=(spec("lasting", "finished"),)),
    ),
    retreat=RUNBOOK.retreat,
)


@pytest.fixture(scope="session")
def steered_plan(migration) -> Plan:
    steps = {step.name: maker(World())(step) for stage in STEERED.stages for step in stage.steps}
    actions = {name: step.plan(Before(there=False)) for name, step in steps.items()}
    return make_plan(migration, STEERED, actions, 0)


def tell(folder: Path, command: dict[str, object]) -> None:
    store = Store(folder)
    for run in store.runs():
        store.append(run, "command", {"by": "her", **command})
    store.close()


def approve_all(folder: Path, state: RunState) -> None:
    for gate in state.waits if state.status == "waiting" else ():
        tell(folder, {"command": "approve", "gate": gate})


@settings(max_examples=90, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    fuses=st.lists(st.integers(1, 120), max_size=3),
    words=st.dictionaries(st.integers(3, 160), st.sampled_from(COMMANDS), max_size=5),
    fate=st.sampled_from(FATES),
    losses=st.sampled_from([None, None, GONE]),
)
def test_killed_and_steered_anywhere_the_run_ends_whole_or_says_why_not(steered_plan, fuses, words, fate, losses):
    kind, _, name = fate.partition(" ")
    world = World(present=set(BEFORE), broken=name if kind == "broken" else "", down=name if kind == "down" else "")
    with tempfile.TemporaryDirectory(dir=QUICK) as text, pytest.MonkeyPatch.context() as patch:
        folder = Path(text)
        patch.setattr("tidegate.engine.work.POLL", 0.005)
        world.script = {at: partial(tell, folder, word) for at, word in words.items()}
        state = None
        for fuse in [*fuses, *[10**9] * (len(words) + 6)]:
            world.fuse = fuse
            try:
                state = one_life(folder, steered_plan, world, name if kind == "harm" else "", losses)
            except Crash:
                continue
            must_be_whole(state, world)
            approve_all(folder, state)
            if state.ended is not None:
                break
        Store(folder).verify(state.run)
        if not kind and losses is None:
            assert state.ended is not None


def must_be_whole(state: RunState, world: World) -> None:
    here = (world.present, world.primary, world.traffic)
    match state.status:
        case "migrated":
            assert here == (BEFORE | {"rows", "objects", "call", "finished"}, "azure", "azure")
        case "rolled-back":
            assert here == (BEFORE, "aws", "aws")
        case "waiting":
            assert state.waiting.reason
        case _:
            assert state.status in ("paused", "stopped")
            assert state.reason
    if "finished" in world.present:  # past the point of no return nothing was sent home
        assert (world.primary, world.traffic) == ("azure", "azure")


def test_a_server_that_comes_back_lets_the_run_go_on(plan, tmp_path):
    world = World(present=set(BEFORE), down="objects")
    state = one_life(tmp_path, plan, world)
    assert state.status == "stopped"
    assert "tidegate resume" in state.mend
    world.down = ""
    state = one_life(tmp_path, plan, world)
    assert state.waiting is not None
    assert state.waiting.gate == "finish"


def test_a_second_process_is_refused_with_the_firsts_id(plan, tmp_path):
    import os

    store = Store(tmp_path)
    run = start(store, plan)
    surroundings = Surroundings(maker(World()), Sound, lambda _: [])
    with lease(store, run), pytest.raises(LeaseHeld, match=str(os.getpid())):
        asyncio.run(drive(Store(tmp_path), run, surroundings))


def test_a_holder_that_lost_its_lease_can_not_append(plan, tmp_path):
    store = Store(tmp_path)
    run = start(store, plan)
    with lease(store, run) as epoch:
        store.take_over(run)
        with pytest.raises(LeaseHeld):
            store.append(run, "begun", epoch=epoch)


def test_a_changed_event_breaks_the_chain(plan, tmp_path):
    store = Store(tmp_path)
    run = start(store, plan)
    store.append(run, "begun", {"pid": 1})
    store.append(run, "noted", {})
    store.verify(run)
    store.db.execute("update event set data = '{\"pid\":2}' where kind = 'begun'")
    with pytest.raises(Exception, match="event 2 is not what was written"):
        store.verify(run)


def test_the_fold_does_not_depend_on_how_it_is_cut(plan, tmp_path):
    world = World(present=set(BEFORE))
    events = Store(tmp_path).events(one_life(tmp_path, plan, world, "all").run)
    whole = fold(events)
    for cut in range(1, len(events)):
        assert fold(events[cut:], fold(events[:cut])) == whole
