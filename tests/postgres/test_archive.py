"""A database backed up from 16 and restored to 18, whatever happens on the way."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from unittest.mock import ANY

import psycopg
import pytest

from tidegate.errors import CheckFailed, InvalidMigration, LocalFault, Refused
from tidegate.postgres.archive import backup as backing
from tidegate.postgres.archive import pieces, workplace
from tidegate.postgres.archive import restore as restoring
from tidegate.postgres.archive.backup import backup
from tidegate.postgres.archive.check import check
from tidegate.postgres.archive.hashes import table_hashes
from tidegate.postgres.archive.key import Key
from tidegate.postgres.archive.manifest import MANIFEST, Manifest, read_manifest
from tidegate.postgres.archive.restore import RestoreReport, compare_restored, open_restored, restore
from tidegate.postgres.archive.target import take_back
from tidegate.postgres.archive.vault import FolderVault
from tidegate.postgres.bookkeeping import Names
from tidegate.postgres.server import Server
from tidegate.runbook.migration import DatabaseServer

HARD = """
create role "Owner {tag}" nologin;
create role "app {tag}" login password 'app';
grant "Owner {tag}" to current_user;
create schema "My ""S""hop" authorization "Owner {tag}";
set role "Owner {tag}";
set search_path = "My ""S""hop";
create type "Mood" as enum ('glad', 'sad');
create domain "Grüße" as text check (length(value) < 50);
create table "Käufer" (
    id bigint generated always as identity primary key, "select" "Grüße", mood "Mood" default 'glad',
    born timestamptz default '0044-03-15 12:00 BC', price numeric, rate float8, tags text[], doc jsonb,
    twice numeric generated always as (price * 2) stored, span int4range, secret text);
create table orders (id bigserial, customer bigint references "Käufer", at date not null, gone int,
    primary key (id, at)) partition by range (at);
create table orders_2025 partition of orders for values from ('2025-01-01') to ('2026-01-01') partition by hash (id);
create table orders_2025_0 partition of orders_2025 for values with (modulus 2, remainder 0);
create table orders_2025_1 partition of orders_2025 for values with (modulus 2, remainder 1);
create table orders_rest partition of orders default;
alter table orders drop column gone;
create table nothing ();
create table twins (a int, b float8);
create unlogged table cache (k text primary key, v bytea);
create sequence numbers increment -3 maxvalue 100 start 100 cache 5;
create table "with.dot" (id int primary key, exclude using gist (span with &&), span int4range);
create materialized view sums as select customer, count(*) from orders group by 1;
grant usage on schema "My ""S""hop" to "app {tag}";
grant select, insert, update on all tables in schema "My ""S""hop" to "app {tag}";
insert into "Käufer" ("select", price, rate, tags, doc, span, secret)
    select 'c' || i, i * 1.10,
    (case i % 4 when 0 then 'NaN' when 1 then '-0' when 2 then 'Infinity' else i::text end)::float8,
    array['a', null, i::text], '{{"n": 1.0}}', int4range(i, i + 5), 'a row that nobody may read'
    from generate_series(1, 2000) i;
