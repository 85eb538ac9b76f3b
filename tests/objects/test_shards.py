"""A bucket in ranges: every key in exactly one, whatever appears between them; and a range copied by itself."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objects.running import Asked, Between, Said
from tidegate.errors import LocalFault, Refused, TidegateError
from tidegate.objects.manifest import Manifest
from tidegate.objects.shards import Segment, Shard, merge, run_shard, shards
from tidegate.objects.side import Listed

KEYS = st.sets(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6), max_size=40)


def quiet(text: str) -> None:
    pass


class Source:
    where = "a listing"

    def __init__(self, sizes: dict[str, int], order=str.encode) -> None:
        self.sizes, self.order = sizes, order

    async def pages(self, after: str = "") -> AsyncIterator[list[Listed]]:
        for key in sorted(self.sizes, key=self.order):
            yield [Listed(key, self.sizes[key], "etag")] if key > after else []


async def cut(keys, **limits) -> list[Shard]:
    return [shard async for shard in shards(Source(dict.fromkeys(keys, 3)), **limits)]


@given(KEYS, KEYS, st.integers(1, 7), st.integers(1, 30))
async def test_every_key_is_in_exactly_one_shard_also_one_that_appeared_later(keys, later, objects, size):
    found = await cut(keys, objects=objects, size=size)
    assert (found[0].after, found[-1].until) == ("", "")
    for key in keys | later:
        assert [key in shard for shard in found].count(True) == 1
    for shard in found:
        inside = [key for key in keys if key in shard]
        assert (len(inside), 3 * len(inside)) == (shard.objects, shard.bytes)
        assert shard.objects <= objects
        assert shard.bytes < size + 3
        assert Shard.from_json(shard.as_json()) == shard


@given(KEYS, st.integers(1, 7), st.data())
async def test_a_listing_that_was_interrupted_goes_on_where_it_was(keys, objects, data):
    whole = await cut(keys, objects=objects)
    done = data.draw(st.integers(0, len(whole) - 1))
    after = whole[done - 1].until if done else ""
    assert whole[:done] + await cut(keys, objects=objects, after=after) == whole


async def test_a_source_with_an_order_of_its_own_is_refused():
    source = Source({"\uffe0": 1, "\U0001f9fe": 1}, order=lambda key: key.encode("utf-16-be"))
    with pytest.raises(Refused, match="can't be divided into ranges"):
        [shard async for shard in shards(source)]


async def test_shards_copied_one_by_one_are_the_whole_bucket(silent_receipts, tmp_path):
    names = ["dir/", "a//b", "x", "x/y", "uni-é-日本/🧾", "sp +%25#?&='", "\uffe0", *(f"{i:02}" for i in range(20))]
    for name in names:
        silent_receipts.put(name, name.encode(), Metadata={"order-id": name.encode().hex()})
    silent_receipts.put("no\\blob", b"which Azure would hold under another name")
    move = silent_receipts.move()
    await move.begin()
    found = [shard async for shard in shards(move.aws, objects=6)]
    assert len(found) == 5
    manifest = Manifest(tmp_path / "merged.sqlite")
    conflicts = []
    for shard in [*found, *found[:2]]:  # two of them twice
        segment = Segment.from_json((await run_shard("receipts", silent_receipts.spec, "auto", shard, quiet)).as_json())
        merge(manifest, segment)
        conflicts += segment.conflicts
    assert [key for key, _ in conflicts] == ["no\\blob"]
    rows = {row.key: row async for page in manifest.pages() for row in page}
    manifest.close()
    there = await silent_receipts.on("azure")
    assert there == {name: name.encode() for name in names}
    assert rows.keys() == there.keys()
    for key, row in rows.items():
        assert (row.aws, row.azure) == (
            (await silent_receipts.aws.stat(key)).etag,
            (await silent_receipts.azure.stat(key)).etag,
        )


async def test_a_few_objects_that_cannot_be_copied_are_conflicts_of_their_shard(silent_receipts, monkeypatch):
    for number in range(8):
        silent_receipts.put(f"{number}", b"receipt %d" % number)
    silent_receipts.put("no\\blob", b"which Azure would hold under another name")

    def damaged(asked: Asked, said: Said) -> Said:
        ours = asked.path.endswith(("/3", "/5"))
        return replace(said, body=b"X" + said.body[1:]) if ours and said.body else said

    with Between(str(silent_receipts.spec.aws.endpoint)) as source:
        source.edit = damaged
        move = silent_receipts.move(aws={"endpoint": source.url})
        await move.begin()
        segment = await run_shard("receipts", move.spec, "stream", Shard(), quiet)
        assert [row.key for row in segment.rows] == ["0", "1", "2", "4", "6", "7"]
        assert (segment.copied, segment.bytes) == (6, 6 * len("receipt 0"))
        why = dict(segment.conflicts)
        assert why.keys() == {"3", "5", "no\\blob"}
        assert all(f"{key} didn't arrive as its checksum says" in why[key] for key in "35")
        monkeypatch.setattr("tidegate.objects.shards.FEW", 1)
        with pytest.raises(TidegateError, match="didn't arrive"):
            await run_shard("receipts", move.spec, "stream", Shard(), quiet)


@pytest.mark.parametrize("sent", [{}, {"rows": "?", "conflicts": [], "copied": 0, "bytes": 0}, None])
def test_a_segment_that_cannot_be_read_is_told_of(sent):
    with pytest.raises(LocalFault, match="can't be read"):
        Segment.from_json(sent)
