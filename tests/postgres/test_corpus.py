"""Databases that nobody here designed go over and come back, and are then what they were."""

import secrets
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psycopg
import pytest

from postgres.preflighting import open_ones
from tidegate.lab.servers.postgres import Postgres
from tidegate.postgres.database import DatabaseMove
from tidegate.runbook.migration import Cloud, Database
from tidegate.switch.alone import turn

DATABASES = Path(__file__).parents[3] / "shared" / "corpus" / "databases"

APPLICATION = """
create role {app} login password 'app';
grant select, insert, update, delete on all tables in schema public to {app};
grant usage, select on all sequences in schema public to {app};
"""
PAGILA_ROWS = """
insert into country (country) select 'Country ' || i from generate_series(1, 50) i;
insert into city (city, country_id) select 'Çity ' || i, 1 + i % 50 from generate_series(1, 200) i;
insert into address (address, district, city_id, phone) select i || ' Main Street', 'D' || i % 9, 1 + i % 200, i
    from generate_series(1, 600) i;
insert into store (manager_staff_id, address_id) values (1, 1), (2, 2);
insert into staff (first_name, last_name, address_id, store_id, username, picture)
    select 'First' || i, 'Last' || i, i, i, 'user' || i, decode(repeat(md5(i::text), 200), 'hex')
    from generate_series(1, 2) i;
insert into language (name) select 'Language ' || i from generate_series(1, 6) i;
insert into category (name) select 'Category ' || i from generate_series(1, 16) i;
insert into actor (first_name, last_name) select 'ACTOR', 'N° ' || i from generate_series(1, 200) i;
insert into film (title, description, release_year, language_id, length, rating, special_features)
    select 'Film ' || i, 'A story of ' || md5(i::text), 1901 + i % 255, 1 + i % 6, nullif(i % 190, 0),
        (enum_range(null::mpaa_rating))[i % 6], case when i % 3 > 0 then array['Trailers', 'It''s, "cut"', null] end
    from generate_series(1, 1000) i;
insert into film_actor (actor_id, film_id) select 1 + (i * 7 + j * 31) % 200, i
    from generate_series(1, 1000) i, generate_series(0, 3) j;
insert into film_category (film_id, category_id) select i, 1 + i % 16 from generate_series(1, 1000) i;
insert into film_embedding (film_id, embedding) select i, (select array_agg(sin(i * j)) from generate_series(1, 20) j)
    from generate_series(1, 500) i;
insert into inventory (film_id, store_id) select 1 + i % 1000, 1 + i % 2 from generate_series(1, 2000) i;
insert into customer (store_id, first_name, last_name, address_id, active)
    select 1 + i % 2, 'C' || i, 'L' || i, i, i % 2 from generate_series(1, 600) i;
insert into rental (rental_date, inventory_id, customer_id, return_date, staff_id)
    select '2022-01-01 00:00Z'::timestamptz + i * interval '6 hours', 1 + i % 2000, 1 + i % 600,
        case when i % 10 > 0 then '2022-01-04 00:00Z'::timestamptz + i * interval '6 hours' end, 1 + i % 2
    from generate_series(0, 5999) i;
insert into payment (customer_id, staff_id, rental_id, amount, payment_date)
    select customer_id, staff_id, rental_id, rental_id % 1000 / 7.0, rental_date from rental;
refresh materialized view rental_by_category;
analyze;
"""


class Sample:
    """One of them on `aws`, with an application that uses it, and an empty database on `azure`."""

    def __init__(self, aws: Postgres, azure: Postgres, folder: Path, script: str, rows: str = "") -> None:
        self.servers: dict[Cloud, Postgres] = {"aws": aws, "azure": azure}
        self.name = f"sample_{secrets.token_hex(4)}"
        self.app = f"app_{self.name}"
        for server in (aws, azure):
            server.create_database(self.name)
        file = folder / "script.sql"
        file.write_text(script)
        aws.psql(self.name, file=file)
        aws.psql(self.name, f"{rows}{APPLICATION.format(app=self.app)}")
        sides = {
            cloud: {"dsn": server.dsn(self.name), "password": server.password_ref}
            for cloud, server in self.servers.items()
        }
        self.move = DatabaseMove("sample", Database.model_validate({"kind": "postgres", **sides}), "run-1")

    def query(self, cloud: Cloud, query: str) -> list[str]:
        return self.servers[cloud].psql(self.name, query).splitlines()

    def write(self, cloud: Cloud, statements: str) -> None:
        """By the application, wherever it may log in."""
        where = f"host=127.0.0.1 port={self.servers[cloud].port} dbname={self.name} user={self.app} password=app"
        with psycopg.connect(where) as connection:
            connection.execute(statements.encode())

    def structure(self, cloud: Cloud) -> list[str]:
        """All that the pg_dump of azure's version tells of it."""
        argv = [
            *(self.servers["azure"].bin / "pg_dump", "--schema-only", "--exclude-schema", "tidegate"),
            *("--no-publications", "--no-subscriptions", "--restrict-key", "same"),
            self.servers[cloud].full_dsn(self.name),
        ]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()

    async def turn(self, owner: Cloud) -> None:
        """The writes go over, and the whole content was the same at that moment."""
        turned = await turn(self.move, owner, seconds=10, lag=2**20, stopping=lambda: False, note=quiet)
        assert turned.proof.equal

    async def assert_same(self, rows: int) -> None:
        report = await self.move.verify(quiet)
        assert [(table.name, table.difference) for table in report.tables if not table.equal] == []
        assert report.rows == rows


