"""A database of about 1 GB, generated inside its server: one large table, and what else databases are made of."""

from tidegate.lab.servers.postgres import Postgres

__all__ = ["generate"]

MAIN_ROWS = 5_000_000
SMALL_TABLES = 150

SCHEMA = """
create schema bank;
create table bank.accounts (aid bigint not null, bid int, abalance int, filler char(64));
create table bank.history (tid int, bid int, aid bigint, delta int, mtime timestamptz, note text);
create table bank.documents (id uuid not null default gen_random_uuid(), body jsonb not null, at timestamptz);
create table bank.wide (id bigint not null, {columns});
create sequence bank.tickets;
"""
ROWS = """
select setseed(0.5);
insert into bank.accounts select i, 1 + i % 50, (i::bigint * 7919) % 100000, 'account ' || i
    from generate_series(1, {main}) i;
insert into bank.history select 1 + i % 500, 1 + i % 50, 1 + (i::bigint * 7919) % {main}, i % 5000,
    '2025-01-01'::timestamptz + i * interval '7 s', md5(i::text) from generate_series(1, {history}) i;
insert into bank.documents (body, at) select jsonb_build_object('id', i, 'name', 'name ' || i, 'tags',
        jsonb_build_array(md5(i::text), md5((i + 1)::text)), 'total', i / 7.0, 'nested', jsonb_build_object('a', i % 10,
        'text', repeat(md5((i % 1000)::text), 8))), '2025-01-01'::timestamptz + i * interval '1 min'
    from generate_series(1, {documents}) i;
insert into bank.wide select i, {values} from generate_series(1, {wide}) i;
"""
KEYS = """
alter table bank.accounts add primary key (aid);
create index on bank.accounts (bid);
alter table bank.history add column id bigserial primary key;
create index on bank.history (aid);
create index on bank.history (mtime);
alter table bank.documents add primary key (id);
create index on bank.documents using gin (body jsonb_path_ops);
alter table bank.wide add primary key (id);
"""
SMALL = """
do $$ begin for n in 1..{count} loop
    execute format('create table bank.small_%s (id int primary key, code text not null unique, n numeric)', n);
    execute format('insert into bank.small_%s select i, ''c'' || i, i / 3.0 from generate_series(1, {rows}) i', n);
end loop; end $$;
"""


def generate(server: Postgres, database: str, scale: float) -> None:
    """`scale` 1: 5 million rows in the main table, about 1 GB with its indexes."""
    server.create_database(database)
    texts = range(1, 21)
    columns = ", ".join([f"t{n} text, n{n} numeric(12, 2), d{n} date" for n in texts])
    values = ", ".join(
        [f"'value ' || i % {n * 50}, i / {n}.0, '2025-01-01'::date + (i % {n * 30})::int" for n in texts]
    )
    counts = {
        "main": int(MAIN_ROWS * scale),
        "history": int(800_000 * scale),
        "documents": int(120_000 * scale),
        "wide": int(120_000 * scale),
    }
    server.psql(database, SCHEMA.format(columns=columns))
    server.psql(database, ROWS.format(values=values, **counts))
    server.psql(database, KEYS)
    server.psql(database, SMALL.format(count=SMALL_TABLES, rows=max(1, int(200 * scale))))
    server.psql(database, "vacuum analyze")
