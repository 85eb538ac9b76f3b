"""Where the sequences of one side go on: where the other's have come to, or after the rows that are there."""

from psycopg import sql

from tidegate.postgres.catalog import sequences
from tidegate.postgres.server import Connection, literal, statement

__all__ = ["advance_sequences", "set_sequences"]


async def set_sequences(source: Connection, target: Connection) -> None:
    """Every sequence at the value that the source has reached, in one round trip each way."""
    names = [sequence.name for sequence in await sequences(source)]
    if not names:
        return
    query = " union all ".join(f"select {literal(name)}, last_value, is_called from {name}" for name in names)
    values = await (await source.execute(statement(query))).fetchall()
    calls = sql.SQL(", ").join(
        sql.SQL("pg_catalog.setval({}::regclass, {}, {})").format(
            sql.Literal(name), sql.Literal(value), sql.Literal(called)
        )
        for name, value, called in values
    )
    await target.execute(sql.SQL("select {}").format(calls))


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
