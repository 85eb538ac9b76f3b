"""A database goes over and comes back between all versions that are at hand."""

import pytest

ROWS = 'select count(*), sum(length(key)) from sales."Order Lines"'


def quiet(*_: object) -> None:
    pass


@pytest.mark.parametrize(
    ("aws", "azure"),
    [("postgres15", "postgres18"), ("older16", "postgres16"), ("postgres16", "postgres18"), ("older18", "postgres18")],
)
async def test_there_and_back(request, shop_between, aws, azure):
    source, target = request.getfixturevalue(aws), request.getfixturevalue(azure)
    if source is None:
        pytest.skip("Debian's PostgreSQL 15 with contrib isn't installed")
    shop = shop_between(source, target)
    move = shop.move()
    await move.replicate(quiet)
    await shop.turn(move, "aws", 1)
    with shop.as_app("azure") as app:
        app.execute("""insert into sales."Order Lines" (key) values ('on azure')""")
        app.execute("update sales.customers set name = 'c 1 again' where id = 1")
    assert (await move.verify(quiet)).equal
    await shop.turn(move, "azure", 2)
    assert (await move.verify(quiet)).equal
    assert shop.query("aws", ROWS) == shop.query("azure", ROWS)
    with shop.as_app("aws") as app:
        app.execute("""insert into sales."Order Lines" (key) values ('home again')""")
