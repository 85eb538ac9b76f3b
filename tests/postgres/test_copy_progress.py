"""How far a copy is, what is done first, and what is left to pg_restore: decided without a server."""

import asyncio

from tidegate.postgres.catalog import Table
from tidegate.postgres.indexes import Index
from tidegate.postgres.progress import Meter, Progress, seldom
from tidegate.postgres.schema import split_contents
from tidegate.postgres.tasks import Tasks

LARGE = Table(1, "s.large", "s", "large", (), 1000, 1_000_000)
SMALL = Table(2, "s.small", "s", "small", (), 10, 8192)
INDEX = Index(1, "s.i", (1259, 16401), "create index", 250_000, ())

CONTENTS = """;
; Archive created at some time
;
2406; 1259 16399 INDEX s m_n_idx owner
2403; 2606 16392 CONSTRAINT s t t_pkey owner
2404; 1259 16394 INDEX s we ird owner
2405; 0 0 INDEX ATTACH s a b owner
2563; 0 0 COMMENT s CONSTRAINT t_pkey ON t owner
2410; 2620 16500 TRIGGER s t INDEX s owner
2564; 0 0 COMMENT s TRIGGER x ON t owner
2411; 2606 16501 FK CONSTRAINT s t t_fkey owner
"""


def numbers(lines: list[str]) -> list[int]:
    return [int(line.partition(";")[0]) for line in lines]


def test_rows_of_a_table_under_way_are_estimated_and_those_of_one_that_is_done_are_exact():
    told: list[Progress] = []
    meter = Meter([LARGE, SMALL], [INDEX], told.append)
    meter.begin(LARGE)
    assert meter.now.left is None
    meter.came(LARGE, 500_000)
    half = meter.now
    assert (half.tables, half.rows, half.rows_expected, half.bytes) == (0, 500, 1010, 500_000)
    assert half.left is not None
    assert half.left > half.seconds
    meter.came(LARGE, 5_000_000)
    assert meter.now.rows < 1000
    meter.copied(LARGE, 1234)
    meter.begin(SMALL)
    meter.copied(SMALL, 10)
    meter.built(INDEX)
    meter.finish()
    assert meter.now.left == 0
    assert len(told) == 2
    assert str(told[-1]).startswith("copied 2 of 2 tables, 1 of 1 indexes, 1,244 of about 1,244 rows, 5.2 MiB at ")


def test_an_empty_database_is_done_at_once():
    meter = Meter([], [], lambda progress: None)
    assert meter.now.left == 0


def test_what_is_told_too_often_is_told_seldom():
    told: list[str] = []
    note = seldom(told.append)
    for n in range(1000):
        note(str(n))
    assert told[0] == "0"
    assert len(told) < 10


async def test_the_most_expensive_is_done_first_and_what_it_leads_to_is_done_too():
    done: list[str] = []
    tasks: Tasks[str] = Tasks()

    async def index(worker: str) -> None:
        done.append("index")

    async def table(worker: str) -> None:
        await asyncio.sleep(0)
        done.append("table")
        tasks.add(2, index)
        tasks.add(2, index)

    async def small(worker: str) -> None:
        done.append("small")

    tasks.add(1, small)
    tasks.add(9, table)
    await asyncio.gather(tasks.work("a"), tasks.work("b"))
    assert sorted(done) == ["index", "index", "small", "table"]
    assert done.index("table") < done.index("index")


def test_indexes_come_before_the_rest_with_their_comments_and_without_those_that_are_built():
    first, then = split_contents(CONTENTS, {(1259, 16394), (2606, 16392)})
    assert numbers(first) == [2406, 2405, 2563]
    assert numbers(then) == [2410, 2564, 2411]
    assert split_contents("; nothing\n", ()) == ([], [])