def quiet(text: str, **_: object) -> None:
    pass


def differing(here: list[str], there: list[str]) -> list[tuple[str, str]]:
    """Line by line, in this order."""
    return [pair for pair in zip(here, there, strict=True) if pair[0] != pair[1]]


@pytest.fixture
async def bring(tmp_path: Path) -> AsyncIterator[Callable[..., Sample]]:
    brought: list[Sample] = []

    def one(aws: Postgres, azure: Postgres, file: str, *, after: str = "", rows: str = "") -> Sample:
        """`after`: the line behind which the script makes tables; `rows`: what fills them, where it doesn't."""
        if not (DATABASES / file).exists():
            pytest.skip(f"there is no {DATABASES / file} beside this repository")
        script = (DATABASES / file).read_text()
        brought.append(Sample(aws, azure, tmp_path, script[script.index(after) + len(after) :], rows))
        return brought[-1]

    yield one
    for sample in brought:
        await sample.move.remove()


async def test_chinook_goes_from_16_to_18_and_comes_back(bring, postgres16, postgres18):
    sample = bring(postgres16, postgres18, "chinook.sql", after="\\c chinook;\n")
    assert open_ones(await sample.move.facts()) == {}
    before, nothing = sample.structure("aws"), sample.structure("azure")

    await sample.move.replicate(quiet)
    sample.write(
        "aws",
        "insert into artist values (1001, 'Ünheard'); insert into album values (1001, 'First', 1001);"
        "update track set unit_price = unit_price + 0.50, composer = null where genre_id = 1;"
        "delete from playlist_track where playlist_id = 5",
    )
    await sample.assert_same(14_132)
    await sample.turn("azure")
    (version,) = differing(before, sample.structure("azure"))
    assert [line.split(".")[0] for line in version] == [f"-- Dumped from database version {n}" for n in (16, 18)]

    sample.write(
        "azure",
        "delete from invoice_line where invoice_id < 10; delete from invoice where invoice_id < 10;"
        "update customer set company = 'Größe & Söhne' where customer_id = 7;"
        "insert into album values (1002, 'Second', 1001)",
    )
    await sample.turn("aws")
    assert sample.structure("aws") == before
    assert sample.query("aws", "select count(*) from album where artist_id = 1001") == ["2"]
    sample.write("aws", "update employee set reports_to = null")
    await sample.assert_same(14_080)

    await sample.move.remove()
    assert sample.structure("aws") == before
    assert sample.structure("azure") == nothing


async def test_pagila_goes_from_18_to_18_and_comes_back(bring, older18, postgres18):
    sample = bring(older18, postgres18, "pagila-schema.sql", rows=PAGILA_ROWS)
    assert open_ones(await sample.move.facts()) == {}
    before, nothing = sample.structure("aws"), sample.structure("azure")

    await sample.move.replicate(quiet)
    sample.write(
        "aws",
        "update film set title = title || ' II', length = length + 1 where film_id <= 100;"
        "update payment set payment_date = payment_date + interval '1 year' where payment_id <= 200;"
        "insert into film_embedding (film_id, embedding) select 999, embedding from film_embedding where film_id = 1;"
        "delete from film_embedding where film_id between 490 and 500",
    )
    await sample.assert_same(22_166)
    await sample.turn("azure")
    assert differing(before, sample.structure("azure")) == []
    for derived in ("select * from rental_by_category order by 1", "select sum(length_hours) from film"):
        assert sample.query("azure", derived) == sample.query("aws", derived)

    customer = "insert into customer (store_id, first_name, last_name, address_id) values (1, 'A', 'B', 1)"
    sample.write(
        "azure",
        f"{customer}; update staff set picture = picture || '\\x00'; delete from payment where payment_id > 5900;"
        "update film set release_year = 2155, rating = 'NC-17' where film_id = 3",
    )
    await sample.turn("aws")
    assert sample.structure("aws") == before
    sample.write("aws", customer)
    assert sample.query("aws", "select customer_id from customer where first_name = 'A' order by 1") == ["601", "602"]
    assert sample.query("aws", "select rating, release_year from film where film_id = 3") == ["NC-17\t2155"]
    await sample.assert_same(22_068)

    await sample.move.remove()
    assert sample.structure("aws") == before
    assert sample.structure("azure") == nothing
