"""Which tables an interrupted copy had completed, and which of them the next one can keep.

A table that was copied in one snapshot, and another in a later one, are both brought to the present by a slot that
starts at its snapshot. What was altered in between isn't: no stream carries it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tidegate.postgres.bookkeeping import Names, read_note
from tidegate.postgres.catalog import Table
from tidegate.postgres.indexes import Index, built_already
from tidegate.postgres.server import Connection, Server, literal, statement

__all__ = [
    "Form",
    "Kept",
    "Ledger",
    "SchemaChanged",
    "Selection",
    "clear",
    "describe",
    "open_ledger",
    "position",
    "read_forms",
    "read_kept",
    "select",
    "slot_gone",
]

ATTEMPTS = 4
"""Slots at a time: each holds one of the few that the source has. Tables of the last are copied again before a fifth
is made.
"""

KEPT = "select relation, name, slot, since::text, shape, size, indexed from tidegate.kept order by slot, name"
FORMS = """
select c.oid::int8, coalesce(pg_catalog.pg_partition_root(c.oid)::oid, c.oid)::int8,
    pg_catalog.md5(coalesce(pg_catalog.string_agg(row(a.attnum, a.attname, a.xmin)::text, ' ' order by a.attnum), ''))
from pg_catalog.pg_class c left join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0
where c.oid = any(%s::int8[]::oid[]) group by c.oid"""
"""Whoever alters a column writes its row in the catalog anew, also when it ends up as it was."""
SLOTS = """
select slot_name, wal_status, confirmed_flush_lsn::text
from pg_catalog.pg_replication_slots where slot_name = any(%s)"""
CLEAR = """
do $do$
declare made record;
begin
    for made in select conname from pg_catalog.pg_constraint
            where conrelid = {table}::regclass and contype in ('p', 'u') loop
        execute pg_catalog.format('alter table only %s drop constraint %I', {table}::regclass, made.conname);
    end loop;
    for made in select indexrelid from pg_catalog.pg_index where indrelid = {table}::regclass loop
        execute pg_catalog.format('drop index %s', made.indexrelid::regclass);
    end loop;
    execute pg_catalog.format('truncate only %s', {table}::regclass);
    delete from tidegate.kept where relation = {relation};
end $do$"""


@dataclass(frozen=True, slots=True)
class Form:
    """`root`: the oid of the table by which its changes are addressed, of a partition not its own. `shape` is another
    after any of its columns was altered.
    """

    root: int
    shape: str


@dataclass(frozen=True, slots=True)
class Kept:
    """A table, by its oid at the source, whose rows are as of `since`, where `slot` starts. `size` in bytes."""

    relation: int
    name: str
    slot: str
    since: str
    shape: str
    size: int
    indexed: bool


@dataclass(frozen=True, slots=True)
class Ledger:
    """What is to be recorded in the transaction that completes a table; `built`: indexes that are there already."""

    slot: str
    since: str
    forms: Mapping[int, Form]
    built: frozenset[str]

    def rows(self, table: Table) -> str:
        return (
            f"insert into tidegate.kept values ({table.oid}, {literal(table.name)}, {literal(self.slot)}, "
            f"{literal(self.since)}, {literal(self.forms[table.oid].shape)}, {table.size})"
        )

    def indexes(self, relation: int) -> str:
        return f"update tidegate.kept set indexed = true where relation = {relation}"


class SchemaChanged(Exception):
    """Nothing can be kept; why."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What is kept; what was complete and is copied again; the slot for what is copied now."""

    keep: list[Kept]
    clear: list[Kept]
    slot: str


async def read_kept(target: Server) -> list[Kept]:
    """Of the interrupted copy; none of one that hasn't begun."""
    if await read_note(target, "schema") is None:
        return []
    return [Kept(*row) for row in await target.rows(KEPT)]


async def read_forms(connection: Connection, tables: Sequence[Table]) -> dict[int, Form]:
    """By oid."""
    cursor = await connection.execute(statement(FORMS), ([table.oid for table in tables],))
    return {oid: Form(root, shape) for oid, root, shape in await cursor.fetchall()}


async def open_ledger(
    source: Connection, target: Server, slot: str, tables: Sequence[Table], pending: Sequence[Index]
) -> Ledger:
    """For `tables` as the session of `source` sees them; some of the `pending` indexes may be there."""
    query = "select confirmed_flush_lsn::text from pg_catalog.pg_replication_slots where slot_name = %s"
    ((since,),) = await (await source.execute(query, (slot,))).fetchall()
    async with target.session() as there:
        built = await built_already(there, pending)
    return Ledger(slot, since, await read_forms(source, tables), built)


def select(names: Names, kept: Sequence[Kept], forms: Mapping[int, Form]) -> Selection:
    """`forms`: of every table that moves. Raises SchemaChanged. Pure.

    Changes come by the root of a partitioned table, for all its partitions: they have to be as of one snapshot.
    """
    if altered := [
        each.name for each in kept if each.relation not in forms or forms[each.relation].shape != each.shape
    ]:
        raise SchemaChanged(f"altered since: {', '.join(altered)}")
    slot = {each.relation: each.slot for each in kept}
    slots: dict[int, set[str | None]] = {}
    for relation, form in forms.items():
        slots.setdefault(form.root, set()).add(slot.get(relation))
    keep = [each for each in kept if len(slots[forms[each.relation].root]) == 1]
    if kept and not keep:
        raise SchemaChanged("no table was complete with all of its partitions")
    taken = {each.slot for each in keep}
    free = [name for name in map(names.slot, range(1, ATTEMPTS + 1)) if name not in taken]
    last = free[0] if free else names.slot(ATTEMPTS)
    keep = [each for each in keep if each.slot != last] if len(keep) < len(forms) else keep
    kept_here = {each.relation for each in keep}
    return Selection(keep, [each for each in kept if each.relation not in kept_here], last)


def describe(keep: Sequence[Kept], tables: int) -> str:
    size = sum(each.size for each in keep)
    amount = f"{size / 2**30:,.1f} GiB" if size >= 2**30 else f"{size / 2**20:,.1f} MiB"
    rest = "; the rest is copied" if len(keep) < tables else ""
    return f"{len(keep)} of {tables} tables were complete, {amount}{rest}"


async def slot_gone(source: Server, target: Server, names: Names, kept: Sequence[Kept]) -> str | None:
    """Why the changes since the interrupted copy aren't to be had any more; None if they are."""
    slots = {name: (status, at) for name, status, at in await source.rows(SLOTS, sorted({each.slot for each in kept}))}
    query = "select subname from pg_catalog.pg_subscription where subname = any(%s)"
    reading = {row[0] for row in await target.rows(query, [names.part(slot) for slot in slots])}
    for slot, since in {(each.slot, each.since) for each in kept}:
        status, at = slots.get(slot, (None, ""))
        if status is None:
            return f"there is no slot {slot} on {source.cloud} any more"
        if status not in ("reserved", "extended"):
            return f"the slot {slot} on {source.cloud} doesn't hold its whole log any more (max_slot_wal_keep_size)"
        if names.part(slot) not in reading and position(at) > position(since):
            return f"the slot {slot} on {source.cloud} has been read by somebody else"
    return None


def position(lsn: str) -> int:
    """In bytes."""
    high, low = lsn.split("/")
    return (int(high, 16) << 32) + int(low, 16)


async def clear(target: Server, tables: Sequence[Kept]) -> None:
    """As they were before they were copied. Nothing stands on their rows yet."""
    async with target.session() as connection:
        for each in tables:
            await connection.execute(statement(CLEAR.format(table=literal(each.name), relation=each.relation)))
