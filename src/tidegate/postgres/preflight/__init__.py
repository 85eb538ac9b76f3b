"""What would make a move fail, or silently lose something, looked for before it starts.

check        a verdict: what, where, mend
facts        everything read from both servers, and judged without them
settings     log level, slots, workers, timeouts
capacity     figures: sizes, connections, the log that is kept
rights       what the login may do, and may read
roles        roles and passwords on the target
identity     by what a changed row is found again
contents     what isn't a plain table
triggers     what fires on applied changes, and on DDL
neighbours   who else replicates, or holds transactions
extensions   there, as new, and with their rows
collations   encoding, locale, order of texts
providers    rules of RDS, Aurora and Azure Flexible Server
run          an empty target, both sides to this run alone, programs
"""

from tidegate.postgres.preflight.facts import DatabaseFacts, SideFacts, SourceFacts, judge, read_facts

__all__ = ["DatabaseFacts", "SideFacts", "SourceFacts", "judge", "read_facts"]
