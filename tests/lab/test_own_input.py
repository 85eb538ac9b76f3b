"""The user's own dump and files, taken into the lab."""

import json
import subprocess

import pytest

from tidegate.errors import UsageError
from tidegate.lab.buckets import Buckets
from tidegate.lab.dump import load_dump
from tidegate.lab.servers.postgres import binaries

TABLE = "create table album (id int primary key, title text not null); insert into album values (1, 'Å');\n"


@pytest.fixture
def pair(postgres16, postgres18):
    def names(server):
        return set(server.psql("postgres", "select datname from pg_database").splitlines())

    before = {server: names(server) for server in (postgres16, postgres18)}
    yield postgres16, postgres18
    for server, kept in before.items():
        for name in names(server) - kept:
            server.psql("postgres", f'drop database "{name}" with (force)')


def written(folder, text, encoding="utf-8"):
    file = folder / "my dump.sql"
    file.write_text(text, encoding=encoding)
    return file


def test_a_plain_dump_goes_to_a_database_made_for_it(pair, tmp_path):
    aws, azure = pair
    assert load_dump(written(tmp_path, TABLE), aws, azure) == "own"
    assert aws.psql("own", "select title from album") == "Å\n"
    assert azure.psql("own", "select count(*) from pg_tables where schemaname = 'public'") == "0\n"


def test_a_dump_that_makes_its_own_database_is_found_there(pair, tmp_path):
    aws, azure = pair
    create = "CREATE DATABASE \"My Albums\" TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C';"
    text = f'DROP DATABASE IF EXISTS "My Albums";\n{create}\n\\c "My Albums";\n{TABLE}'
    assert load_dump(written(tmp_path, text), aws, azure) == "My Albums"
    assert aws.psql("My Albums", "select count(*) from album") == "1\n"
    twin = azure.psql(
        "My Albums", "select pg_encoding_to_char(encoding), datcollate from pg_database where datname = 'My Albums'"
    )
    assert twin == "LATIN1\tC\n"


def test_a_custom_dump_is_taken_too_without_its_owners(pair, tmp_path, postgres16):
    aws, azure = pair
    aws.create_database("origin")
    aws.psql("origin", "create role somebody; " + TABLE + "alter table album owner to somebody")
    file = tmp_path / "dump"
    subprocess.run([binaries(16) / "pg_dump", "-Fc", "-f", file, aws.full_dsn("origin")], check=True)
    aws.psql("origin", "drop owned by somebody; drop role somebody")
    assert load_dump(file, aws, azure) == "own"
    assert aws.psql("own", "select title from album") == "Å\n"


@pytest.mark.parametrize("options", [("-Fp",), ("-Fp", "--create"), ("-Fc",)])
def test_a_dump_of_a_later_version_is_taken_where_the_older_server_knows_what_is_in_it(pair, tmp_path, options):
    aws, azure = pair
    azure.create_database("origin")
    azure.psql("origin", TABLE)
    file = tmp_path / "dump"
    subprocess.run([binaries(18) / "pg_dump", *options, "-f", file, azure.full_dsn("origin")], check=True)
    azure.psql("postgres", "drop database origin")
    name = "origin" if "--create" in options else "own"
    assert load_dump(file, aws, azure) == name
    assert aws.psql(name, "select title from album") == "Å\n"


def test_half_a_dump_is_told(pair, tmp_path):
    aws, azure = pair
    aws.create_database("origin")
    aws.psql("origin", TABLE)
    file = tmp_path / "dump"
    subprocess.run([binaries(16) / "pg_dump", "-Fc", "-f", file, aws.full_dsn("origin")], check=True)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(UsageError, match="can't be loaded: pg_restore: error: "):
        load_dump(file, aws, azure)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("select 1;", "makes no table"),
        ("create table a (id int);\ncreate tabel b (id int);", ":2: ERROR"),
        (f"{TABLE}create database other;\n\\c other\n{TABLE}", "tables in o"),
    ],
)
def test_a_dump_that_cannot_be_used_is_told_with_the_reason(pair, tmp_path, text, told):
    with pytest.raises(UsageError, match=told) as error:
        load_dump(written(tmp_path, text), *pair)
    assert error.value.where.endswith("my dump.sql")
    assert error.value.mend


def test_files_become_objects_named_by_their_relative_paths_and_changes_are_told_to_a_queue(moto, tmp_path):
    for name, data in {"a.txt": b"", "deep/er/ü ?.bin": b"\0\1" * 5000}.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    buckets = Buckets(moto.url)
    buckets.create("mine")
    buckets.create("mine")
    buckets.fill("mine", tmp_path)
    queue = buckets.announce("mine")
    listed = {each["Key"]: each["Size"] for each in buckets.s3.list_objects_v2(Bucket="mine")["Contents"]}
    assert listed == {"a.txt": 0, "deep/er/ü ?.bin": 10_000}
    buckets.s3.delete_object(Bucket="mine", Key="a.txt")
    messages = buckets.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    records = [record for each in messages for record in json.loads(each["Body"]).get("Records", [])]
    assert [(each["eventName"], each["s3"]["object"]["key"]) for each in records] == [("ObjectRemoved:Delete", "a.txt")]
