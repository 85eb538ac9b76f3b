"""A difference in any type is found, and none where there is none, whatever versions the two servers are."""

import asyncio
from collections.abc import Iterator
from importlib import import_module
from typing import Any, NamedTuple

import psycopg
import pytest

from tidegate.lab.servers.postgres import Postgres
from tidegate.postgres.server import Server
from tidegate.postgres.verify import TableReport, compare
from tidegate.runbook.migration import DatabaseServer

NO_15 = "Debian's PostgreSQL 15 with contrib isn't installed"


class Case(NamedTuple):
    """Two SQL expressions that differ, of a type. `only15`: a type that the wheels' servers lack."""

    name: str
    type: str
    value: str
    different: str
    only15: bool = False


TYPES = """
create type mood as enum ('sad', 'ok', 'happy');
create domain positive as int check (value > 0);
create domain price as numeric;
create domain list_price as price;
create domain code as char(4);
create domain moods as mood[];
create domain a_mood as mood;
create type point3 as (x int, y numeric, z text);
create domain a_point as point3;
create type nested as (name text, at point3, tags text[]);
create type span as range (subtype = numeric);
create collation if not exists c_like (provider = libc, locale = 'C');
create table "a table" (id int);
create table named_otherwise (id int);
create function twice(int) returns int language sql immutable return $1 * 2;
create function thrice(int) returns int language sql immutable return $1 * 3;
"""
ONLY_15 = """
create extension citext; create extension hstore;
create domain email as citext;
create collation loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
create domain loose_text as text collate loose;
"""
CASES = [
    Case("smallint", "smallint", "1", "2"),
    Case("int", "int", "-1", "1"),
    Case("bigint", "bigint", "1", "2"),
    Case("bigint whose halves add up alike", "bigint", "1", "4294967296"),
    Case("bigint at its bounds", "bigint", "9223372036854775807", "-9223372036854775808"),
    Case("boolean", "boolean", "true", "false"),
    Case("boolean against null", "boolean", "false", "null"),
    Case("text", "text", "'a'", "'b'"),
    Case("text by case", "text", "'A'", "'a'"),
    Case("text by composition", "text", r"U&'\00e9'", r"U&'e\0301'"),
    Case("text by a trailing blank", "text", "'a'", "'a '"),
    Case("empty text against null", "text", "''", "null"),
    Case("null's name", "text", "'NULL'", "null"),
    Case("long text", "text", "repeat('x', 100000) || 'a'", "repeat('x', 100000) || 'b'"),
    Case("text of a collation", 'text collate "c_like"', "'a'", "'A'"),
    Case("varchar", "varchar(10)", "'a'", "'a '"),
    Case("char(n)", "char(5)", "'a'", "'b'"),
    Case("bpchar by its blanks", "bpchar", "'a'", "'a  '"),
    Case("bpchar[] by its blanks", "bpchar[]", "array['a'::bpchar]", "array['a  '::bpchar]"),
    Case("domain of char(n)", "code", "'ab'", "'ac'"),
    Case("name", "name", "'a'", "'b'"),
    Case("one char", '"char"', "'a'", "'b'"),
    Case("bytea", "bytea", r"'\x00ff'", r"'\x00fe'"),
    Case("empty bytea against null", "bytea", "''", "null"),
    Case("numeric", "numeric", "1.5", "1.25"),
    Case("numeric by its scale", "numeric", "1.0", "1.00"),
    Case("numeric zero by its scale", "numeric", "0", "0.000"),
    Case("numeric NaN", "numeric", "'NaN'", "0"),
    Case("numeric infinity", "numeric", "'Infinity'", "'-Infinity'"),
    Case("numeric of many digits", "numeric", "1e200 + 1", "1e200"),
    Case("real", "real", "1.1", "1.1000001"),
    Case("double", "double precision", "0.1", "0.1 + 1e-17 * 3"),
    Case("double negative zero", "double precision", "'0'", "'-0'"),
    Case("real negative zero", "real", "'0'", "'-0'"),
    Case("double NaN", "double precision", "'NaN'", "'Infinity'"),
    Case("double infinity", "double precision", "'Infinity'", "'-Infinity'"),
    Case("money", "money", "'12.30'", "'12.31'"),
    Case("date", "date", "'2024-02-29'", "'2024-02-28'"),
    Case("date BC", "date", "'4713-01-01 BC'", "'4712-01-01 BC'"),
    Case("date infinity", "date", "'infinity'", "'-infinity'"),
    Case("time", "time", "'12:00:00.000001'", "'12:00:00.000002'"),
    Case("time with zone", "timetz", "'12:00+00'", "'13:00+01'"),
    Case("timestamp", "timestamp", "'2024-01-01 00:00:00.000001'", "'2024-01-01'"),
    Case("timestamp BC", "timestamp", "'0044-03-15 12:00 BC'", "'0044-03-15 12:00'"),
    Case("timestamp with zone", "timestamptz", "'2024-07-01 00:00+02'", "'2024-07-01 00:00+01'"),
    Case("timestamp infinity", "timestamptz", "'infinity'", "'-infinity'"),
    Case(
        "timestamps whose halves add up alike",
        "timestamp",
        *("'2000-01-01 00:00:00.000001'", "'2000-01-01 01:11:34.967296'"),
    ),
    Case("times whose halves add up alike", "time", "'00:00:00.000001'", "'01:11:34.967296'"),
    Case("interval", "interval", "'1 day 1 us'", "'1 day'"),
    Case("interval of a day or of hours", "interval", "'1 day'", "'24:00'"),
    Case("interval of a month or of days", "interval", "'1 month'", "'30 days'"),
    Case("interval negative", "interval", "'-1 mon +3 days'", "'-1 mon -3 days'"),
    Case("uuid", "uuid", "'00000000-0000-0000-0000-000000000001'", "'00000000-0000-0000-0000-000000000002'"),
    Case("json by its blanks", "json", """'{"a":1}'""", """'{"a": 1}'"""),
    Case("json by its order", "json", """'{"a":1,"b":2}'""", """'{"b":2,"a":1}'"""),
    Case("jsonb", "jsonb", """'{"a":1}'""", """'{"a":2}'"""),
    Case("jsonb by a number's scale", "jsonb", """'{"a":1.0}'""", """'{"a":1.00}'"""),
    Case("jsonb null against null", "jsonb", "'null'", "null"),
    Case("jsonpath", "jsonpath", "'$.a'", "'$.b'"),
    Case("xml", "xml", "'<a>1</a>'", "'<a>2</a>'", only15=True),
    Case("bit", "bit(4)", "b'1010'", "b'1011'"),
    Case("varbit by its length", "bit varying", "b'0'", "b'00'"),
    Case("inet", "inet", "'10.0.0.1/8'", "'10.0.0.1'"),
    Case("inet of version 6", "inet", "'::1'", "'::2'"),
    Case("cidr", "cidr", "'10.0.0.0/8'", "'10.0.0.0/9'"),
    Case("macaddr", "macaddr", "'08:00:2b:01:02:03'", "'08:00:2b:01:02:04'"),
    Case("macaddr8", "macaddr8", "'08:00:2b:01:02:03:04:05'", "'08:00:2b:01:02:03:04:06'"),
    Case("point", "point", "'(1,2)'", "'(2,1)'"),
    Case("point negative zero", "point", "'(0,0)'", "'(-0,0)'"),
    Case("line", "line", "'{1,2,3}'", "'{1,2,4}'"),
    Case("segment", "lseg", "'[(0,0),(1,1)]'", "'[(1,1),(0,0)]'"),
    Case("box", "box", "'(1,1),(0,0)'", "'(1,2),(0,0)'"),
    Case("path", "path", "'[(0,0),(1,1)]'", "'((0,0),(1,1))'"),
    Case("polygon", "polygon", "'((0,0),(1,1),(1,0))'", "'((1,1),(1,0),(0,0))'"),
    Case("circle", "circle", "'<(0,0),1>'", "'<(0,0),2>'"),
    Case("tsvector", "tsvector", "'a:1 b:2'", "'a:2 b:1'"),
    Case("tsquery", "tsquery", "'a & b'", "'a | b'"),
    Case("array", "int[]", "'{1,2}'", "'{2,1}'"),
    Case("array by its dimensions", "int[]", "'{1,2}'", "'{{1},{2}}'"),
    Case("array by its bounds", "int[]", "'{1,2}'", "'[0:1]={1,2}'"),
    Case("array of null", "text[]", "'{NULL}'", """'{"NULL"}'"""),
    Case("empty array against null", "int[]", "'{}'", "null"),
    Case("array of numeric by scale", "numeric[]", "'{1.0}'", "'{1.00}'"),
    Case("array of json", "json[]", """array['{"a":1}'::json]""", """array['{"a": 1}'::json]"""),
    Case("enum", "mood", "'sad'", "'happy'"),
    Case("array of enum", "mood[]", "'{sad,ok}'", "'{ok,sad}'"),
    Case("domain", "positive", "1", "2"),
    Case("domain of numeric by scale", "price", "1.0", "1.00"),
    Case("domain of a domain by scale", "list_price", "1.0", "1.00"),
    Case("array of a domain by scale", "price[]", "'{1.0}'", "'{1.00}'"),
    Case("domain of an array of enum", "moods", "'{sad}'", "'{ok}'"),
    Case("domain of an enum", "a_mood", "'sad'", "'ok'"),
    Case("composite", "point3", "(1, 2, 'z')", "(1, 2, 'Z')"),
    Case("composite by a scale in it", "point3", "(1, 2.0, 'z')", "(1, 2.00, 'z')"),
    Case("composite with null against empty", "point3", "(1, 2, null)", "(1, 2, '')"),
    Case("composite of nulls against null", "point3", "(null, null, null)", "null"),
    Case("composite in a composite", "nested", *("('n', (1, 2.0, 'z'), '{a}')", "('n', (1, 2.00, 'z'), '{a}')")),
    Case("domain of a composite", "a_point", "(1, 2.0, 'z')::point3", "(1, 2.00, 'z')::point3"),
    Case("array of composites", "point3[]", "array[(1, 2.0, 'z')::point3]", "array[(1, 2.00, 'z')::point3]"),
    Case("range", "int4range", "'[1,5)'", "'[1,6)'"),
    Case("range by its bounds", "numrange", "'[1,5)'", "'[1,5]'"),
    Case("range by a scale in it", "numrange", "'[1.0,5)'", "'[1.00,5)'"),
    Case("range empty against unbounded", "tsrange", "'empty'", "'(,)'"),
    Case("range of one's own", "span", "'[1.0,2)'", "'[1,2)'"),
    Case("multirange", "int4multirange", "'{[1,2),[5,6)}'", "'{[1,6)}'"),
    Case("multirange by a scale in it", "nummultirange", "'{[1.0,2)}'", "'{[1.00,2)}'"),
    Case("table's name", "regclass", """'"a table"'""", "'named_otherwise'"),
    Case("function's name", "regproc", "'twice'", "'thrice'"),
    Case("function's signature", "regprocedure", "'twice(int)'", "'thrice(int)'"),
    Case("type's name", "regtype", "'mood'", "'point3'"),
    Case(
        "array of table names", "regclass[]", """array['"a table"'::regclass]""", "array['named_otherwise'::regclass]"
    ),
    Case("oid", "oid", "1", "4294967295"),
    Case("log position", "pg_lsn", "'0/1'", "'1/0'"),
    Case("snapshot", "pg_snapshot", "'10:20:10,14'", "'10:20:10,15'"),
    Case("row's place", "tid", "'(0,1)'", "'(1,0)'"),
    Case("case-insensitive text", "citext", "'A'", "'a'", only15=True),
    Case("domain of case-insensitive text", "email", "'A'", "'a'", only15=True),
    Case("array of case-insensitive text", "citext[]", "array['A'::citext]", "array['a'::citext]", only15=True),
    Case("text of a nondeterministic collation", "text collate loose", "'A'", "'a'", only15=True),
    Case("domain of that collation", "loose_text", "'A'", "'a'", only15=True),
    Case("hstore", "hstore", "'a=>1'", "'a=>2'", only15=True),
]
ROWS = """
create table swapped (id int primary key, a text, b text);
create table null_moved (id int primary key, a int, b int);
create table exchanged (id int primary key, a text);
create table exchanged_by_two (a text, b int, c text, primary key (a, b));
create table doubled (a int, b text);
create table missing (id int primary key, a text);
create table extra (id int primary key, a text);
create table all_null (id int primary key, a text, b int);
create table no_column ();
create table plain (a int, b text);
"""
HERE = """
insert into swapped values (1, 'x', 'y'); insert into null_moved values (1, 7, null);
insert into exchanged select i, 'v' || i from generate_series(1, 100) i;
insert into exchanged_by_two select 'k', i, 'v' || i from generate_series(1, 100) i;
insert into doubled values (1, 'x'), (2, null); insert into missing values (1, 'x'), (2, 'y');
insert into extra values (1, 'x'); insert into all_null values (1, null, null);
insert into no_column default values;
insert into plain values (1, 'x'), (1, 'x'), (1, null), (1, null), (2, '')
"""
THERE = """
insert into swapped values (1, 'y', 'x'); insert into null_moved values (1, null, 7);
insert into exchanged select i, 'v' || case i when 17 then 71 when 71 then 17 else i end from generate_series(1, 100) i;
insert into exchanged_by_two
    select 'k', i, 'v' || case i when 17 then 71 when 71 then 17 else i end from generate_series(1, 100) i;
insert into doubled values (1, 'x'), (1, 'x'), (2, null); insert into missing values (1, 'x');
insert into extra values (1, 'x'), (2, 'y'); insert into all_null values (2, null, null);
insert into no_column default values; insert into no_column default values;
insert into plain values (1, null), (1, 'x'), (2, ''), (1, 'x'), (1, null)
"""
ELSEWHERE = """
create type moved as enum ('a', 'b'); create table moved_too (id int); drop table moved_too;
alter database {0} set datestyle = 'German'; alter database {0} set intervalstyle = 'sql_standard';
alter database {0} set timezone = 'Asia/Kolkata'; alter database {0} set extra_float_digits = -2;
alter database {0} set bytea_output = 'escape'; alter database {0} set quote_all_identifiers = on;
"""
"""oids are others, and so are the settings."""
PLANTED = [
    ("swapped", ("(1)",)),
    ("null_moved", ("(1)",)),
    ("exchanged", ("(17)", "(71)")),
    ("exchanged_by_two", ("(k,17)", "(k,71)")),
    ("doubled", ("(1,x)",)),
    ("missing", ("(2)",)),
    ("extra", ("(2)",)),
    ("all_null", ("(1)", "(2)")),
    ("no_column", ()),
]
PAIRS = [(16, 18), (15, 18), (15, 15)]


