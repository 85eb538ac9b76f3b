import pytest

from tidegate.errors import InvalidMigration, Refused, Unreachable
from tidegate.objects.preflight import BucketFacts, judge

NOWHERE = "http://127.0.0.1:1"


def fact(**change) -> BucketFacts:
    fine = {"objects": 3, "bytes": 2**20, "readable": "", "unnameable": [], "unnameable_count": 0, "archived": 0}
    fine |= {"versioned": False, "kms": False, "locked": False, "target": "absent", "events": True}
    return BucketFacts(**(fine | change))


def failed(facts) -> list[str]:
    return [finding.check for finding in facts.findings if finding.verdict == "fail"]


def test_a_bucket_that_can_be_moved_passes():
    assert [finding.check for finding in judge(fact()) if finding.verdict != "pass"] == []


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"readable": "objects can't be read: 403"}, "readable"),
        ({"unnameable": ["'a.' (a dot)"], "unnameable_count": 1}, "names"),
        ({"archived": 1}, "archived"),
        ({"target": "full"}, "empty"),
    ],
)
def test_what_would_make_the_move_fail_fails(change, check):
    assert [finding.check for finding in judge(fact(**change)) if finding.verdict == "fail"] == [check]


@pytest.mark.parametrize(("change", "said"), [({"versioned": True}, "older ones stay"), ({"locked": True}, "Lock")])
def test_what_is_left_behind_is_said(change, said):
    assert [finding for finding in judge(fact(**change)) if said in finding.message]


async def test_a_bucket_is_counted_and_its_names_looked_at(receipts):
    receipts.put("fine", b"four")
    receipts.put("bs\\z", b"three")
    receipts.s3.put_bucket_versioning(Bucket=receipts.name, VersioningConfiguration={"Status": "Enabled"})
    facts = await receipts.move().facts()
    assert (facts.objects, facts.bytes, facts.versioned, facts.target) == (2, 9, True, "absent")
    assert failed(facts) == ["names"]
    assert facts.unnameable == ["'bs\\\\z' (a backslash, which Blob turns into /)"]
    assert not receipts.folder.exists()  # looking leaves nothing behind


async def test_only_a_container_with_something_of_others_in_it_fails(receipts):
    receipts.put("1")
    await receipts.azure.create()
    assert (await receipts.move().facts()).target == "empty"
    await receipts.move().copy(lambda _: None)
    assert (await receipts.move().facts()).target == "ours"
    await receipts.move().remove()
    await receipts.put_on_azure("foreign", b"x")
    assert failed(await receipts.move().facts()) == ["empty"]


@pytest.mark.parametrize(
    ("side", "change", "expected"),
    [
        ("aws", {"endpoint": NOWHERE}, (Unreachable, "receipts on aws .*doesn't answer")),
        ("azure", {"endpoint": f"{NOWHERE}/devstoreaccount1"}, (Unreachable, "receipts on azure .*doesn't answer")),
        ("aws", {"bucket": "no-such-bucket"}, (Refused, "NoSuchBucket.*correct its name")),
        ("azure", {"key": "env:WRONG_KEY"}, (Refused, "403 .*check the keys")),
        ("azure", {"key": "env:NO_BASE64"}, (InvalidMigration, "isn't base64")),
        ("azure", {"key": "env:NOT_SET"}, (InvalidMigration, "not set")),
        ("aws", {"events": "http://127.0.0.1:1/1/queue"}, (Unreachable, "queue queue.*doesn't answer")),
    ],
)
async def test_a_side_that_can_not_be_used_is_named_with_the_reason(receipts, monkeypatch, side, change, expected):
    error, text = expected
    monkeypatch.setenv("WRONG_KEY", "d3Jvbmc=")
    monkeypatch.setenv("NO_BASE64", "wrong!")
    with pytest.raises(error, match=f"(?s){text}") as caught:
        await receipts.move(**{side: change}).facts()
    assert "d3Jvbmc" not in str(caught.value)
    assert "wrong!" not in str(caught.value)


async def test_a_queue_that_is_not_there_is_named(receipts):
    queue = f"{receipts.spec.aws.events}-no-such"
    with pytest.raises(Refused, match=r"(?s)queue .*no-such.*correct its name, or create it"):
        await receipts.move(aws={"events": queue}).facts()
