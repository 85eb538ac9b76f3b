"""Where the sequences of one side go on: where the other's have come to, or after the rows that are there."""

from collections.abc import Sequence

from psycopg import sql

from tidegate.errors import Refused
from tidegate.postgres.catalog import NOT_OF_AN_EXTENSION, OURS, sequences
from tidegate.postgres.server import Connection, literal, statement

__all__ = ["advance_sequences", "sequence_names", "set_sequences", "take_values", "values"]


NAMES = f"""
select pg_catalog.format('%I.%I', n.nspname, c.relname)
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'S' and {OURS} and {NOT_OF_AN_EXTENSION} order by 1
"""


async def set_sequences(source: Connection, target: Connection) -> None:
    """Every sequence at the value that the source has reached, in one round trip each way, but for their names."""
    names = await sequence_names(source)
    await take_values(target, await values(source, names))


async def sequence_names(connection: Connection) -> list[str]:
    return [row[0] for row in await (await connection.execute(statement(NAMES))).fetchall()]


async def values(connection: Connection, names: Sequence[str]) -> list[tuple[str, int, bool]]:
    """(name, last value, whether it was given out) of `names`, or of what there is now if that isn't the same."""
    query = f"select array({NAMES}), null::int8, null::bool" + "".join(
        f" union all select array[{literal(name)}], last_value, is_called from {name}" for name in names
    )
    try:
        rows = await (await connection.execute(statement(query))).fetchall()
    except Refused:
        if (now := await sequence_names(connection)) == list(names):
            raise
        return await values(connection, now)  # one was dropped
    there, found = rows[0][0], rows[1:]
    if there != list(names):
        return await values(connection, there)
    return [(name[0], value, called) for name, value, called in found]


async def take_values(connection: Connection, found: Sequence[tuple[str, int, bool]]) -> None:
    """It moves sequences back too: nobody may have drawn from them."""
    if found:
        rows = sql.SQL(", ").join(sql.SQL("({}, {}, {})").format(*map(sql.Literal, each)) for each in found)
        await connection.execute(
            sql.SQL(
                "select count(pg_catalog.setval(name::regclass, value::int8, called::bool)) "
                "from (values {}) v (name, value, called)"
            ).format(rows)
        )


async def advance_sequences(connection: Connection) -> None:
    """Every sequence past the last value that a column which draws from it holds; none goes back.

    A value is taken although the sequence stands at it if the sequence would still give it out: is_called = false.
    """
    for sequence in await sequences(connection):
        last, reached = ("max", ">=") if sequence.ascending else ("min", "<=")
        for table, column in sequence.columns:
            await connection.execute(
                statement(
                    f"select pg_catalog.setval({literal(sequence.name)}::regclass, held.value) from "
                    f"(select {last}({column})::int8 as value from {table} "
                    f"where {column} between {sequence.least} and {sequence.greatest}) held, {sequence.name} s "
                    f"where held.value {reached} s.last_value"
                )
            )
