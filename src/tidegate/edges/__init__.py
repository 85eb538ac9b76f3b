"""Where users' requests arrive. To add an edge: its file, and a line here."""

from tidegate.edges.edge import Edge
from tidegate.edges.envoy import EnvoyEdge
from tidegate.runbook.migration import Migration

__all__ = ["open_edge"]

EDGES = {"envoy": EnvoyEdge}


def open_edge(migration: Migration) -> Edge:
    return EDGES[migration.edge.kind](migration)
