import random

import pytest

from tidegate.edges.edge import REST, Count
from tidegate.health.judge import Judge, detectable
from tidegate.runbook.migration import Objectives

OBJECTIVES = Objectives(error_rate=0.005, detect=0.05, false_alarms=0.01)


class Traffic:
    """Cumulative counters of one edge, fed with seeded chance. Rates per second, looked at four times a second."""

    def __init__(self, seed: int) -> None:
        self.random, self.counts = random.Random(seed), {}

    def tick(self, segment: str = REST, **clouds: tuple[float, float]) -> None:
        for cloud, (requests, rate) in clouds.items():
            total = sum(self.random.random() < requests / 4 / 200 for _ in range(200))
            failed = sum(self.random.random() < rate for _ in range(total))
            before = self.counts.get((segment, cloud), Count())
            self.counts[segment, cloud] = Count(before.total + total, before.failed + failed)


def ticks_to_verdict(seed: int, limit: int, judge: Judge | None = None, **clouds: tuple[float, float]):
    traffic, judge = Traffic(seed), judge or Judge(OBJECTIVES)
    judge.observe(traffic.counts | {(REST, "aws"): Count(), (REST, "azure"): Count()})
    for tick in range(1, limit + 1):
        traffic.tick(**clouds)
        verdict = judge.observe(traffic.counts)
        if verdict.state != "healthy":
            return tick, verdict
    return None, judge.observe(traffic.counts)


@pytest.mark.parametrize("rates", [{"aws": (150, 0.001), "azure": (50, 0.001)}, {"azure": (200, 0.003)}])
def test_healthy_clouds_raise_no_alarm(rates):
    alarms = sum(ticks_to_verdict(seed, 240, **rates)[0] is not None for seed in range(100))
    assert alarms <= 3


def test_a_fifth_of_azures_requests_failing_is_seen_within_two_seconds():
    ticks = sorted(ticks_to_verdict(seed, 100, aws=(150, 0.001), azure=(50, 0.2))[0] or 1000 for seed in range(40))
    assert ticks[len(ticks) // 2] <= 8


def test_a_small_harm_is_seen_in_the_end():
    assert ticks_to_verdict(1, 600, aws=(100, 0.001), azure=(100, 0.02))[1].state == "harm"


def test_harm_is_seen_where_nobody_is_left_on_aws():
    tick, verdict = ticks_to_verdict(2, 100, azure=(200, 0.2))
    assert tick is not None
    assert verdict.state == "harm"


def test_when_both_clouds_fail_alike_it_is_for_a_human():
    _, verdict = ticks_to_verdict(3, 200, aws=(100, 0.1), azure=(100, 0.1))
    assert verdict.state == "both ill"


def test_azure_much_worse_than_an_ailing_aws_is_harm():
    _, verdict = ticks_to_verdict(4, 200, aws=(100, 0.02), azure=(100, 0.6))
    assert verdict.state == "harm"


def test_a_segment_that_always_failed_on_aws_may_fail_as_much_on_azure():
    judge = Judge(OBJECTIVES)
    history = {("path:/old", "aws"): Count(10_000, 300), ("path:/old", "azure"): Count()}
    judge.observe(history)
    traffic = Traffic(5)
    traffic.counts = dict(history)
    for _ in range(200):
        traffic.tick("path:/old", azure=(100, 0.03))
        assert judge.observe(traffic.counts).state == "healthy"


def test_what_failed_in_an_interrupted_switch_is_nothing_that_azure_may_do_as_well():
    usual = {(REST, "aws"): Count(2400, 0), (REST, "azure"): Count()}
    now = {(REST, "aws"): Count(3200, 800), (REST, "azure"): Count()}
    judge = Judge(OBJECTIVES, usual)
    judge.observe(now)
    assert judge.observe(now | {(REST, "azure"): Count(100, 20)}).state == "harm"


def test_an_edge_that_was_restarted_shows_no_harm():
    judge = Judge(OBJECTIVES)
    judge.observe({(REST, "azure"): Count(5000, 10), (REST, "aws"): Count(5000, 10)})
    assert judge.observe({(REST, "azure"): Count(40, 30), (REST, "aws"): Count(40, 0)}).state == "healthy"


def test_the_harmed_segment_is_named():
    judge = Judge(OBJECTIVES)
    start = {("country:SE", "azure"): Count(), ("country:SE", "aws"): Count(), (REST, "azure"): Count()}
    judge.observe(start)
    verdict = judge.observe(start | {("country:SE", "azure"): Count(100, 50), (REST, "azure"): Count(900, 0)})
    assert verdict.state == "harm"
    assert verdict.segment == "country:SE"
    assert "50 of 100" in verdict.reason


def test_more_traffic_detects_less_harm():
    rates = [detectable(requests, OBJECTIVES, 1) for requests in (0, 20, 100, 1000, 10_000, 100_000)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == 1.0
    assert rates[-1] < 0.01


@pytest.mark.parametrize("requests", [100, 400, 2000])
def test_what_is_called_detectable_is_detected_nine_times_out_of_ten(requests):
    rate, found = detectable(requests, OBJECTIVES, 1), 0
    for seed in range(200):
        chance = random.Random(seed)
        judge = Judge(OBJECTIVES)
        judge.observe({(REST, "azure"): Count()})
        failed = sum(chance.random() < rate for _ in range(requests))
        found += judge.observe({(REST, "azure"): Count(requests, failed)}).state == "harm"
    assert found >= 170
