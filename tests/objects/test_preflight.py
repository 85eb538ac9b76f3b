import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from tidegate.errors import InvalidMigration, Refused, Unreachable
from tidegate.objects.http import Answer
from tidegate.objects.preflight import judge, read_facts
from tidegate.objects.preflight.check import read_setting
from tidegate.objects.preflight.listing import read_listing
from tidegate.objects.preflight.names import Names
from tidegate.objects.preflight.rights import RightsFacts, judge_rights, prove_aws, prove_azure
from tidegate.objects.preflight.sample import read_sample

NOWHERE = "http://127.0.0.1:1"
AES256 = {"x-amz-server-side-encryption": "AES256"}


class Canned:
    """A server that answers as it is told: (method, sub-resource or key) to status, headers, body."""

    where = "receipts on nowhere"
    url = f"{NOWHERE}/bucket"
    prefix = ""

    def __init__(self, answers, key=None):
        self.answers, self.asked = answers, []
        self.spec = SimpleNamespace(key=key)

    async def ask(self, request, fine, at_most=None):
        key = request.url.removeprefix(self.url).strip("/")
        place = next((name for name in request.query if (request.method, name) in self.answers), key or "*")
        self.asked.append((request.method, place))
        answer = self.answers.get((request.method, place)) or self.answers[request.method, "*"]
        status, headers, body = (*answer, {}, b"")[:3] if isinstance(answer, tuple) else (answer, {}, b"")
        assert status in fine, f"{request.method} {place}: {status}"
        return Answer(status, headers, body)


def verdicts(findings) -> dict[str, str]:
    return {finding.check: finding.verdict for finding in findings if finding.verdict != "pass"}


def said(findings, check) -> str:
    return next(f"{finding.message} -> {finding.mend}" for finding in findings if finding.check == check)


def failed(facts) -> list[str]:
    return [finding.check for finding in facts.findings if finding.verdict == "fail"]


async def test_a_bucket_that_can_be_moved_passes_every_check(receipts):
    receipts.put("2026/fine", b"four")
    facts = await receipts.move().facts()
    assert verdicts(facts.findings) == {}
    assert (facts.listing.objects, facts.listing.bytes, facts.target.state) == (1, 4, "absent")
    assert all(finding.where for finding in facts.findings)
    assert not receipts.folder.exists()  # looking leaves nothing behind
    assert not await receipts.azure.exists()


async def test_a_bucket_is_counted_and_its_names_looked_at(receipts):
    for key, body in (("fine", b"four"), ("bs\\z", b"three"), ("bs/z", b"x"), ("dot.", b"x"), ("dot", b"x")):
        receipts.put(key, body)
    for key in ("a", "a!", "a/b", "d/", "d/x", "e//f"):
        receipts.put(key, b"x")
    facts = await receipts.move().facts()
    assert failed(facts) == ["names", "names.folded"]
    told = said(facts.findings, "names")
    assert "'bs\\\\z' (a backslash, which Blob turns into /)" in told
    assert "'dot.' (a segment that ends with a dot, which Blob cuts off)" in told
    assert set(facts.listing.names.collisions) == {("bs/z", "bs\\z"), ("dot", "dot.")}
    # held by a flat namespace; not by a hierarchical one
    known = facts.model_copy(update={"target": facts.target.model_copy(update={"hierarchical": True})})
    unknown = facts.model_copy(update={"target": facts.target.model_copy(update={"hierarchical": None})})
    assert verdicts(judge(known))["names.paths"] == "fail"
    assert verdicts(judge(unknown))["names.paths"] == "inconclusive"
    told = said(judge(known), "names.paths")
    assert "1 names are a file, and a folder of others ('a'); 1 names hold //" in told
    assert "1 names end with /" in told


async def test_what_is_archived_must_be_restored_first(receipts):
    receipts.put("now")
    receipts.put("at-once", StorageClass="GLACIER_IR")
    receipts.put("cold", StorageClass="GLACIER")
    receipts.put("colder", b"12345678", StorageClass="DEEP_ARCHIVE")
    facts = await receipts.move().facts()
    assert facts.listing.unreadable == (2, 15)
    assert failed(facts) == ["archived"]
    assert "2 objects of 15 B can't be read before being restored" in said(facts.findings, "archived")


