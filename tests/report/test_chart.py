"""The chart's geometry: nothing leaves the frame, and what is drawn is what was counted."""

import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from report.telling import NOON, Teller, incremental, rolled_back
from tidegate.report.breakdown import breakdown
from tidegate.report.chart import MARKERS, WIDTH, chart, shown_markers
from tidegate.report.story import PHASES, ROLLBACK, Marker, Sample, Story, Turn, thinned

RATE = st.floats(0, 1e15)


class Shapes(HTMLParser):
    """Every x and y in the SVG, and its rectangles and polygons by class."""

    def __init__(self, svg: str) -> None:
        super().__init__()
        self.x, self.y, self.wide, self.high = list[float](), list[float](), 0.0, 0.0
        self.kinds = dict[str, list[dict[str, str]]]()
        self.feed(svg)

    def handle_starttag(self, tag, attrs):
        found = {name: value or "" for name, value in attrs}
        if tag == "svg":
            self.wide, self.high = map(float, found["viewbox"].split()[2:])
        self.kinds.setdefault(found.get("class", ""), []).append(found)
        for axis, names in ((self.x, ("x", "x1", "x2", "cx")), (self.y, ("y", "y1", "y2", "cy"))):
            axis += [float(found[name]) for name in names if name in found]
        if tag == "rect":
            self.x.append(float(found["x"]) + float(found["width"]))
            self.y.append(float(found["y"]) + float(found["height"]))
        for point in found.get("points", "").split():
            x, y = map(float, point.split(","))
            self.x.append(x)
            self.y.append(y)

    def all_within(self) -> bool:
        return all(0 <= x <= self.wide + 0.1 for x in self.x) and all(0 <= y <= self.high + 0.1 for y in self.y)


def drawn(story: Story) -> Shapes:
    return Shapes(chart(story, [band.stage for band in story.bands], ["orders"]))


def samples(*pairs: tuple[float, float, float | None]) -> tuple[Sample, ...]:
    """(requests, errors, azure) second by second."""
    return tuple(Sample(NOON + n, NOON + n + 1, *each) for n, each in enumerate(pairs))


def story(told: tuple[Sample, ...] = (), **more) -> Story:
    ended = NOON + max(len(told), 10)
    return Story(**({"began": NOON, "ended": ended, "bands": (), "markers": (), "turns": (), "samples": told} | more))


@pytest.mark.parametrize("tell", [incremental, rolled_back])
def test_a_whole_run_stays_within_its_frame(plan, tell):
    assert drawn(Story.of(tell(plan))).all_within()


@settings(max_examples=60, deadline=None)
@given(
    told=st.lists(st.tuples(RATE, RATE, st.none() | st.floats(0, 1)), max_size=30),
    lags=st.lists(RATE, max_size=30),
    markers=st.lists(st.tuples(st.floats(-100, 200), st.text(max_size=40)), max_size=40),
    turns=st.lists(st.tuples(st.floats(-5, 50), st.floats(0, 1e7)), max_size=2),
)
def test_whatever_was_counted_stays_within_the_frame(told, lags, markers, turns):
    counted = tuple(
        Sample(each.began, each.ended, each.requests, each.errors, each.azure, lag={"orders": lag})
        for each, lag in zip(samples(*told), lags, strict=False)
    )
    marked = tuple(Marker(NOON + at, "command", label, label) for at, label in markers)
    switched = tuple(Turn("azure", NOON + at, (("quiet", ms / 2), ("released", ms))) for at, ms in turns)
    shapes = drawn(story(counted, markers=marked, turns=switched))
    assert shapes.all_within()
    assert shapes.wide == WIDTH


def test_the_two_areas_meet_where_the_share_is(plan):
    shapes = drawn(story(samples((200, 0, 0.25), (200, 0, 0.25))))
    (azure,), (aws,) = shapes.kinds["azure-area"], shapes.kinds["aws-area"]
    heights = sorted({float(y) for y in re.findall(r",([\d.]+)", azure["points"])})
    border, foot = heights[0], heights[-1]
    top = min(float(y) for y in re.findall(r",([\d.]+)", aws["points"]))
    assert (foot - border) / (foot - top) == pytest.approx(0.25, abs=0.01)


def test_a_load_generators_seconds_are_drawn_in_their_place_with_their_slowest_answer(plan):
    teller = Teller(plan)
    teller.wait(10)
    load = [{"at": NOON + n, "requests": 200, "failed": 7 if n == 4 else 0, "slow": 412} for n in (-3, 3, 4, 99)]
    told = Story.of(teller.events, load)
    assert [second.began - NOON for second in told.load] == [3, 4]
    shapes = drawn(told)
    (failed,) = shapes.kinds["error-bar"]
    assert float(failed["x"]) == pytest.approx(62 + (WIDTH - 74) * 0.4, abs=0.1)
    assert len(shapes.kinds["slow-bar"]) == 2
    assert "412 ms at the worst" in chart(told, [], [])


