"""`tidegate postgres`: one database moved by what is typed, by one process after the other."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest


class Typed:
    """A shop's database, and the commands that move it."""

    def __init__(self, shop) -> None:
        self.shop = shop
        self.environment = {
            "TIDEGATE_SOURCE": shop.spec.aws.dsn,
            "TIDEGATE_SOURCE_PASSWORD": shop.spec.aws.password,
            "TIDEGATE_TARGET": shop.spec.azure.dsn,
            "TIDEGATE_TARGET_PASSWORD": shop.spec.azure.password,
        }

    def __call__(self, command: str, *options: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "tidegate", "postgres", command, "--name", "orders", *options]
        password = ["--role-password", f"{self.shop.app}=env:SHOP_APP_PASSWORD"]
        done = subprocess.run(
            [*argv, *password], env=os.environ | self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr
        return done

    def json(self, command: str, *options: str, code: int = 0) -> Any:
        return json.loads(self(command, "--json", *options, code=code).stdout)


@pytest.fixture
async def typed(make_shop):
    shop = make_shop()
    yield Typed(shop)
    await shop.move("orders").remove()


def write(shop, cloud: str, key: str) -> None:
    with shop.as_app(cloud) as connection:
        connection.execute('insert into sales."Order Lines" (key) values (%s)', (key,))


def test_there_and_back_again_and_finished(typed, tmp_path):
    shop = typed.shop
    assert "checks pass" in typed("preflight").stdout
    assert typed.json("replicate", "--until-caught-up")["streams"]
    write(shop, "aws", "before")
    report = tmp_path / "report.json"
    typed("verify", "--report", str(report))
    assert {table["verdict"] for table in json.loads(report.read_text())["tables"]} == {"equal"}
    turned = typed.json("switch")
    assert (turned["owner"], turned["epoch"], turned["proof"]["verdict"]) == ("azure", 1, "equal")
    write(shop, "azure", "after")
    assert typed.json("status")["owner"] == "azure"
    assert "azure owns the writes" in typed("abort", "--yes", code=2).stderr
    assert typed.json("rollback")["owner"] == "aws"
    keys = {row[0] for row in shop.query("aws", """select key from sales."Order Lines" where key !~ '^seed'""")}
    assert keys == {"before", "after"}
    typed("switch")
    typed("finish", "--yes")
    assert shop.query("azure", "select to_regnamespace('tidegate') is null") == [["t"]]


def test_aborted_both_sides_are_as_they_were(typed):
    typed("replicate", "--until-caught-up")
    typed("abort", "--yes")
    write(typed.shop, "aws", "still open")
    assert typed.shop.query("azure", "select count(*) from pg_namespace where nspname in ('sales', 'tidegate')") == [
        ["0"]
    ]


def test_one_snapshot_is_copied_without_a_stream(typed):
    typed("copy")
    assert typed.shop.query("azure", "select count(*) from sales.customers") == [["2000"]]
    assert typed.json("status")["streams"] is False
    assert "nothing streams" in typed("switch", code=1).stderr
    assert "abort" in typed("replicate", code=1).stderr
    typed("finish", "--yes")
    assert typed.shop.query("azure", "select to_regnamespace('tidegate') is null") == [["t"]]
    write(typed.shop, "azure", "open")


def test_a_difference_is_named_and_ends_with_4(typed):
    typed("replicate", "--until-caught-up")
    typed.shop.azure.psql(typed.shop.name, "update sales.customers set name = 'other' where id = 7")
    done = typed("verify", code=4)
    assert "sales.customers" in done.stdout
    assert "(7)" in done.stdout


def test_a_difference_after_the_switch_takes_the_writes_back(typed):
    typed("replicate", "--until-caught-up")
    typed.shop.azure.psql(typed.shop.name, "update sales.customers set name = 'other' where id = 7")
    assert "the writes go back" in typed("switch", code=6).stderr
    write(typed.shop, "aws", "at home")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--source", "mysql://x@y/z"), "--source"),
        (("--target-password", "hunter2"), "a secret is a reference"),
        (("--role-password", "app=hunter2"), "--role-password app"),
    ],
)
def test_what_is_typed_wrong_is_named_and_no_secret_repeated(typed, options, said):
    done = typed("preflight", *options, code=2)
    assert said in done.stderr
    assert "hunter2" not in done.stderr
