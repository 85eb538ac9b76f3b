"""A row's content as one 64-bit number, computed inside the server; equal on every version from 15 to 18.

A hash function of a type serves its equality, not its looks: 1.0 and 1.00 hash alike, as do 0 and -0, {1} and
[0:0]={1}, a time span of a day and of 24 hours; an enum's is its oid's. And those of 8-byte integers and times hash
32 bits only, so that 1 and 2^32 are the same. So a type is hashed as it is only if it is known to keep bytes apart,
in its binary form if that is what keeps them apart, and otherwise as text, as its output function writes it (a cast
may drop something: char(n) to text drops blanks).

A record's hash is linear in its columns' hashes, and chunks add rows up: alone, it would not see two rows
exchanging a value. Every row is therefore hashed with its own key as the seed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from tidegate.postgres.catalog import Table
from tidegate.postgres.server import Connection

__all__ = ["Column", "Method", "Relation", "columns_of", "pin_settings", "relation"]

Method = Literal["ranges", "buckets", "counted"]
"""By ranges of an integer key, by buckets of the key's hash; where there are no columns, rows are only counted."""

SETTINGS = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "iso_8601",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "xmlbinary": "base64",
    "xmloption": "content",
    "quote_all_identifiers": "off",  # how regclass and its like are written
    "search_path": "",
    "row_security": "off",  # an error rather than a part of the rows
    "work_mem": "64MB",
    "enable_sort": "off",  # there are few chunks, which the planner can't know
    "jit": "off",
    "max_parallel_workers_per_gather": "0",  # one core for each session: who wants more asks for jobs
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "transaction_timeout": "0",
    "client_connection_check_interval": "5s",  # whoever asked may be gone, and the table large
}
"""What changes how values are written, and what a comparison needs. Those that a version lacks are left out."""

AS_IT_IS = frozenset({16, 17, 21, 23, 25, 26, 650, 869, 1043, 1082, 2950})
"""oids of bool, bytea, int2, int4, text, oid, cidr, inet, varchar, date, uuid: equal means the same bytes."""
TEXTS = frozenset({25, 1042, 1043})
PADDED = 1042
"""char(n): hashed without its blanks, which is right only where each value has as many as it must."""
BINARY = {
    20: "int8send",
    1083: "time_send",
    1114: "timestamp_send",
    1184: "timestamptz_send",
    1186: "interval_send",
    1700: "numeric_send",
}
"""By oid: functions faster than the output function, and as exact."""
INTEGERS = frozenset({20, 21, 23})
SHOWN_CHARACTERS = 200
MOST_IN_A_ROW = 1600
"""A row constructor takes 1664."""


@dataclass(frozen=True, slots=True)
class Column:
    """`name` is quoted. `base`: oid of its type, below domains. `output`: its output function, quoted and qualified."""

    name: str
    type: str
    base: int
    base_name: str
    is_domain: bool
    modified: bool
    deterministic: bool
    output: str

    @property
    def value(self) -> str:
        return f"{self.name}::{self.base_name}" if self.is_domain else self.name

    def part(self, *, recoded: bool) -> str:
        """An expression whose hash keeps every two values apart that look different. `recoded`: see `relation`."""
        if self.base in BINARY:
            return f"pg_catalog.{BINARY[self.base]}({self.value})"
        if self.deterministic and (self.base in AS_IT_IS or (self.base == PADDED and self.modified)):
            return f"pg_catalog.convert_to({self.value}, 'UTF8')" if recoded and self.base in TEXTS else self.name
        text = f"{self.output}({self.value})::pg_catalog.text"
        return f"pg_catalog.convert_to({text}, 'UTF8')" if recoded else f'{text} collate "C"'


@dataclass(frozen=True, slots=True)
class Relation:
    """SQL over one set of rows.

    `source`: a from-item. `key`: the key as text, cut where it is long. `place`: int8, by which rows are put into
    chunks. `content`: int8, the row's hash. `column`: the primary key itself, where it is one integer: an index finds
    what lies between two of its values. `keys`: a from-item with that column, cheaper than `source`.
    """

    name: str
    source: str
    key: str
    place: str
    content: str
    column: str = ""
    keys: str = ""

    @property
    def method(self) -> Method:
        return "ranges" if self.column else "buckets"


