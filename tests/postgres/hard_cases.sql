-- What databases hold that copies stumble on. {app} and {owner} are roles.
create role {owner} nologin;
create role {app} login password 'app';
grant {owner} to current_user;
create schema hard authorization {owner};
create schema "Scháma ""q"" %s";
comment on schema hard is 'a schema''s comment';
grant usage on schema hard to {app};
alter default privileges for role {owner} in schema hard grant select on tables to {app};
alter default privileges for role {owner} grant execute on functions to {app};
set role {owner};
set search_path = hard, public;

-- types
create type mood as enum ('sad', 'o''k', 'happy');
create domain positive as int default 7 constraint "is > 0" check (value > 0);
create type address as (street text, zip positive);
create type span as range (subtype = numeric, multirange_type_name = spans);
create collation plain_c (locale = 'C');
comment on collation plain_c is 'bytes';
comment on type mood is 'how';
comment on domain positive is 'more than none';
comment on constraint "is > 0" on domain positive is 'why';
create table typed (
    id bigserial primary key, m mood, p positive, a address, s span, ss spans, ints int[], texts text[][], moods mood[],
    addresses address[], b bytea, j json, jb jsonb, n numeric, f8 float8, f4 float4, ts timestamp, tz timestamptz,
    d date, iv interval, u uuid, ip inet, bits varbit, money money, c char(10) collate plain_c, f text,
    v tsvector, at point);
insert into typed (m, p, a, s, ss, ints, texts, moods, addresses, b, j, jb, n, f8, f4, ts, tz, d, iv, ip, bits, money, c, f,
    v, at) values
    ('o''k', 1, '("x y",3)', '[1.0,5.00)', '{{[1,2),[3,4)}}', '{{1,null,3}}', '{{{{a,"b,c"}},{{"\"q",null}}}}', '{{sad,happy}}',
     array[row('é', 1)::address], '\x00ff', '{{"z":1, "a" :2}}', '{{"a":1.0}}', 'NaN', 'NaN', '-0', 'infinity', '-infinity',
     'infinity', '1 mon -3 days', '::1', '1010', '$1,000.10', 'pad', 'MiXed', 'a b', '(1,2)'),
    (null, null, '(,)', 'empty', '{{}}', '[5:7]={{1,2,3}}', null, '{{}}', null, '', 'null', 'null', '-Infinity', '-0',
     'Infinity', '4713-01-01 00:00 BC', '294276-12-31 23:59:59.999999+00', '4713-01-01 BC', '-178000000 years',
     '10.0.0.1/8', '', '-$1', '', '', '', null);

-- identifiers
create table "Schäma ""q""" ("Spalte %s" int, "sélect" text, "a b" int, constraint "Schlüssel ""p""" primary key ("Spalte %s"),
    constraint "Eins; drop" unique ("a b", "sélect"));
insert into "Schäma ""q""" select i, 'Zeile ' || i, i from generate_series(1, 50) i;
create index "Größe" on "Schäma ""q""" (("sélect" || '?'));
create index "two
lines" on "Schäma ""q""" ("a b" desc nulls last) where "a b" > 3;
comment on table "Schäma ""q""" is E'it''s\nhere';
comment on column "Schäma ""q"""."Spalte %s" is '100 %';
comment on index "Größe" is 'an index';
comment on index "two
lines" is 'two';
comment on constraint "Eins; drop" on "Schäma ""q""" is 'a constraint';

-- partitions
create table events (id bigint generated always as identity, at date not null, kind int not null, what text,
    constraint events_key primary key (id, at, kind)) partition by range (at);
create table events_24 partition of events for values from ('2024-01-01') to ('2025-01-01');
create table events_25 partition of events for values from ('2025-01-01') to ('2026-01-01') partition by list (kind);
create table events_25_one partition of events_25 for values in (1) partition by hash (id);
create table events_25_one_a partition of events_25_one for values with (modulus 2, remainder 0);
create table events_25_one_b partition of events_25_one for values with (modulus 2, remainder 1);
create table events_25_rest partition of events_25 default;
create table events_empty partition of events for values from ('2030-01-01') to ('2031-01-01');
create table events_rest partition of events default;
create index events_what on events (what);
create index events_24_alone on events_24 (kind);
create unique index events_at on only events (at, kind, id);
create unique index events_24_at on events_24 (at, kind, id);
alter index events_at attach partition events_24_at;
comment on index events_what is 'of all';
insert into events (at, kind, what) select '2024-01-01'::date + i % 900, i % 4, 'w' || i from generate_series(1, 3000) i;
create table late (id int, constraint late_key primary key (id) deferrable initially deferred) partition by range (id);
create table late_all partition of late default;
create table hollow (id int primary key) partition by list (id);

-- keys
create table booked (id int, room int4range, during daterange, constraint booked_key primary key (id) include (during),
    constraint booked_apart exclude using gist (room with &&, during with &&) deferrable);
comment on constraint booked_apart on booked is 'apart';
insert into booked values (1, '[1,3)', '[2025-01-01,2025-01-05)'), (2, '[1,3)', '[2025-01-05,2025-01-06)');
create table several (a int not null, b int not null, c int, d text, constraint several_a unique (a) with (fillfactor = 70),
    constraint several_c unique nulls not distinct (c), constraint several_key primary key (b) deferrable initially immediate);
