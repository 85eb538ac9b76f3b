"""What a board shows of the traffic: rates between two looks at the edge's counters."""

from dataclasses import dataclass

from tidegate.edges.edge import Counts

__all__ = ["Rates", "rates"]


@dataclass(frozen=True, slots=True)
class Rates:
    """`requests` and `errors` per second; `aws` and `azure` are shares, 0 to 1, of what was answered."""

    requests: float
    errors: float
    aws: float
    azure: float


def rates(before: Counts, after: Counts, seconds: float) -> Rates:
    """A counter that fell was reset: all of what it shows now is new."""
    totals = {"aws": 0, "azure": 0}
    failed = 0
    for key, count in after.items():
        earlier = before.get(key)
        fresh = earlier is None or count.total < earlier.total
        totals[key[1]] += count.total - (0 if fresh or earlier is None else earlier.total)
        failed += count.failed - (0 if fresh or earlier is None else earlier.failed)
    answered = sum(totals.values())
    return Rates(
        requests=answered / seconds,
        errors=max(0, failed) / seconds,
        aws=totals["aws"] / answered if answered else 0.0,
        azure=totals["azure"] / answered if answered else 0.0,
    )
