"""Which users belong together: the segments that a migration's shifts name, and the routes after each shift."""

from tidegate.edges.edge import Routes
from tidegate.runbook.migration import Migration, Shift

__all__ = ["COUNTRY", "USER", "USER_TYPE", "after_shift", "segment_of", "segments"]

USER, USER_TYPE, COUNTRY = "x-user-id", "x-user-type", "x-country"
"""The request headers by which a user is known. Whatever stands before the edge has to set or strip them."""

PRECEDENCE = ("user_type", "country", "path")
"""A request that belongs to several segments is routed, and counted, by the first of these."""


def segment_of(shift: Shift) -> str | None:
    """`path:/catalog`, `user_type:beta`, `country:SE`; None for a percentage, which splits the rest."""
    for criterion in PRECEDENCE:
        value = getattr(shift, criterion)
        if value is not None:
            return f"{criterion}:{value}"
    return None


def segments(migration: Migration) -> list[str]:
    """Every segment that is ever shifted, in order of precedence."""
    named = [segment_of(shift) for shift in migration.shift if isinstance(shift, Shift)]
    return sorted((name for name in named if name), key=lambda name: PRECEDENCE.index(name.partition(":")[0]))


def after_shift(routes: Routes, shift: Shift) -> Routes:
    """At 100 % everybody is on Azure, whichever segments there are."""
    segment = segment_of(shift)
    if segment is not None:
        return Routes(routes.azure | {segment}, routes.basis_points)
    return Routes(routes.azure, round((shift.percent or 0) * 100))
