"""Large objects go over with all that belongs to them, and what changed since is brought over later."""

LARGE = """
create role reader_{name} nologin;
set role owner_{name};
select lo_from_bytea(i::oid, convert_to(repeat('large ' || i, i % 1000), 'UTF8'))
    from generate_series(700001, 701000) i;
select lo_from_bytea(600001, ''), lo_from_bytea(600002, '\\x00'), lo_put(600002, 2500000, '\\x0102');
comment on large object 600001 is 'it''s "large"';
grant select, update on large object 600002 to {app};
grant select on large object 700001 to reader_{name} with grant option;
grant select on large object 700002 to public;
revoke update on large object 700003 from owner_{name};
reset role;
select lo_from_bytea(4294967294, 'the last')
"""
CHANGES = """
select lo_put(600002, 1000000, '\\x07'), lo_unlink(700010), lo_from_bytea(500000, 'new'), lo_truncate(f, 3)
    from lo_open(700500, 131072) f;
comment on large object 600001 is null;
comment on large object 700900 is 'so';
revoke select on large object 700002 from public;
alter large object 700003 owner to {app}
"""
ALL = """select m.oid, pg_get_userbyid(lomowner), obj_description(m.oid, 'pg_largeobject'), md5(lo_get(m.oid)),
    (select string_agg(a.grantee::regrole::text || a.privilege_type || a.is_grantable, ' '
            order by a.grantee::regrole::text, a.privilege_type)
        from aclexplode(coalesce(lomacl, acldefault('L', lomowner))) a)
from pg_largeobject_metadata m order by 1"""


def quiet(text: str, **_: object) -> None:
    pass


async def test_they_are_copied_and_brought_up_to_date(shop):
    from tidegate.postgres.large_objects import sync_large_objects

    shop.query("aws", LARGE.format(name=shop.name, app=shop.app))
    move = shop.move()
    await move.replicate(quiet)
    there = shop.query("azure", ALL)
    assert len(there) == 1003
    assert there == shop.query("aws", ALL)

    async with move.aws.session() as source, move.azure.session() as target:
        assert await sync_large_objects(source, target) == 0
        shop.query("aws", CHANGES.format(app=shop.app))
        shop.query("azure", "select lo_from_bytea(4294967295, 'nobody has it')")
        assert await sync_large_objects(source, target) == 9
        assert shop.query("azure", ALL) == shop.query("aws", ALL)
        assert await sync_large_objects(source, target) == 0
        assert await sync_large_objects(target, source) == 0

    await move.remove()
    assert shop.query("azure", "select count(*) from pg_largeobject_metadata") == [["0"]]
    shop.query("aws", f"drop owned by reader_{shop.name}; drop role reader_{shop.name}")