insert into orders (customer, at) select 1 + i % 2000, '2024-06-01'::date + i % 800 from generate_series(1, 5000) i;
insert into nothing select from generate_series(1, 3);
insert into twins select i % 3, '-0'::float8 from generate_series(1, 30) i;
insert into cache select 'k' || i, decode(md5(i::text), 'hex') from generate_series(1, 50) i;
insert into "with.dot" select i, int4range(i * 10, i * 10 + 5) from generate_series(1, 50) i;
refresh materialized view sums;
select nextval('numbers') from generate_series(1, 7);
select lo_from_bytea(0, convert_to(repeat('large ' || i, 1 + i * 90000), 'utf8')) from generate_series(1, 3) i;
reset role;
analyze;
"""


def quiet(*_: object) -> None:
    pass


SILENT = {"note": quiet, "progress": quiet}


CLEAN = """
drop schema if exists tidegate, public, "My ""S""hop" cascade; create schema public;
select lo_unlink(oid) from pg_largeobject_metadata
"""


class Journey:
    """From a database on 16 through a vault of a test's own to an empty one on 18."""

    def __init__(self, aws, azure, tag: str, folder: Path) -> None:
        self.tag = tag
        self.servers = {"aws": aws, "azure": azure}
        self.sides = {
            cloud: Server("shop", cloud, DatabaseServer(dsn=server.dsn(tag), password=server.password_ref))
            for cloud, server in self.servers.items()
        }
        self.key, self.names = Key(secrets.token_bytes(32)), Names("run-1", "shop")
        self.folder, self.vault = folder / "work", FolderVault(folder / "vault")

    async def backup(self, key: Key | None = None, run: str = "run-1", **how) -> Manifest:
        how = {"folder": self.folder, "major": 18, **SILENT} | how
        return await backup(self.sides["aws"], Names(run, "shop"), self.vault, key or self.key, **how)

    async def restore(self, key: Key | None = None, run: str = "run-1", **how) -> RestoreReport:
        how = {"folder": self.folder, "passwords": {}, **SILENT} | how
        return await restore(self.vault, self.sides["azure"], Names(run, "shop"), key or self.key, **how)

    async def check(self, key: Key | None = None):
        return await check(self.vault, key or self.key, **SILENT)

    async def damages(self) -> dict[str, str]:
        return {damage.name: damage.what for damage in (await self.check()).damages}

    def stored(self, manifest: Manifest, file: str = "") -> Path:
        """In the vault; without a name the largest file."""
        return self.vault.folder / next(piece.name for piece in manifest.files if piece.file.startswith(file))

    def query(self, cloud: str, query: str) -> list[list[str]]:
        return [line.split("\t") for line in self.servers[cloud].psql(self.tag, query).splitlines()]

    def is_untouched(self) -> bool:
        """No trace of anybody's on the target."""
        query = """select (select count(*) from pg_class where oid >= 16384) + (select count(*) from
            pg_largeobject_metadata) + (select count(*) from pg_namespace where oid >= 16384 and nspname <> 'public')"""
        return self.query("azure", query) == [["0"]]

    async def close(self) -> None:
        """The target as it was: another database for each test would take longer than the tests."""
        for side in self.sides.values():
            await side.close()
        self.query("azure", CLEAN)
        for role in (f"app {self.tag}", f"Owner {self.tag}"):
            self.query("azure", f'drop role if exists "{role}"')


def _databases(aws, azure) -> str:
    """Their name."""
    name = secrets.token_hex(4)
    for server in (aws, azure):
        server.create_database(name)
    return name


@pytest.fixture(scope="module")
def small(postgres16, postgres18) -> str:
    return _databases(postgres16, postgres18)


@pytest.fixture(scope="module")
def large(postgres16, postgres18) -> str:
    name = _databases(postgres16, postgres18)
    postgres16.psql(name, HARD.format(tag=name))
    return name


@pytest.fixture
async def journey(postgres16, postgres18, small, tmp_path) -> AsyncIterator[Journey]:
    journey = Journey(postgres16, postgres18, small, tmp_path)
    journey.query(
        "aws",
        f"""{CLEAN}; create table small (id int primary key, what text);
        insert into small select i, 'what ' || i from generate_series(1, 100) i""",
    )
    yield journey
    await journey.close()


@pytest.fixture
async def hard(postgres16, postgres18, large, tmp_path) -> AsyncIterator[Journey]:
    journey = Journey(postgres16, postgres18, large, tmp_path)
    yield journey
    await journey.close()