class Compared(NamedTuple):
    """`cases`: those that both servers have. The keys of table `planted` are their numbers."""

    cases: list[Case]
    tables: dict[str, TableReport]


@pytest.fixture(scope="module")
def pairs(postgres15: Postgres | None, postgres16: Postgres, postgres18: Postgres) -> dict[Any, Compared]:
    """Every pair of versions compared once, with all types in it."""
    servers = {15: postgres15, 16: postgres16, 18: postgres18}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(import_module("tidegate.postgres.verify.compare"), "SHOWN", len(CASES))
        return {
            pair: compared(servers[pair[0]], servers[pair[1]], pair == (15, 15))
            for pair in PAIRS
            if servers[pair[0]] and servers[pair[1]]
        }


def compared(owner: Postgres, follower: Postgres, everything: bool) -> Compared:
    cases = [case for case in CASES if everything or not case.only15]
    sides = []
    for side, server in (("aws", owner), ("azure", follower)):
        name = f"types_{side}"
        server.psql("postgres", f"drop database if exists {name}")
        sides.append(
            Server("types", side, DatabaseServer(dsn=server.create_database(name), password=server.password_ref))
        )
        with psycopg.connect(server.full_dsn(name)) as connection:
            if side == "azure":
                connection.execute(ELSEWHERE.format(name).encode())
            script = [TYPES, ONLY_15 * everything, ROWS, HERE if side == "aws" else THERE, *tables(cases, side)]
            connection.execute("; ".join(script).encode())
    report = asyncio.run(compare(sides[0], sides[1], None, lambda text: None))
    return Compared(cases, {table.name.removeprefix("public."): table for table in report.tables})


