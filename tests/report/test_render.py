"""The report of real journals, made by the engine in memory, and of told ones."""

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crash.memory import World
from crash.test_engine import BEFORE, RUNBOOK, one_life
from report.telling import Teller, incremental, rehearsed, rolled_back
from sample import sample_migration
from tidegate.engine.journal import Event, Store
from tidegate.engine.state import fold
from tidegate.report import render
from tidegate.runbook.plan import Plan, make_plan
from tidegate.runbook.step import Action, Finding

VOID = {"meta", "br", "hr"}
HOSTILE = "</td><script>alert('x')</script><img src=x onerror=alert(1)>&\"' \x00 \ud800"


class Page(HTMLParser):
    """What a browser would see: `text`, `tags` with their attributes, and whether every one is closed in turn."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open, self.tags, self.words = list[str](), list[tuple[str, dict[str, str | None]]](), list[str]()
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page(events: list[Event], rehearsal=None) -> Page:
    return Page(render(fold(events), events, rehearsal))


def engine_events(folder: Path, fate: str = "", approve: bool = True) -> list[Event]:
    """Journals of the real engine: to its end, or stopped, or rolled back."""
    kind, _, name = fate.partition(" ")
    world = World(present=set(BEFORE), broken=name if kind == "broken" else "", down=name if kind == "down" else "")
    actions = {
        step.name: [Action(verb="create", target=step.name, detail="put it there", undo="take it away")]
        for stage in RUNBOOK.stages
        for step in stage.steps
    }
    plan = make_plan(sample_migration(), RUNBOOK, actions, 0)
    state = one_life(folder, plan, world, name if kind == "harm" else "")
    if state.status == "waiting" and approve:
        Store(folder).append(state.run, "command", {"command": "approve", "gate": "finish", "by": "her"})
        state = one_life(folder, plan, world)
    return Store(folder).events(state.run)


@pytest.mark.parametrize(
    ("fate", "sentence"),
    [
        ("", "shop runs on Azure"),
        ("harm all", "shop is back on AWS"),
        ("broken turn", "shop is back on AWS"),
        ("down objects", "shop has stopped at copy"),
    ],
)
def test_a_run_of_the_engine_is_told_however_it_ended(tmp_path, fate, sentence):
    events = engine_events(tmp_path, fate)
    told = page(events)
    assert sentence in told.text
    assert events[-1].digest in told.text


def test_a_run_that_waits_says_for_what_and_what_stands(tmp_path):
    told = page(engine_events(tmp_path, approve=False))
    assert "shop waits for an approval of finish" in told.text
    assert "The mirror ends." in told.text
    assert "These steps have had effects, which still stand: rows, objects" in told.text


def test_who_approved_and_when_stands_in_the_plan(plan):
    told = page(incremental(plan))
    assert "approved by maria at 16:0" in told.text
    assert "Point of no return" in told.text
    assert "The point of no return (finish) has been passed" in told.text


def test_a_lab_is_named_as_one(plan):
    assert "say nothing about production" in page(incremental(plan)).text


def test_kept_promises_are_the_verdict(plan):
    told = page(incremental(plan), rehearsed())
    assert "all 4 promises kept" in told.text
    assert "402 ms writes stopped" in told.text
    assert "4,821 acknowledged writes 0 lost, 0 duplicated" in told.text


def test_a_broken_promise_is_counted_and_lost_writes_are_at_risk(plan):
    promises = [{"promise": "nothing is lost", "kept": False, "observed": 3}, {"promise": "it ends", "kept": True}]
    told = page(incremental(plan), rehearsed(promises=promises, writes={"acknowledged": 9, "lost": 3, "duplicated": 0}))
    assert "1 of 2 promises broken" in told.text
    assert "3 acknowledged writes were not found" in told.text


def test_without_a_rehearsal_the_alarm_leads_the_findings(plan):
    told = page(rolled_back(plan))
    assert "Stage Found ✕ shift 100% azure fails 19.4%" in told.text


def test_a_rollback_shows_both_switches(plan):
    told = page(rolled_back(plan))
    assert "The switch to Azure" in told.text
    assert "The switch to AWS" in told.text


def test_a_forced_rollback_names_the_writes_and_where_they_are_listed(plan):
    teller = Teller(plan)
    teller.forward(until="watch")
    lost = {"decision": "rollback", "forced": True, "reason": "forced", "writes": 17, "file": "at-risk.txt"}
    teller.tell("decided", lost)
    teller.finish("rolled-back", "forced")
    told = page(teller.events)
    assert "17 acknowledged writes are lost, listed in at-risk.txt" in told.text
    assert "its undoing is not on record" in told.text


def test_a_finding_shows_its_mend(plan):
    teller = Teller(plan)
    teller.tell("stage-began", stage="replicate")
    teller.tell("step-began", stage="replicate", step="replicate-orders")
    found = Finding(check="orders.keys", verdict="fail", message="no key", mend="add a primary key").model_dump()
    teller.tell("step-failed", {"error": "no key", "findings": [found]}, stage="replicate", step="replicate-orders")
    assert "mend: add a primary key" in page(teller.events).text


@pytest.mark.parametrize("rehearsed_too", [False, True])
def test_hostile_text_stays_text(plan, rehearsed_too):
    teller = Teller(plan)
    teller.tell("stage-began", stage="replicate")
    teller.tell("step-began", stage="replicate", step="replicate-orders")
    teller.tell("step-note", {"text": HOSTILE, "figures": {}}, stage="replicate", step="replicate-orders")
    found = Finding(check=HOSTILE, verdict="fail", message=HOSTILE, where=HOSTILE, mend=HOSTILE).model_dump()
    teller.tell("step-failed", {"error": HOSTILE, "findings": [found]}, stage="replicate", step="replicate-orders")
    teller.tell("fault", {"text": HOSTILE})
    teller.tell("traffic", {"requests": 1, "errors": 0, "aws": 1, "azure": 0, "lag": {HOSTILE: 5}})
    teller.tell("command", {"command": HOSTILE, "gate": HOSTILE, "by": HOSTILE, "reason": HOSTILE})
    teller.tell("breach", {"verdict": HOSTILE, "reason": HOSTILE, "segment": HOSTILE, "stage": HOSTILE})
    teller.tell(HOSTILE, {HOSTILE: HOSTILE})
    teller.tell("stopped", {"reason": HOSTILE, "mend": HOSTILE})
    promises = [{"promise": HOSTILE, "kept": False, "observed": HOSTILE}]
    html = render(fold(teller.events), teller.events, rehearsed(promises=promises) if rehearsed_too else None)
    html.encode()
    told = Page(html)
    assert not {"script", "img"} & {tag for tag, _ in told.tags}
    assert not any(name.startswith("on") for _, attributes in told.tags for name in attributes)
    assert "\x00" not in html


@pytest.mark.parametrize("rehearsal", [None, rehearsed()])
def test_the_page_asks_nobody_for_anything(plan, rehearsal):
    html = render(fold(events := rolled_back(plan)), events, rehearsal)
    told = Page(html)
    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & {tag for tag, _ in told.tags}
    assert not {"src", "href", "srcset", "action", "style"} & {name for _, each in told.tags for name in each}
    assert "url(" not in html
    assert "@import" not in html


@pytest.mark.parametrize(
    "secret",
    ["postgresql://admin:hunter2@db/shop", "postgresql://admin@db/shop?password=hunter2", "AccountKey=hunter2;x=y"],
)
def test_a_secret_in_an_error_or_in_data_is_masked(plan, secret):
    teller = Teller(plan)
    teller.tell("noted", {"app_password": "hunter2", "text": secret})
    teller.tell("stopped", {"reason": f"can't connect to {secret}", "mend": ""})
    assert "hunter2" not in render(fold(teller.events), teller.events)


def test_a_reference_to_a_secret_is_not(plan):
    teller = Teller(plan)
    teller.tell("stopped", {"reason": "password = env:ADMIN is not set", "mend": ""})
    assert "env:ADMIN" in page(teller.events).text


def test_the_migrations_addresses_are_not_in_it(plan):
    assert "postgresql://" not in render(fold(events := incremental(plan)), events)


WHOLE = st.sampled_from(["incremental", "rolled back"])


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(which=WHOLE, part=st.floats(0, 1))
def test_any_beginning_of_a_run_can_be_told(plan, which, part):
    events = incremental(plan) if which == "incremental" else rolled_back(plan)
    page(events[: max(1, round(part * len(events)))])


@pytest.mark.parametrize("fate", ["", "harm all"])
def test_any_beginning_of_a_run_of_the_engine_can_be_told(tmp_path, fate):
    events = engine_events(tmp_path, fate)
    for cut in range(1, len(events) + 1, 3):
        page(events[:cut])


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
KEYS = ["scenario", "requests", "writes", "rows", "objects", "seconds", "promises", "load", "stages"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=JSON, rehearsal=st.dictionaries(st.sampled_from(KEYS), JSON))
def test_data_of_any_shape_is_told(plan, data, rehearsal):
    teller = Teller(plan)
    for kind in ("traffic", "fault", "breach", "command", "noted", "step-note"):
        teller.tell(kind, data)
    for key in ("requests", "lag", "text", "figures", "by", "reason"):
        teller.tell("traffic", {key: data, "azure": 1})
        teller.tell("command", {key: data})
    page(teller.events, rehearsal)


def test_a_clock_that_is_set_back_does_no_harm(plan):
    events = incremental(plan)
    page([replace(event, at=event.at - (500 if n % 7 == 0 else 0)) for n, event in enumerate(events)])


def test_days_of_traffic_make_no_great_page(plan: Plan):
    teller = Teller(plan)
    teller.tell("stage-began", stage="watch")
    teller.wait(6_000)
    html = render(fold(teller.events), teller.events)
    assert len(html) < 400_000
    assert "6,000 samples" in html


def test_a_huge_note_is_cut_with_its_length(plan):
    teller = Teller(plan)
    teller.tell("stopped", {"reason": "x" * 1_000_000, "mend": ""})
    html = render(fold(teller.events), teller.events)
    assert len(html) < 100_000
    assert "(1,000,0" in html


def test_a_huge_log_keeps_its_beginning_and_its_end(plan):
    teller = Teller(plan)
    for n in range(2_200):
        teller.tell("noted", {"text": f"note {n}"})
    html = render(fold(teller.events), teller.events)
    assert "202 rows are left out here" in html
    assert "note 2199" in html
