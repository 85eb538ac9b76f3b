"""What the preflight makes of answers, without servers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.objects.preflight import BucketFacts, judge
from tidegate.objects.preflight.check import Setting
from tidegate.objects.preflight.heard import HeardFacts, judge_heard, tell_heard
from tidegate.objects.preflight.ladder import LadderFacts, rung
from tidegate.objects.preflight.names import NameFacts, Names, folded
from tidegate.objects.preflight.rate import RateFacts, estimate

MD5 = "d41d8cd98f00b204e9800998ecf8427e"
FINE = {
    "wheres": ("bucket", "container"),
    "listing": {
        "objects": 3,
        "bytes": 3 * 2**20,
        "largest": 2**20,
        "largest_key": "a",
        "sizes": {"1 MiB": (3, 3 * 2**20)},
        "classes": {"STANDARD": (3, 3 * 2**20)},
        "restored": (0, 0),
        "restoring": (0, 0),
        "unreadable": (0, 0),
        "over_one_put": 0,
        "names": {},
        "ladder": {"plain": {"md5": 3 * 2**20}, "encrypted": {"crc64nvme": 3 * 2**20}},
    },
    "sample": {"objects": [{"key": "a", "size": 2**20, "grants": []}], "at_once": 24, "requests_per_second": 500.0},
    "history": {},
    "left_behind": {},
    "heard": {"queue": None},
    "target": {"container": "receipts", "state": "absent", "hierarchical": False},
    "aws_rights": {"put": True, "tag": True, "delete": True},
    "azure_rights": {"put": True, "tag": True, "delete": True},
    "rate": {"objects": 1, "bytes": 2**20, "seconds": 1.0, "at_once": 24, "source": 500.0, "target": 500.0},
}


def fact(**change) -> BucketFacts:
    """`change`: by part of the facts, the fields that are others."""
    return BucketFacts.model_validate(
        {name: fine | change[name] if name in change else fine for name, fine in FINE.items()}
    )


def verdicts(findings) -> dict[str, str]:
    return {finding.check: finding.verdict for finding in findings if finding.verdict != "pass"}


def sampled(**fields) -> dict:
    return {"sample": {"objects": [{"key": "a", "size": 1, "grants": []} | fields]}}


def test_a_bucket_that_can_be_moved_passes():
    assert verdicts(judge(fact())) == {}


@pytest.mark.parametrize(
    ("change", "check", "verdict"),
    [
        ({"listing": {"objects": 0, "ladder": {}}}, "contents", "inconclusive"),
        ({"listing": {"largest": 200 * 2**40}}, "sizes", "fail"),
        ({"listing": {"unreadable": (1, 5)}}, "archived", "fail"),
        ({"listing": {"names": {"refused": {"a.": "a dot"}, "refused_count": 1}}}, "names", "fail"),
        ({"listing": {"names": {"collisions": [("a", "a.")]}}}, "names.folded", "fail"),
        (sampled(answer="denied"), "readable", "fail"),
        (sampled(answer="ssec"), "customer_keys", "fail"),
        (sampled(tags={"a": "é"}), "tags", "fail"),
        (sampled(tags=None), "tags.read", "inconclusive"),
        (sampled(tags={"a": "b"}) | {"target": {"hierarchical": True}}, "tags.read", "inconclusive"),
        (sampled(metadata={"x" * 5000: "y" * 5000}), "metadata", "fail"),
        (sampled(marks={"missing": "2"}), "metadata.missing", "inconclusive"),
        (sampled(marks={"redirect": "/b"}), "redirects", "inconclusive"),
        (sampled(marks={"expires": "tomorrow"}), "expires", "inconclusive"),
        (sampled(marks={"archive_status": "DEEP_ARCHIVE_ACCESS"}), "archived.tiers", "fail"),
        (sampled(marks={"lock": "COMPLIANCE"}), "retention", "inconclusive"),
        (sampled(marks={"hold": "ON"}), "legal_holds", "inconclusive"),
        (sampled(grants=["READ to AllUsers"]), "object_acls", "inconclusive"),
        (sampled(encrypted=True), "kms", "inconclusive"),
        ({"history": {"versioning": "Suspended"}}, "versions", "inconclusive"),
        ({"history": {"denied": ["s3:GetBucketVersioning"]}}, "versions", "inconclusive"),
        ({"history": {"lock": "no default retention"}}, "lock", "inconclusive"),
        ({"left_behind": {"set": {"cors": "for *"}}}, "bucket.cors", "inconclusive"),
        ({"left_behind": {"denied": ["cors"]}}, "bucket.cors", "inconclusive"),
        ({"heard": {"bridge": True}}, "notifications", "inconclusive"),
        ({"heard": {"queue": "https://sqs.eu-west-1.amazonaws.com/1/q"}}, "events", "fail"),
        ({"target": {"state": "full"}}, "empty", "fail"),
        ({"target": {"container": "Receipts_1"}}, "container", "fail"),
        ({"target": {"kept": ["a legal hold"]}}, "immutable", "fail"),
        ({"target": {"kind": "FileStorage"}}, "account", "fail"),
        ({"azure_rights": {"put": False}}, "azure.rights", "fail"),
        ({"azure_rights": {"put": None, "why": "the container isn't there yet"}}, "azure.rights", "inconclusive"),
        ({"aws_rights": {"delete": False}}, "aws.rights", "inconclusive"),
        ({"aws_rights": {"heeded": False, "probe": "x"}}, "aws.conditions", "fail"),
        ({"listing": {"ladder": {"plain": {"read": 1}}}}, "verification", "inconclusive"),
        ({"rate": {"bytes": 0}}, "time", "inconclusive"),
    ],
)
def test_what_would_fail_or_be_lost_has_a_verdict_and_a_mend(change, check, verdict):
    found = [finding for finding in judge(fact(**change)) if finding.verdict != "pass"]
    assert verdict == next(finding.verdict for finding in found if finding.check == check)
    assert {finding.check for finding in found} <= {check, "events.expiration"}
    assert all(finding.mend and finding.where for finding in found)


def test_a_copy_may_go_beside_what_the_container_has():
    full = fact(target={"state": "full"})
    assert verdicts(judge(full)) == {"empty": "fail"}
    assert verdicts(judge(full.model_copy(update={"beside": True}))) == {"empty": "inconclusive"}


def test_tags_that_are_not_to_be_copied_are_no_finding():
    odd = fact(**sampled(tags={"a": "é"}))
    assert verdicts(judge(odd)) == {"tags": "fail"}
    assert verdicts(judge(odd.model_copy(update={"tags": False}))) == {}


def paths(keys) -> NameFacts:
    names = Names()
    for key in sorted(keys):
        names.see(key)
    return names.facts()


@given(st.sets(st.text("ab/!.~", min_size=1, max_size=6), max_size=40))
def test_a_file_that_is_a_folder_too_is_found_in_one_pass(keys):
    both = {key for key in keys if not key.endswith("/") and any(each.startswith(f"{key}/") for each in keys)}
    found = paths(keys)
    assert (set(found.both), found.both_count) == (both, len(both))
    assert found.doubled == sum("//" in key for key in keys)


def test_another_name_may_sort_between_a_file_and_its_folder():
    assert paths(["x", "x!", "x-1", "x.y", "x/y", "x/z", "xy"]).both == ["x"]
    assert paths(["x/", "x/y"]).both == []
    assert paths(["x", "x/"]).both == ["x"]


def test_names_are_judged_as_they_will_be_on_azure():
    names = Names(lambda key: "no" if key == "b" else "", lambda key: "_x005c_" if key == "\\" else key)
    for key in ("\\", "a", "b"):
        names.see(key)
    assert (names.facts().mapped, names.facts().refused) == (1, {"b": "no"})


def test_only_a_sorted_listing_proves_that_no_file_is_a_folder():
    names = Names()
    for key in ("b", "a"):
        names.see(key)
    known = fact(listing={"names": names.facts()}, target={"hierarchical": True})
    assert verdicts(judge(known)) == {"names.paths": "fail"}


@pytest.mark.parametrize(
    ("key", "name"), [("a\\b", "a/b"), ("a.", "a"), ("a./b..", "a/b"), ("a/../b", "b"), ("./a", "a"), ("a/b", "a/b")]
)
def test_what_blob_would_make_of_a_name(key, name):
    assert folded(key) == name


@pytest.mark.parametrize(
    ("etag", "algorithms", "whole", "encrypted", "expected"),
    [
        (MD5, (), True, False, "md5"),
        (MD5, ("CRC64NVME",), True, True, "crc64nvme"),
        (f"{MD5}-3", ("CRC64NVME",), True, False, "crc64nvme"),
        (f"{MD5}-3", ("CRC32",), False, False, "parts"),
        (f"{MD5}-3", ("SHA256",), True, True, "checksum"),
        (f"{MD5}-3", ("SHA256",), False, True, "read"),
        (f"{MD5}-3", (), False, True, "read"),
        ("somethingelse", (), False, False, "read"),
    ],
)
def test_each_object_stands_on_the_highest_rung_there_is(etag, algorithms, whole, encrypted, expected):
    assert rung(etag, algorithms, whole=whole, encrypted=encrypted) == expected


def test_what_kms_encrypts_stands_lower_by_its_share_of_the_sample():
    half = [{"key": "a", "size": 1, "grants": []}, {"key": "b", "size": 1, "grants": [], "encrypted": True}]
    ladder = LadderFacts(plain={"md5": 100}, encrypted={"read": 100})
    found = judge(fact(listing={"ladder": ladder}, sample={"objects": half}))
    message = next(each.message for each in found if each.check == "verification")
    assert "50% the ETag is the MD5, 50% the source is read twice" in message


def test_an_estimate_lies_between_all_at_once_and_one_after_the_other():
    rate = RateFacts(objects=9, bytes=100 * 2**20, seconds=1.0, at_once=24, source=1000.0, target=1000.0)
    assert estimate(rate, 10_000, 0) == (20.0, 40.0)
    assert estimate(rate, 10_000, 1000 * 2**20) == (20.0, 60.0)
    assert estimate(rate, 1000, 10_000 * 2**20) == (100.0, 204.0)
    assert estimate(rate.model_copy(update={"bytes": 0}), 1, 1) is None


CONFIGURATION = """<NotificationConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><QueueConfiguration>
<Queue>arn:aws:sqs:eu-west-1:42:{queue}</Queue>{events}{filter}</QueueConfiguration></NotificationConfiguration>"""
ALL = ("s3:ObjectCreated:*", "s3:ObjectRemoved:*")
EXPIRATION = "s3:LifecycleExpiration:*"
PREFIX = "<Filter><S3Key><FilterRule><Name>Prefix</Name><Value>{}</Value></FilterRule></S3Key></Filter>"
SUFFIX = PREFIX.replace("Prefix", "Suffix")
EXPIRING = b"<L><Rule><Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule></L>"


def heard(events=ALL, queue="ours", filter="", lifecycle=b"<L/>", prefix="shop/") -> HeardFacts:  # noqa: A002
    listed = "".join(f"<Event>{each}</Event>" for each in events)
    body = CONFIGURATION.format(queue=queue, events=listed, filter=filter).encode()
    url = "https://sqs.eu-west-1.amazonaws.com/42/ours"
    return tell_heard(Setting("set", body), Setting("set", lifecycle), url, 0, prefix)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (heard(), {}),
        (heard(("s3:ObjectCreated:*",)), {"events": "fail"}),
        (heard(("s3:ObjectCreated:Put", "s3:ObjectRemoved:*")), {"events": "fail"}),
        (heard(queue="theirs"), {"events": "fail", "notifications": "inconclusive"}),
        (heard(filter=PREFIX.format("shop/")), {}),
        (heard(filter=PREFIX.format("shop/2026/")), {"events": "fail"}),
        (heard(filter=SUFFIX.format(".jpg")), {"events": "fail"}),
        (heard(lifecycle=EXPIRING), {"events.expiration": "inconclusive"}),
        (heard((*ALL, EXPIRATION), lifecycle=EXPIRING), {}),
        (
            HeardFacts(queue="https://h/42/ours", state="denied"),
            {"events": "inconclusive", "notifications": "inconclusive"},
        ),
        (
            tell_heard(
                Setting("set", b"<N><TopicConfiguration><Topic>arn:aws:sns:x:1:t</Topic></TopicConfiguration></N>"),
                Setting("denied"),
                "https://h/42/ours",
                0,
                "",
            ),
            {"events": "inconclusive", "notifications": "inconclusive"},
        ),
    ],
)
def test_the_queue_has_to_hear_of_every_change(facts, expected):
    assert verdicts(judge_heard("bucket", facts)) == expected