create unique index several_identity on several (a, b);
create index several_expression on several (lower(d), (a + b)) include (c) with (fillfactor = 60);
alter index several_expression alter column 1 set statistics 500;
alter table several replica identity using index several_identity;
alter table several cluster on several_a;
create index several_d on several using hash (d);
create index several_brin on several using brin (a) with (pages_per_range = 8);
insert into several select i, i, nullif(i, 5), 'd' || i % 7 from generate_series(1, 200) i;
create statistics several_together (ndistinct, dependencies, mcv) on a, d from several;
alter statistics several_together set statistics 50;
comment on statistics several_together is 'together';
alter table several alter d set statistics 400, alter d set storage external, alter d set compression pglz;
create table twin (id int primary key, other int not null unique);
alter table twin replica identity full;
create table ones (id int primary key, two int not null);
create table twos (id int primary key, one int not null);
insert into ones values (1, 2); insert into twos values (2, 1);
alter table ones add constraint ones_two foreign key (two) references twos deferrable initially deferred;
alter table twos add constraint twos_one foreign key (one) references ones on delete cascade not valid;
create table folder (id int primary key, parent int references folder);
insert into folder values (1, 1), (2, 1);
create table noted (id bigint, at date, kind int, foreign key (id, at, kind) references events deferrable);

-- columns
create table made (id int generated by default as identity (start 10 increment 5) primary key, net numeric not null,
    gross numeric generated always as (net * 1.19) stored unique);
insert into made (net) select i from generate_series(1, 20) i;
create table bare ();
insert into bare select from generate_series(1, 3);
create table dropped (gone int, a int primary key, went text, b text default 'x');
insert into dropped values (1, 1, 'w'), (2, 2, 'w');
alter table dropped drop column gone, drop column went, add column c int default 42;
create table nothing (gone int);
insert into nothing values (1), (2);
alter table nothing drop column gone;
create table big (id int primary key, body text);
insert into big select i, repeat(md5(i::text), 3000) from generate_series(1, 60) i;

-- inheritance
create table base (id int primary key, what text check (what <> '')) with (fillfactor = 80, autovacuum_enabled = false);
create table child (more int, unique (id)) inherits (base);
insert into base values (1, 'base'); insert into child values (1, 'child', 2), (3, 'child', 4);

-- rules, triggers, policies, functions
create function careless() returns bigint language plpgsql stable as $$ begin return (select count(*) from folder); end $$;
create function careless_sql() returns bigint language sql stable as 'select count(*) from folder';
create function touch() returns trigger language plpgsql as $$ begin new.what := 'touched'; return new; end $$;
create procedure nothing_much(inout a int) language sql as 'select a';
create aggregate product (int) (sfunc = int4mul, stype = int, initcond = '1');
create operator === (leftarg = text, rightarg = text, function = pg_catalog.texteq);
create text search configuration plain (copy = simple);
comment on function careless() is 'fails under an empty search_path';
comment on procedure nothing_much is 'p';
comment on aggregate product (int) is 'times';
comment on operator === (text, text) is 'is';
create trigger touched before insert or update on base for each row execute function touch();
comment on trigger touched on base is 'a trigger';
alter table child enable row level security, force row level security;
create policy own on child for select to {app} using (more > 2);
comment on policy own on child is 'a policy';
create rule quiet as on insert to folder where new.id < 0 do instead nothing;
comment on rule quiet on folder is 'a rule';

-- views
create view seen with (security_barrier) as select id, what from base where id > 0 with local check option;
create materialized view zz_counts as select kind, count(*) as n from events group by 1;
create unique index on zz_counts (kind);
create materialized view "A sum" as select sum(n) as s from zz_counts;
create materialized view unfilled as select 1 as n with no data;
comment on view seen is 'v';
comment on column seen.id is 'c';
comment on materialized view "A sum" is 'mv';

-- sequences, grants
create sequence loose increment by -5 minvalue -1000 maxvalue 5 start -5 cache 20 cycle;
select nextval('loose');
comment on sequence loose is 's';
grant select, update (what) on base to {app};
grant all on sequence loose to {app} with grant option;
revoke execute on function careless() from public;
grant usage on type mood to public;
grant execute on procedure nothing_much to {app};

-- large objects
select lo_from_bytea(i::oid, convert_to(repeat('large ' || i, i % 1000), 'UTF8')) from generate_series(900001, 900003) i;
select lo_from_bytea(900010, ''), lo_from_bytea(900011, '\x00'), lo_put(900011, 3000000, '\x0102');
comment on large object 900001 is 'it''s large';
grant select, update on large object 900002 to {app};
grant select on large object 900003 to {app} with grant option;
reset role;
select lo_from_bytea(900020, '\xff');

create function public.told() returns event_trigger language plpgsql as $$ begin raise debug 'told'; end $$;
create event trigger telling on ddl_command_end when tag in ('CREATE TABLE') execute function public.told();
comment on event trigger telling is 'et';
create table public.plain (id int primary key);
create cast (hard.mood as int) with inout;
analyze;