async def test_restored_copies_count_as_readable():
    def contents(key, status):
        return f"<Contents><Key>{key}</Key><Size>7</Size><StorageClass>GLACIER</StorageClass>{status}</Contents>"

    there = "<RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress></RestoreStatus>"
    coming = "<RestoreStatus><IsRestoreInProgress>true</IsRestoreInProgress></RestoreStatus>"
    body = f"<ListBucketResult>{contents('a', there)}{contents('b', coming)}{contents('c', '')}</ListBucketResult>"
    facts, _ = await read_listing(Canned({("GET", "list-type"): (200, {}, body.encode())}), Names(), 9, 0)
    assert (facts.restored, facts.restoring, facts.unreadable) == ((1, 7), (1, 7), (2, 14))


async def test_the_sample_is_spread_over_the_whole_listing_and_the_same_each_time():
    def page(first):
        entries = "".join(f"<Contents><Key>k{i:04}</Key><Size>1</Size></Contents>" for i in range(first, first + 500))
        more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{first + 500}</NextContinuationToken>"
        return f"<ListBucketResult>{entries}{more if first < 1500 else ''}</ListBucketResult>".encode()

    class Pages(Canned):
        async def ask(self, request, fine, at_most=None):
            return Answer(200, {}, page(int(request.query.get("continuation-token", "0"))))

    facts, sample = await read_listing(Pages({}), Names(), 100, 7)
    again = (await read_listing(Pages({}), Names(), 100, 7))[1]
    assert (facts.objects, len(sample), sample) == (2000, 100, again)
    quarters = Counter(int(each.key[1:]) // 500 for each in sample)
    assert min(quarters[quarter] for quarter in range(4)) > 10


async def test_what_objects_carry_is_held_or_told(receipts):
    receipts.put("plain", Metadata={"a-b": "c"}, Tagging="team=a.b")
    receipts.put("odd-tag", Tagging="team=caf%C3%A9")
    receipts.put("heavy", Metadata={"-" * 1200: "x" * 800})
    receipts.put("moved", WebsiteRedirectLocation="/elsewhere")
    receipts.put("expires", Expires="Wed, 21 Oct 2026 07:28:00 GMT")
    receipts.put("secret", ServerSideEncryption="aws:kms", SSEKMSKeyId="alias/aws/s3")
    receipts.put("public", ACL="public-read")
    facts = await receipts.move().facts()
    assert verdicts(facts.findings) == {
        "tags": "fail",
        "metadata": "fail",
        "redirects": "inconclusive",
        "expires": "inconclusive",
        "kms": "inconclusive",
        "object_acls": "inconclusive",
    }
    assert "1 of 7 sampled objects have tags that Blob can't hold: 'odd-tag'" in said(facts.findings, "tags")
    assert "'public' (READ to AllUsers)" in said(facts.findings, "object_acls")


async def test_what_the_bucket_remembers_is_told(receipts):
    versioned = {"Bucket": receipts.name, "VersioningConfiguration": {"Status": "Enabled"}}
    receipts.s3.put_bucket_versioning(**versioned)
    for key in ("1", "1", "1", "2"):
        receipts.put(key)
    receipts.delete("2")
    facts = await receipts.move().facts()
    assert (facts.history.noncurrent, facts.history.markers, facts.history.complete) == (3, 1, True)
    assert verdicts(facts.findings) == {"versions": "inconclusive", "aws.rights": "inconclusive"}
    assert "3 of them, and 1 delete markers, were seen" in said(facts.findings, "versions")
    listed = receipts.s3.list_object_versions(Bucket=receipts.name)
    assert len(listed["DeleteMarkers"]) == 1  # the right to delete wasn't tried


async def test_locks_and_holds_are_told(receipts):
    name = f"{receipts.name}-lock"
    region = {"LocationConstraint": receipts.spec.aws.region}
    receipts.s3.create_bucket(Bucket=name, CreateBucketConfiguration=region, ObjectLockEnabledForBucket=True)
    keep = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}}
    receipts.s3.put_object_lock_configuration(Bucket=name, ObjectLockConfiguration=keep)
    receipts.s3.put_object(Bucket=name, Key="k", Body=b"", ObjectLockLegalHoldStatus="ON")
    until = datetime.now(UTC) + timedelta(days=1)
    kept = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until}
    receipts.s3.put_object(Bucket=name, Key="kept", Body=b"", **kept)
    facts = await receipts.move(aws={"bucket": name, "events": None}).facts()
    found = verdicts(facts.findings)
    assert found == dict.fromkeys(found, "inconclusive")
    assert {"lock", "retention", "legal_holds", "aws.rights"} <= set(found)
    assert "every new object is kept: GOVERNANCE for 1 days" in said(facts.findings, "lock")


