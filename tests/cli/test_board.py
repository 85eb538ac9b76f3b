"""The picture of a run, at any width and height, and its lines where there is no terminal."""

import io
import json
import time

import pytest
from rich.console import Console

from cli.runs import finished_run, plan_of
from crash.memory import World
from tidegate.cli.board import Board
from tidegate.cli.lines import Lines
from tidegate.cli.watching import Watch
from tidegate.cli.wording import duration, size
from tidegate.engine.journal import Event, Store
from tidegate.runbook.compile import compile_runbook
from tidegate.runbook.plan import make_plan
from tidegate.runbook.step import Action

FIGURES = {"requests": 201.4, "errors": 0.0, "aws": 0.75, "azure": 0.25, "lag": {"orders": 1234, "receipts": 3}}


def watch(folder, *events: tuple[str, object], long: bool = False, **run) -> Watch:
    """A run that waits, or what `run` makes of it; then these events. `long`: the whole runbook of the sample."""
    name = finished_run(folder, **run)
    store = Store(folder)
    if long:
        name = "long"
        migration = plan_of().migration
        runbook = compile_runbook(migration)
        action = Action(verb="create", target="it", detail="put it there", undo="take it away")
        steps = [step.name for stage in runbook.stages for step in stage.steps]
        plan = make_plan(migration, runbook, {step: [action] for step in steps}, 0)
        store.append(name, "created", {"plan": plan.model_dump(mode="json")})
    for kind, data in events:
        store.append(name, kind, data)
    return Watch(store, name)


def drawn(seen: Watch, width: int = 80, height: int = 40, encoding: str = "utf-8", **options) -> list[str]:
    """The rows on a terminal of this size."""
    console = Console(
        width=width, height=height, file=io.TextIOWrapper(io.BytesIO(), encoding=encoding), force_terminal=True,
        color_system=None, legacy_windows=False,
    )  # fmt: skip
    with console.capture() as capture:
        console.print(Board(seen, **options))
    return capture.get().splitlines()


def test_it_shows_stages_figures_and_what_to_type(folder):
    rows = drawn(watch(folder, ("traffic", FIGURES), plan=plan_of()))
    text = "\n".join(rows)
    assert rows[0].endswith("waits for approval  0.0 s") or "waits for approval" in rows[0]
    assert [row[:8] for row in rows[2:5]] == [" ✓ copy ", " ✓ shift", " · finis"]
    assert " traffic   AWS  75% " in text
    assert "░█" in text
    assert " 25% Azure" in text
    assert " requests  201/s    errors 0.0/s" in text
    assert " lag       orders 1.21 KiB    receipts 3 objects" in text
    assert " waits     finish: the mirror ends" in text
    assert f"--store {folder} approve shop-" in text.replace("\n", "")


@pytest.mark.parametrize("width", [60, 80, 100, 140, 20, 3])
@pytest.mark.parametrize("long", [True, False])
def test_no_row_is_wider_than_the_terminal(folder, width, long):
    seen = watch(folder, ("traffic", FIGURES), ("paused", {"reason": "harm " * 60, "writes": 3}), long=long)
    assert all(len(row) <= width for row in drawn(seen, width=width))


@pytest.mark.parametrize("height", [14, 24, 30])
def test_it_is_never_taller_than_the_terminal(folder, height):
    seen = watch(folder, ("begun", {"pid": 1}), ("traffic", FIGURES), long=True)
    rows = drawn(seen, height=height)
    assert len(rows) <= height
    assert any("preflight" in row for row in rows)
    if height < 24:
        assert any("after: " in row for row in rows)


def test_a_terminal_of_few_characters_gets_others(folder):
    rows = drawn(watch(folder, ("traffic", FIGURES)), encoding="ascii")
    assert all(row.isascii() for row in rows)


def test_the_command_to_type_is_whole_at_any_width(folder):
    seen = watch(folder, plan=plan_of())
    for width in (60, 80, 140):
        assert f"approve {seen.run}" in " ".join(row.strip() for row in drawn(seen, width=width))


def test_figures_that_are_old_are_not_shown_as_if_they_were_now(folder):
    seen = watch(folder, ("begun", {"pid": 1}), plan=plan_of())
    seen.state.traffic.append(Event(99, seen.run, time.time() - 60, "traffic", "", "", FIGURES, ""))
    assert any("no figures since" in row for row in drawn(seen))