def test_where_nothing_was_answered_nothing_is_drawn():
    shapes = drawn(story(samples((200, 0, 0.5), (0, 0, None), (200, 0, 0.5))))
    assert len(shapes.kinds["azure-area"]) == 2


def test_the_lag_of_a_store_that_is_silent_is_a_hole_and_not_nothing(plan):
    teller = Teller(plan)
    for lag in (5, None, 5):
        teller.at += 1
        teller.tell("traffic", {"requests": 1, "errors": 0, "aws": 1, "azure": 0, "lag": {"orders": lag}})
    told = Story.of(teller.events)
    assert [dict(sample.lag) for sample in told.samples] == [{"orders": 5}, {}, {"orders": 5}]
    assert len(drawn(told).kinds["lag-area"]) == 2


def test_a_time_without_samples_is_a_hole(plan):
    teller = Teller(plan)
    teller.wait(10)
    teller.at += 60
    teller.due += 60
    teller.wait(10)
    assert len(drawn(Story.of(teller.events)).kinds["aws-area"]) == 2


@given(
    told=st.lists(st.tuples(RATE, RATE, st.none() | st.floats(0, 1)), min_size=1, max_size=300),
    most=st.integers(1, 50),
)
def test_thinning_keeps_peaks_order_and_extent(told, most):
    whole = samples(*told)
    thin = thinned(whole, most)
    assert len(thin) <= most or len(whole) <= most
    assert max(each.errors for each in thin) == max(each.errors for each in whole)
    assert (thin[0].began, thin[-1].ended) == (whole[0].began, whole[-1].ended)
    assert all(before.ended <= after.began + 1e-6 for before, after in pairwise(thin))
    assert all(each.azure is None or 0 <= each.azure <= 1 + 1e-9 for each in thin)


def test_commands_give_way_when_there_are_too_many_markers():
    marked = [Marker(NOON + n, "command", "pause", "pause") for n in range(MARKERS)]
    fault = Marker(NOON + 99, "fault", "fault", "it fails")
    assert shown_markers([*marked, fault]) == [fault]


def test_a_stage_that_ran_twice_has_two_bands_and_their_time_together(plan):
    teller = Teller(plan)
    teller.tell("stage-began", stage="replicate")
    teller.wait(5)
    teller.tell("stopped", {"reason": "interrupted", "mend": ""})
    teller.wait(100)
    teller.tell("begun", {"pid": 1, "host": "laptop", "epoch": 2})
    teller.tell("stage-began", stage="replicate")
    teller.wait(3)
    teller.tell("stage-done", stage="replicate")
    told = Story.of(teller.events)
    assert [band.stage for band in told.bands] == ["replicate", "replicate"]
    assert told.seconds_of("replicate") == pytest.approx(8)


def test_a_killed_process_ran_until_its_last_sign_of_life(plan):
    teller = Teller(plan)
    teller.tell("stage-began", stage="replicate")
    teller.wait(5)
    teller.at, teller.due = teller.at + 1000, teller.due + 1000
    teller.tell("begun", {"pid": 1, "host": "laptop", "epoch": 2})
    assert Story.of(teller.events).seconds_of("replicate") == pytest.approx(5)


def test_the_way_back_is_a_band_of_its_own(plan):
    told = Story.of(rolled_back(plan))
    assert [band.stage for band in told.bands][-1] == ROLLBACK


def test_the_hold_ends_where_the_requests_are_released(plan):
    forward, back = Story.of(rolled_back(plan)).turns
    assert (forward.owner, back.owner) == ("azure", "aws")
    assert forward.held == pytest.approx(0.4028)


@given(st.lists(st.floats(0, 1e9), min_size=len(PHASES), max_size=len(PHASES)), st.integers(1, len(PHASES)))
def test_the_bar_of_a_switch_stays_within_its_frame(ends, phases):
    turn = Turn("aws", NOON, tuple(zip(PHASES[:phases], sorted(ends), strict=False)))
    svg = re.search(r"<svg.*</svg>", breakdown(turn), re.DOTALL)
    assert svg
    assert Shapes(svg[0]).all_within()


def test_a_switch_finished_by_another_process_says_so():
    turn = Turn("azure", NOON, (("open", 20.0), ("released", 90.0)))
    assert "Finished after its commit by a process that took over; 90 ms" in breakdown(turn)


def test_before_the_commit_the_bar_has_the_old_owners_colour(plan):
    shapes = Shapes(breakdown(Story.of(incremental(plan)).turns[0]).replace("<div", "<svg viewBox='0 0 1 1'", 1))
    assert len(shapes.kinds["aws-phase"]) == 5
    assert len(shapes.kinds["azure-phase"]) == 3