def tables(cases: list[Case], side: str) -> Iterator[str]:
    """A column for each type; in `same` and in `planted` a row for each case."""
    columns = ", ".join(f"v{number} {case.type}" for number, case in enumerate(cases))
    yield f"create table same (id int primary key, {columns}); create table planted (like same including all)"
    for number, case in enumerate(cases):
        different = case.value if side == "aws" else case.different
        yield f"insert into same (id, v{number}) values ({number}, {case.value})"
        yield f"insert into planted (id, v{number}) values ({number}, {different})"


def of(pairs: dict[Any, Compared], pair: tuple[int, int]) -> Compared:
    if pair not in pairs:
        pytest.skip(NO_15)
    return pairs[pair]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_difference_in_a_value_is_found_in_each_type_and_between_all_versions(pairs, case):
    if case.only15 and (15, 15) not in pairs:
        pytest.skip(NO_15)
    for pair, found in pairs.items():
        if case in found.cases:
            assert f"({found.cases.index(case)})" in found.tables["planted"].differing, pair


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_equal_values_of_all_types_are_equal_between_versions(pairs, pair):
    found = of(pairs, pair)
    assert found.tables["same"].difference == ""
    assert found.tables["same"].rows == len(found.cases)
    assert found.tables["plain"].equal


@pytest.mark.parametrize(("table", "keys"), PLANTED)
@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_rows_that_are_missing_extra_doubled_or_mixed_up_are_found(pairs, pair, table, keys):
    found = of(pairs, pair).tables[table]
    assert not found.equal
    assert found.differing == keys
