"""Materialized views are full on the target if they are at the source."""

VIEWS = """
set role owner_{name};
create materialized view sales.zz_base as select id, name from sales.customers;
create view sales.between as select * from sales.zz_base where id > 10;
create materialized view sales."A Top" as select count(*) as n from sales.between;
create unique index on sales."A Top" (n);
create materialized view sales.never as select 1 as n with no data;
create materialized view sales.later as select 1 as n;
create materialized view sales.on_later as select n from sales.later;
refresh materialized view sales.later with no data;
reset role
"""


async def test_those_that_are_populated_are_refreshed_each_after_what_it_uses(shop):
    shop.query("aws", VIEWS.format(name=shop.name))
    notes: list[str] = []
    await shop.move().replicate(notes.append)
    assert shop.query("azure", 'select n from sales."A Top"') == [["1990"]]
    populated = "select relname from pg_class where relkind = 'm' and relispopulated order by 1"
    assert shop.query("azure", populated) == [["A Top"], ["zz_base"]]
    assert "refreshed 2 of 2 materialized views" in notes