def flip(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


async def test_everything_arrives_and_is_proved_table_by_table(hard, monkeypatch):
    monkeypatch.setattr(pieces, "PIECE", 2**14)  # files in several pieces
    manifest = await hard.backup()
    assert (await hard.check()).whole
    report = await hard.restore()
    assert report.wrong == []
    assert {table.name: table.found.rows for table in report.tables} == {
        '"My ""S""hop"."Käufer"': 2000,
        '"My ""S""hop".orders': 5000,
        '"My ""S""hop".nothing': 3,
        '"My ""S""hop".twins': 30,
        '"My ""S""hop".cache': 50,
        '"My ""S""hop"."with.dot"': 50,
        "large objects": 3,
    }
    assert len(manifest.files) > len({piece.file for piece in manifest.files})
    assert (manifest.run, manifest.store, manifest.version // 10_000) == ("run-1", "shop", 16)
    for query in (
        """select last_value, is_called from "My ""S""hop".numbers""",
        """select sum(length(lo_get(oid))) from pg_largeobject_metadata""",
        """select count(*), sum(count) from "My ""S""hop".sums""",
        """select count(*), sum(twice) from "My ""S""hop"."Käufer" where twice = price * 2""",
    ):
        assert hard.query("azure", query) == hard.query("aws", query)
    assert not list(hard.folder.rglob("*.gz"))


async def test_roles_come_along_and_are_opened_when_they_are_told_to(hard, monkeypatch):
    monkeypatch.setenv("APP_PASSWORD", "other")
    await hard.backup()
    await hard.restore(passwords={f"app {hard.tag}": "env:APP_PASSWORD"})
    login = f"select rolcanlogin from pg_roles where rolname = 'app {hard.tag}'"
    assert hard.query("azure", login) == [["f"]]
    await open_restored(hard.sides["azure"], hard.names)
    assert hard.query("azure", login) == [["t"]]
    assert hard.query("azure", "select to_regnamespace('tidegate') is null") == [["t"]]
    with pytest.raises(Refused, match="isn't empty"):
        await hard.restore()


async def test_of_a_fenced_source_comes_what_it_was_before_the_fence(shop, make_fenced, tmp_path):
    grants = """select c.relname, coalesce(c.reloptions::text, ''), array(select concat(a.grantee::regrole,
            a.privilege_type, a.is_grantable) from aclexplode(c.relacl) a where a.grantee <> c.relowner order by 1)
        from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'sales' order by 1"""
    before = shop.query("aws", grants)
    key, vault = Key(secrets.token_bytes(32)), FolderVault(tmp_path / "vault")
    move = shop.move()
    async with make_fenced(move):
        assert shop.query("aws", grants) != before
        await backup(move.aws, move.names, vault, key, folder=tmp_path, major=18, **SILENT)
    report = await restore(vault, move.azure, move.names, key, folder=tmp_path, passwords={}, **SILENT)
    assert report.wrong == []
    await open_restored(move.azure, move.names)
    assert shop.query("azure", grants) == before
    assert shop.query("azure", f"select rolcanlogin from pg_roles where rolname = '{shop.app}'") == [["t"]]


@pytest.fixture
def make_fenced():
    import time
    from contextlib import asynccontextmanager

    from tidegate.postgres.bookkeeping import ensure_bookkeeping
    from tidegate.postgres.fence import Fence
    from tidegate.postgres.rights import give_back
    from tidegate.postgres.vacuum import still_vacuum, vacuum_again

    @asynccontextmanager
    async def fenced(move):
        await ensure_bookkeeping(move.aws, move.names)
        fence = Fence(move.aws)
        async with move.aws.session() as control:
            await still_vacuum(control)
            await fence.close(control, time.monotonic() + 10)
            try:
                yield
            finally:
                await give_back(control)
                await fence.open()
                await vacuum_again(control)

    return fenced


async def test_the_vault_holds_nothing_in_plain_text(hard):
    manifest = await hard.backup()
    everything = b"".join(file.read_bytes() for file in hard.vault.folder.iterdir())
    for known in (b"a row that nobody may read", b"CREATE TABLE", b"hop", b"run-1", b"PGDMP", b"\x1f\x8b\x08"):
        assert known not in everything
    for plain in (hard.key.secret, hard.key.secret.hex().encode(), hard.tag.encode()):
        assert plain not in everything
    assert len(everything) > manifest.size


async def test_a_difference_planted_after_the_restore_is_found(hard):
    manifest = await hard.backup()
    await hard.restore()
    hard.query(
        "azure",
        """set search_path = "My ""S""hop"; update "Käufer" set price = 1.100 where id = 1;
        delete from orders where id = 7; insert into nothing select; create table extra (); drop table cache;
        update twins set b = 0 where ctid = (select min(ctid) from twins);
        select lo_put(oid, 5, 'x') from pg_largeobject_metadata limit 1; select setval('numbers', 100, false)""",
    )
    report = await compare_restored(hard.sides["azure"], manifest, **SILENT)
    assert report.behind == ('"My ""S""hop".numbers',)
    assert {table.name: table.verdict for table in report.tables} == {
        '"My ""S""hop"."Käufer"': "different",
        '"My ""S""hop".orders': "different",
        '"My ""S""hop".nothing': "different",
        '"My ""S""hop".twins': "different",
        '"My ""S""hop".cache': "missing",
        '"My ""S""hop".extra': "unexpected",
        '"My ""S""hop"."with.dot"': "equal",
        "large objects": "different",
    }
    with pytest.raises(CheckFailed, match=r"numbers is behind|is different"):
        report.require_equal("azure")


async def test_what_looks_alike_or_only_changes_places_is_told_apart(journey):
    journey.query(
        "aws",
        """create type mood as enum ('glad', 'sad');
        create table mixed (id bigint, at timestamptz, long interval, n numeric, f float8, place int, tags int[],
            doc json, mood mood, what text);
        insert into mixed select i, '2025-01-01', '1 day', 1.0, 0, i, '{1}', '{"n": 1}', 'glad', ''
            from generate_series(1, 2) i""",
    )
    seen = {await _hash_of(journey, "public.mixed")}
    changes = (
        *("id = id + 4294967296 where id = 1", "at = at + interval '1 microsecond' where id = 2"),
        *("long = '24 hours' where id = 2", "n = 1.00 where id = 2", "f = '-0' where id = 2", "place = 3 - place"),
        *("tags = '[0:0]={1}' where id = 2", """doc = '{"n":1}' where id = 2""", "mood = 'sad' where id = 2"),
        *("what = null where id = 2", "what = ' ' where id = 2", "f = 'NaN' where id = 2"),
    )
    for number, change in enumerate(changes, 2):
        journey.query("aws", f"update mixed set {change}")
        seen.add(await _hash_of(journey, "public.mixed"))
        assert len(seen) == number, change


async def _hash_of(journey: Journey, table: str) -> str:
    return (await table_hashes(journey.sides["aws"], None, 1, quiet))[table].hash


async def test_the_state_is_one_snapshot_although_others_write(journey, monkeypatch):
    run = backing.run_client

    async def later(*arguments):
        journey.query("aws", "insert into small values (0, 'later')")
        await run(*arguments)

    monkeypatch.setattr(backing, "run_client", later)
    manifest = await journey.backup()
    assert manifest.tables["public.small"].rows == 100
    assert (await journey.restore()).wrong == []


async def test_a_flipped_bit_is_found_wherever_it_is(journey):
    manifest = await journey.backup()
    file = journey.stored(manifest)
    for at in (0, 10, 30, 60, -1):  # magic, chunk size, salt, content, tag
        flip(file, at)
        assert await journey.damages() == {file.name: "altered"}
        flip(file, at)
    flip(file, 20)  # the key's id
    with pytest.raises(InvalidMigration, match="sealed with key"):
        await journey.check()
    flip(file, 20)
    flip(file, 60)
    with pytest.raises(CheckFailed, match=f"1 of {len(manifest.files)} .*{file.name} is altered"):
        await journey.restore()
    assert journey.is_untouched()


async def test_what_is_missing_truncated_swapped_or_too_much_is_named(journey, monkeypatch):
    manifest = await journey.backup()
    names = [journey.vault.folder / piece.name for piece in manifest.files]
    first, second = names[0], names[1]
    contents = {file: file.read_bytes() for file in names}
    (journey.vault.folder / "stray").write_text("stray")
    assert (await journey.check()).unexpected == ("stray",)
    for damage, expected in (
        (first.unlink, {first.name: "missing"}),
        (lambda: first.write_bytes(contents[first][:-1]), {first.name: "truncated"}),
        (lambda: first.write_bytes(b""), {first.name: "truncated"}),
        (lambda: first.write_bytes(contents[first] + b"x"), {first.name: "altered"}),
        (
            lambda: (first.write_bytes(contents[second]), second.write_bytes(contents[first])),
            {first.name: ANY, second.name: ANY},
        ),
    ):
        damage()
        assert await journey.damages() == expected
        with pytest.raises(CheckFailed, match="aren't what was sent"):
            await journey.restore()
        assert journey.is_untouched()
        for file, content in contents.items():
            file.write_bytes(content)
    assert (await journey.restore()).wrong == []


async def test_a_manifest_that_was_altered_cut_or_taken_from_elsewhere_is_refused(journey):
    await journey.backup()
    file = journey.vault.folder / MANIFEST
    content = file.read_bytes()
    flip(file, len(content) // 2)
    for work in (journey.check, journey.restore, journey.backup):
        with pytest.raises(CheckFailed, match="manifest is altered"):
            await work()
    file.write_bytes(content[:-20])
    with pytest.raises(CheckFailed, match="manifest is altered"):
        await journey.check()
    file.write_bytes((journey.vault.folder / "begun").read_bytes())
    with pytest.raises(CheckFailed, match="manifest is altered"):
        await journey.check()
    file.unlink()
    for work in (journey.check, journey.restore):
        with pytest.raises(Refused, match="no complete backup"):
            await work()
    assert journey.is_untouched()


async def test_another_key_is_one_clear_error_before_anything_is_written(journey):
    other = Key(secrets.token_bytes(32))
    await journey.backup()
    before = {file: file.stat().st_mtime_ns for file in journey.vault.folder.iterdir()}
    for work in (journey.check, journey.restore, journey.backup):
        with pytest.raises(InvalidMigration, match=f"{journey.key.id.hex()}, and {other.id.hex()} was given"):
            await work(other)
    assert {file: file.stat().st_mtime_ns for file in journey.vault.folder.iterdir()} == before
    assert journey.is_untouched()


async def test_another_backup_than_the_expected_one_is_refused(journey):
    manifest = await journey.backup()
    with pytest.raises(Refused, match=f"holds backup {manifest.backup}, and another is expected"):
        await journey.restore(expected="another")
    assert journey.is_untouched()
    assert (await journey.restore(expected=manifest.backup)).wrong == []


async def test_a_place_that_holds_anything_else_is_left_alone(journey):
    journey.vault.folder.mkdir()
    stranger = journey.vault.folder / "holiday.jpg"
    stranger.write_text("sunny")
    with pytest.raises(Refused, match="place isn't empty"):
        await journey.backup()
    assert [file.name for file in journey.vault.folder.iterdir()] == ["holiday.jpg"]
    stranger.unlink()
    first = await journey.backup()
    assert await journey.backup() == first
    with pytest.raises(Refused, match="backup of store shop in run run-1"):
        await journey.backup(run="run-2")
    assert (await journey.check()).whole


async def test_a_target_that_holds_anything_is_left_alone(journey):
    await journey.backup()
    for make, drop in (
        ("create table theirs (id int)", "drop table theirs"),
        ("select lo_create(42)", "select lo_unlink(42)"),
        ("create schema tidegate; create table tidegate.note (key text, value jsonb)", "drop schema tidegate cascade"),
    ):
        journey.query("azure", make)
        with pytest.raises(Refused, match=r"isn't empty|belongs to an unknown run"):
            await journey.restore()
        with pytest.raises(Refused, match="never seen empty"):
            await take_back(journey.sides["azure"], journey.names)
        journey.query("azure", drop)
    assert journey.is_untouched()
    assert (await journey.restore()).wrong == []
    with pytest.raises(Refused, match="belongs to run run-1"):
        await journey.restore(run="run-2")


async def test_what_has_owned_the_writes_is_not_dropped_by_another_restore(journey):
    await journey.backup()
    await journey.restore()
    journey.query("azure", "insert into tidegate.ownership values ('run-1', 1, 'azure')")
    with pytest.raises(Refused, match="has owned the application's writes"):
        await journey.restore()


async def test_too_little_room_is_named_before_anything_is_done(journey, monkeypatch):
    free = workplace.shutil.disk_usage("/")._replace(free=1000)
    with monkeypatch.context() as full:
        full.setattr(workplace.shutil, "disk_usage", lambda _: free)
        with pytest.raises(LocalFault, match=r"needs up to 0\.\d MiB, and 0\.0 MiB are free"):
            await journey.backup()
    await journey.backup()
    free = free._replace(free=0)
    monkeypatch.setattr(workplace.shutil, "disk_usage", lambda _: free)
    with pytest.raises(LocalFault, match="are free"):
        await journey.restore()
    assert journey.is_untouched()


async def test_a_backup_made_for_a_later_version_is_refused(journey):
    await journey.backup()
    aws = journey.servers["aws"]
    older = Server("shop", "azure", DatabaseServer(dsn=aws.dsn("template1"), password=aws.password_ref))
    how = {"folder": journey.folder, "passwords": {}, **SILENT}
    with pytest.raises(Refused, match="made for PostgreSQL 18, this is 16"):
        await restore(journey.vault, older, journey.names, journey.key, **how)
    await older.close()


class Killed(BaseException):
    """No handler of an error sees it, as none would see a kill."""


async def test_a_backup_killed_while_it_sends_goes_on_from_the_same_snapshot(journey, monkeypatch):
    put, sent = FolderVault.put, []

    async def dies(vault, name, chunks, size):
        await put(vault, name, chunks, size)
        sent.append(name)
        if len(sent) == 3:  # with `begun`
            raise Killed

    monkeypatch.setattr(FolderVault, "put", dies)
    with pytest.raises(Killed):
        await journey.backup(jobs=1)
    with pytest.raises(Refused, match="no complete backup"):
        await journey.check()
    journey.query("aws", "insert into small values (0, 'later')")
    first = sent[1]
    flip(journey.vault.folder / sent[1], -1)
    manifest = await journey.backup(jobs=1)
    assert sent.count(first) == 2  # what doesn't arrive whole is sent again
    assert len(sent) == len(manifest.files) + 4  # begun, manifest, two more than once
    assert manifest.tables["public.small"].rows == 100
    assert (await journey.restore()).wrong == []


async def test_without_the_local_dump_a_new_snapshot_is_taken_and_the_old_pieces_go(journey, monkeypatch):
    put = FolderVault.put

    async def dies(vault, name, chunks, size):
        await put(vault, name, chunks, size)
        if name != "begun":
            raise Killed

    with monkeypatch.context() as mortal:
        mortal.setattr(FolderVault, "put", dies)
        with pytest.raises(Killed):
            await journey.backup()
    (state,) = journey.folder.rglob("dump.json")
    state.unlink()
    journey.query("aws", "insert into small values (0, 'later')")
    manifest = await journey.backup()
    assert manifest.tables["public.small"].rows == 101
    report = await journey.check()
    assert (report.whole, report.unexpected) == (True, ())


@pytest.mark.parametrize("moment", ["dumping", "sending"])
async def test_a_backup_cancelled_and_run_again_is_complete(journey, monkeypatch, moment):
    reached = asyncio.Event()
    stop = asyncio.Event()

    async def hang(*_: object, **__: object) -> None:
        reached.set()
        await stop.wait()

    with monkeypatch.context() as slow:
        if moment == "dumping":
            slow.setattr(backing, "run_client", hang)
        else:
            slow.setattr(FolderVault, "put", hang_unless_begun(FolderVault.put, hang))
        task = asyncio.create_task(journey.backup())
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await journey.backup()
    assert (await journey.check()).whole
    assert journey.query("aws", "select count(*) from pg_stat_activity where application_name = 'tidegate'") == [["0"]]


def hang_unless_begun(put, hang):
    async def hanging(vault, name, chunks, size):
        await (put(vault, name, chunks, size) if name == "begun" else hang())

    return hanging


async def test_a_restore_killed_in_the_middle_is_begun_again_and_leaves_nothing_double(hard, monkeypatch):
    await hard.backup()
    run = restoring.run_client
    fetched = []

    async def dies(argv, environment, where):
        await run([*argv[:-1], "--section=pre-data", "--section=data", argv[-1]], environment, where)
        raise Killed

    with monkeypatch.context() as mortal:
        mortal.setattr(restoring, "run_client", dies)
        with pytest.raises(Killed):
            await hard.restore()
    assert hard.query("azure", "select count(*) from pg_largeobject_metadata") == [["3"]]
    get = FolderVault.get

    def counted(vault, name):
        fetched.append(name)
        return get(vault, name)

    monkeypatch.setattr(FolderVault, "get", counted)
    assert (await hard.restore()).wrong == []
    assert fetched == [MANIFEST]  # what was fetched and is whole is still here
    assert (await hard.restore()).wrong == []  # a complete one isn't repeated
    await take_back(hard.sides["azure"], hard.names)
    hard.query("azure", "drop schema tidegate cascade")
    assert hard.is_untouched()
    assert hard.query("azure", f"select count(*) from pg_roles where rolname ~ '{hard.tag}'") == [["0"]]


WAITS = """create function waits() returns boolean language sql as
'select pg_advisory_xact_lock_shared(42) is not null';
create table slow (id int check (waits())); insert into slow values (1)"""
WAITING = "select count(*) from pg_locks where locktype = 'advisory' and not granted"


async def test_a_restore_cancelled_while_rows_come_can_be_begun_again_at_once(journey):
    journey.query("aws", WAITS)
    await journey.backup()
    azure = journey.servers["azure"]
    with psycopg.connect(azure.full_dsn(journey.tag), autocommit=True) as blocker:
        blocker.execute("select pg_advisory_lock(42)")
        task = asyncio.create_task(journey.restore())
        while journey.query("azure", WAITING) == [["0"]]:
            assert not task.done()
            await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        again = asyncio.create_task(journey.restore())
        while journey.query("azure", WAITING) == [["0"]]:
            assert not again.done()
            await asyncio.sleep(0.05)
    assert (await again).wrong == []


async def test_two_at_once_do_not_share_a_workplace(journey):
    first, second = await asyncio.gather(journey.backup(), journey.backup(), return_exceptions=True)
    errors = [each for each in (first, second) if isinstance(each, Exception)]
    assert [type(error) for error in errors] == [LocalFault]
    assert "another process works here" in str(errors[0])
    assert (await journey.check()).whole


async def test_the_plain_dump_is_nobody_elses_to_read(journey, monkeypatch):
    modes = []
    run = backing.run_client

    async def looked_at(argv, *rest):
        await run(argv, *rest)
        modes.append(Path(argv[-1]).parent.stat().st_mode & 0o777)

    monkeypatch.setattr(backing, "run_client", looked_at)
    await journey.backup()
    assert modes == [0o700]
    assert list(journey.folder.rglob("*")) == list(journey.folder.iterdir())


async def test_progress_reaches_its_end(journey):
    seen = []
    await journey.backup(progress=seen.append)
    await check(journey.vault, journey.key, note=quiet, progress=seen.append)
    await journey.restore(progress=seen.append)
    last = {each.phase: each for each in seen}
    assert {"hash", "send", "check", "fetch", "compare"} <= last.keys()
    for phase in ("hash", "send", "check", "fetch", "compare"):
        assert last[phase].done == last[phase].total > 0


async def test_the_manifest_is_what_the_report_says(journey):
    manifest = await journey.backup()
    assert await read_manifest(journey.vault, journey.key) == manifest
    assert json.loads(manifest.model_dump_json())["tables"]["public.small"]["rows"] == 100
    assert all(len(piece.plain) == len(piece.sealed) == 64 for piece in manifest.files)
    assert {piece.file for piece in manifest.files} >= {"toc.dat"}