def test_a_store_that_is_silent_has_no_lag_and_hides_nothing(folder):
    figures = FIGURES | {"lag": {"orders": None, "receipts": 3}}
    seen = watch(folder, ("traffic", figures), plan=plan_of())
    text = "\n".join(drawn(seen))
    assert " requests  201/s" in text
    assert " lag       orders unknown    receipts 3 objects" in text
    said = Lines().line(seen.state.traffic[-1], seen.state)
    assert said.endswith("lag: orders unknown, receipts 3 objects")


def test_harm_and_the_decision_are_told_in_plain_words(folder):
    text = "\n".join(drawn(watch(folder, harm_in="shift", plan=plan_of())))
    assert "rolled back" in text
    assert " because   azure fails" in text


def test_a_run_that_nobody_drives_says_so(folder):
    text = "\n".join(drawn(watch(folder, ("begun", {"pid": 1}), plan=plan_of()), driven=False))
    assert "no process drives this run now" in text
    assert "resume" in text


def test_its_lines_say_each_thing_once(folder):
    seen = watch(folder, ("traffic", FIGURES), ("traffic", FIGURES), plan=plan_of())
    lines = Lines()
    events = seen.store.events(seen.run)
    said = [line[10:] for event in [*events, *events[-1:]] if (line := lines.line(event, seen.state))]
    assert said[0].startswith("process ")
    assert said.count("201 requests/s, 0.0 errors/s; AWS 75%, Azure 25%; lag: orders 1.21 KiB, receipts 3 objects") == 1
    assert "copy begins" in said
    assert "waits for approval of finish: the mirror ends" in said


def test_status_is_the_same_picture_and_the_same_as_data(cli, folder):
    finished_run(folder, plan_of(), World(down="objects"))
    done = cli("status")
    assert done.exit_code == 0
    assert "✗ copy" in done.stdout
    assert "nobody answers" in done.stdout
    document = json.loads(cli("status", "--json").stdout)
    assert (document["status"], document["exit_code"], document["driver"]) == ("stopped", 1, None)
    assert document["stages"][0]["steps"][1]["error"].startswith("objects: nobody answers")


def test_watching_a_run_that_nobody_drives_shows_it_once(cli, folder):
    run = finished_run(folder, plan_of())
    done = cli("status", "--watch")
    assert (done.exit_code, done.stdout) == (0, cli("status").stdout)
    assert "waits for approval" in done.stdout
    assert json.loads(cli("status", "--watch", "--json").stdout)["run"] == run


def test_all_runs_are_listed_the_newest_first(cli, folder):
    first = finished_run(folder, plan_of(approval=False, irreversible=False), irreversible=False)
    second = finished_run(folder, plan_of())
    rows = cli("status", "--all").stdout.splitlines()
    assert [row.split()[0] for row in rows] == [second, first]
    assert [each["status"] for each in json.loads(cli("status", "--all", "--json").stdout)] == ["waiting", "migrated"]


def test_a_report_is_written_whole(cli, folder, tmp_path):
    run = finished_run(folder, plan_of())
    file = tmp_path / "report.html"
    done = cli("report", run, "-o", file)
    assert done.exit_code == 0
    assert run in file.read_text()
    done = cli("report", run, "-o", tmp_path / "nowhere" / "report.html")
    assert done.exit_code == 1
    assert "report.html: it can't be written: No such file or directory" in done.stderr


def test_a_report_of_a_journal_that_was_changed_is_refused(cli, folder, tmp_path):
    run = finished_run(folder, plan_of())
    store = Store(folder)
    store.db.execute("update event set data = '{\"pid\":2}' where kind = 'begun'")
    done = cli("report", run, "-o", tmp_path / "report.html")
    assert done.exit_code == 1
    assert "is not what was written" in done.stderr
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (4.25, "4.2 s"), (9.99, "10 s"), (59.6, "1:00 min"), (192, "3:12 min"), (3753, "1:02:33 h")],
)
def test_durations_are_as_exact_as_they_need_to_be(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "0.977 KiB"), (2**20, "1 MiB"), (5 * 2**30, "5 GiB")]
)
def test_sizes(count, text):
    assert size(count) == text
