from tidegate.edges.edge import REST, Count
from tidegate.health.metrics import Rates, rates


def test_rates_are_per_second_and_shares_of_what_was_answered():
    before = {(REST, "aws"): Count(100, 1), (REST, "azure"): Count(0, 0)}
    after = {(REST, "aws"): Count(250, 1), (REST, "azure"): Count(50, 10)}
    assert rates(before, after, 2) == Rates(requests=100, errors=5, aws=0.75, azure=0.25)


def test_without_requests_there_are_no_shares():
    assert rates({}, {}, 1) == Rates(0, 0, 0, 0)


def test_a_counter_that_was_reset_counts_from_zero():
    assert rates({(REST, "aws"): Count(1000, 9)}, {(REST, "aws"): Count(30, 1)}, 1) == Rates(30, 1, 1, 0)