async def test_what_is_set_on_the_bucket_is_told_with_what_azure_has_for_it(receipts):
    s3, name = receipts.s3, receipts.name
    receipts.put("k")
    everybody = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{name}/*"}
    s3.put_bucket_policy(Bucket=name, Policy=json.dumps({"Version": "2012-10-17", "Statement": [everybody]}))
    rule = {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 9}}
    s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": [rule]})
    cors = {"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["https://shop.example"]}]}
    s3.put_bucket_cors(Bucket=name, CORSConfiguration=cors)
    s3.put_bucket_website(Bucket=name, WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}})
    s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": [{"Key": "team", "Value": "a"}]})
    s3.put_bucket_accelerate_configuration(Bucket=name, AccelerateConfiguration={"Status": "Enabled"})
    kms = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}]}
    s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration=kms)
    s3.put_bucket_acl(Bucket=name, ACL="public-read")
    facts = await receipts.move().facts()
    told = {"policy", "lifecycle", "cors", "website", "tagging", "accelerate", "encryption", "acl"}
    assert verdicts(facts.findings) == {
        **{f"bucket.{each}": "inconclusive" for each in told},
        "events.expiration": "inconclusive",
    }
    assert "1 of them allow everybody something" in said(facts.findings, "bucket.policy")
    assert "1 rules: old -> on Azure: a lifecycle management policy" in said(facts.findings, "bucket.lifecycle")
    assert "READ to AllUsers" in said(facts.findings, "bucket.acl")


async def test_what_may_not_be_read_is_never_a_pass(receipts):
    """S3's answer to a login without the right is AccessDenied (contract: "Error responses")."""
    receipts.put("k")

    class Denied:
        def __init__(self, side):
            self.side, self.where, self.url, self.prefix, self.tags = side, side.where, side.url, "", True

        async def ask(self, request, fine, at_most=None):
            may = request.method == "HEAD" or "list-type" in request.query
            return await self.side.ask(request, fine, at_most) if may else Answer(403, {}, b"")

    facts = await read_facts(Denied(receipts.aws), receipts.azure, receipts.move().events, begun=False, at_once=4)
    found = verdicts(facts.findings)
    settings = {"policy", "acl", "lifecycle", "replication", "cors", "website", "logging", "tagging", "encryption"}
    unknown = {f"bucket.{each}" for each in (*settings, "requestPayment", "accelerate")}
    unknown |= {"versions", "lock", "notifications", "events", "tags.read", "object_acls", "aws.rights", "time"}
    assert found == dict.fromkeys(unknown, "inconclusive")
    for check, right in {
        "bucket.lifecycle": "s3:GetLifecycleConfiguration",
        "versions": "s3:GetBucketVersioning",
        "lock": "s3:GetBucketObjectLockConfiguration",
        "events": "s3:GetBucketNotification",
        "tags.read": "s3:GetObjectTagging",
        "object_acls": "s3:GetObjectAcl",
        "aws.rights": "s3:PutObject",
    }.items():
        assert f"grant {right}" in said(facts.findings, check)


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ((501, {}), "none"),
        ((400, {}, b"<Error><Code>UnsupportedArgument</Code></Error>"), "none"),
        ((400, {}), "denied"),
        ((405, {}), "denied"),
        ((403, {}), "denied"),
        ((404, {}), "unset"),
    ],
)
async def test_only_what_the_server_says_is_not_set_passes(answer, state):
    """405: policies are told to nobody of another account (contract: GetBucketPolicy)."""
    assert (await read_setting(Canned({("GET", "policy"): answer}), "policy")).state == state


async def test_objects_of_a_customers_key_and_those_that_may_not_be_read_are_told_apart():
    """HEAD of an object encrypted by SSE-C, without its key, is answered 400 (contract: HeadObject)."""
    heads = {("HEAD", "ssec"): 400, ("HEAD", "denied"): 403, ("HEAD", "gone"): 404, ("HEAD", "*"): (200, AES256)}
    entry = SimpleNamespace(size=1)
    server = Canned({**heads, ("GET", "acl"): 404, ("GET", "tagging"): 200})
    keys = ["ssec", "denied", "gone", "fine"]
    sample = await read_sample(server, [SimpleNamespace(**vars(entry), key=key) for key in keys], 2)
    assert {each.key: each.answer for each in sample.objects} == {"ssec": "ssec", "denied": "denied", "fine": "ok"}


async def test_only_a_container_with_something_of_others_in_it_fails(receipts):
    receipts.put("1")
    await receipts.azure.create()
    assert (await receipts.move().facts()).target.state == "empty"
    await receipts.move().copy(lambda _: None)
    assert (await receipts.move().facts()).target.state == "ours"
    await receipts.move().remove()
    await receipts.put_on_azure("foreign", b"x")
    assert failed(await receipts.move().facts()) == ["empty"]


async def test_rights_to_write_are_proved_without_a_write(receipts):
    await receipts.azure.create()
    aws, azure = (
        await prove_aws(receipts.aws, versioned=False, locked=False),
        await prove_azure(receipts.azure, there=True),
    )
    assert {(each.put, each.tag, each.delete, each.heeded) for each in (aws, azure)} == {(True, True, True, True)}
    assert await receipts.on("azure") == await receipts.on("aws") == {}


@pytest.mark.parametrize(
    ("answers", "put", "tag", "delete", "verdict"),
    [
        ({("DELETE", "*"): 404, ("PUT", "*"): 412}, True, True, True, {}),
        ({("DELETE", "*"): 403, ("PUT", "*"): 412}, True, True, False, {"azure.rights": "inconclusive"}),
        ({("DELETE", "*"): 403, ("PUT", "*"): 403}, False, False, False, {"azure.rights": "fail"}),
        ({("DELETE", "*"): 404, ("PUT", "*"): 400}, None, None, True, {"azure.rights": "inconclusive"}),
        ({("DELETE", "*"): 202, ("PUT", "*"): 201}, True, True, True, {"azure.conditions": "fail"}),
    ],
)
async def test_a_right_that_is_missing_is_told(answers, put, tag, delete, verdict):
    facts = await prove_azure(Canned(answers), there=True)
    assert (facts.put, facts.tag, facts.delete) == (put, tag, delete)
    fine = RightsFacts(put=True, tag=True, delete=True)
    assert verdicts(judge_rights("aws", "azure", fine, facts)) == verdict


async def test_a_probe_that_was_written_is_deleted_again_or_named():
    server = Canned({("DELETE", "*"): 204, ("PUT", "*"): 200})
    assert not (await prove_aws(server, versioned=False, locked=False)).left
    assert [method for method, _ in server.asked] == ["DELETE", "PUT", "DELETE"]
    facts = await prove_aws(Canned({("DELETE", "*"): 403, ("PUT", "*"): 200}), versioned=False, locked=False)
    assert facts.left
    assert f"delete '{facts.probe}'" in said(judge_rights("aws", "azure", facts, facts), "aws.conditions")


async def test_nothing_is_known_of_a_container_that_is_not_there_except_by_the_accounts_key():
    assert (await prove_azure(Canned({}), there=False)).put is None
    assert (await prove_azure(Canned({}, key="env:KEY"), there=False)).put is True


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