COLUMNS = """
select a.attrelid::int8, pg_catalog.quote_ident(a.attname), pg_catalog.format_type(a.atttypid, null), base.oid::int8,
    pg_catalog.format_type(base.oid, -1), base.oid <> a.atttypid, base.typmod >= 0,
    coalesce(c.collisdeterministic, true), pg_catalog.format('%%I.%%I', n.nspname, p.proname)
from pg_catalog.pg_attribute a
cross join lateral (
    with recursive domain as (
        select t.oid, t.typtype, t.typbasetype, t.typtypmod, t.typoutput, a.atttypmod as typmod
        from pg_catalog.pg_type t where t.oid = a.atttypid
        union all
        select t.oid, t.typtype, t.typbasetype, t.typtypmod, t.typoutput, d.typtypmod
        from domain d join pg_catalog.pg_type t on t.oid = d.typbasetype where d.typtype = 'd')
    select * from domain where typtype <> 'd') base
join pg_catalog.pg_proc p on p.oid = base.typoutput join pg_catalog.pg_namespace n on n.oid = p.pronamespace
left join pg_catalog.pg_collation c on c.oid = a.attcollation
where a.attrelid::int8 = any(%s) and a.attnum > 0 and not a.attisdropped order by a.attrelid, a.attnum"""


async def pin_settings(connection: Connection) -> None:
    await connection.execute(
        """select pg_catalog.set_config(given.name, given.value, false)
        from unnest(%s::text[], %s::text[]) given(name, value)
        join pg_catalog.pg_settings s on s.name = given.name""",
        (list(SETTINGS), list(SETTINGS.values())),
    )


async def columns_of(connection: Connection, tables: Iterable[Table]) -> dict[int, list[Column]]:
    """By a table's oid, in order."""
    columns: dict[int, list[Column]] = {table.oid: [] for table in tables}
    for oid, *column in await (await connection.execute(COLUMNS, (list(columns),))).fetchall():
        columns[oid].append(Column(*column))
    return columns


def relation(table: Table, source: str, columns: Sequence[Column], *, recoded: bool) -> Relation:
    """Of a table with at least one column. `recoded`: the databases' encodings differ, texts are hashed as UTF-8."""
    everything = f"row({', '.join(column.name for column in columns)})::pg_catalog.text"
    if not table.key:
        place = _hash([f"pg_catalog.convert_to({everything}, 'UTF8')" if recoded else f'{everything} collate "C"'], "0")
        return Relation(table.name, source, _cut(everything), _positive(place), place)
    of_key = {column.name: column for column in columns if column.name in table.key}
    key = _cut(f"row({', '.join(table.key)})::pg_catalog.text")
    first = of_key[table.key[0]]
    if len(table.key) == 1 and first.base in INTEGERS:
        # the seed holds the whole key, so that its own hash needn't
        parts = [column.name if column is first else column.part(recoded=recoded) for column in columns]
        place = f"{first.value}::pg_catalog.int8"
        return Relation(table.name, source, key, place, _hash(parts, place), first.name, source)
    seed = _hash([of_key[name].part(recoded=recoded) for name in table.key], "0")
    content = _hash([column.part(recoded=recoded) for column in columns], seed)
    return Relation(table.name, source, key, _positive(seed), content)


def _hash(parts: list[str], seed: str) -> str:
    while len(parts) > MOST_IN_A_ROW:
        parts = [f"row({', '.join(parts[:1000])})", *parts[1000:]]
    return f"pg_catalog.hash_record_extended(row({', '.join(parts)}), {seed})"


def _positive(hashed: str) -> str:
    return f"({hashed} & 9223372036854775807)"


def _cut(text: str) -> str:
    return f"pg_catalog.left({text}, {SHOWN_CHARACTERS})"
