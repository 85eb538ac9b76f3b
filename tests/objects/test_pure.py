import asyncio
import math
import string
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tidegate.objects.difference import OutOfOrder, join, sorted_pages
from tidegate.objects.events import changes_of
from tidegate.objects.names import metadata_for_azure, metadata_from_azure, refused_by_blob, refused_by_s3
from tidegate.objects.side import Properties
from tidegate.objects.signing import AwsKeys, AzureKey, AzureSas, AzureToken, Request, encoded

NOW = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
few = settings(max_examples=40, deadline=None)
keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@dataclass(frozen=True)
class Entry:
    key: str


async def pages(names, size=3) -> AsyncIterator[list[Entry]]:
    names = list(names)
    for start in range(0, len(names), size):
        yield [Entry(name) for name in names[start : start + size]]


def joined(left, right) -> list[tuple[str, bool, bool]]:
    async def collect():
        batches = join(pages(left), pages(right, 2))
        pairs = [pair async for batch in batches for pair in batch]
        return [(key, here is not None, there is not None) for key, here, there in pairs]

    return asyncio.run(collect())


@few
@given(st.sets(keys), st.sets(keys))
def test_joined_every_key_comes_once_in_the_order_of_its_bytes(left, right):
    in_order = sorted(left | right, key=str.encode)
    expected = [(key, key in left, key in right) for key in in_order]
    assert joined(sorted(left, key=str.encode), sorted(right, key=str.encode)) == expected


@few
@given(st.lists(keys, min_size=2))
def test_a_listing_in_another_order_is_noticed(names):
    in_order = sorted(set(names), key=str.encode)
    if names != in_order:
        with pytest.raises(OutOfOrder):
            joined(names, [])


@few
@given(st.sets(keys))
def test_sorted_a_listing_can_be_joined(names):
    async def collect():
        return [entry.key async for page in sorted_pages(pages(names)) for entry in page]

    assert asyncio.run(collect()) == sorted(names, key=str.encode)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("a\\b", "backslash"),
        ("dot.", "ends with a dot"),
        ("a./b", "ends with a dot"),
        ("./a", "segment"),
        ("a/../b", "segment"),
        ("a/.", "segment"),
        ("line\nbreak", "control"),
        ("delete\x7f", "control"),
        ("é" * 1025, "longer"),
        ("/" * 254, "segments"),
        ("", "empty"),
    ],
)
def test_a_name_that_blob_would_change_or_refuse_is_refused(key, reason):
    assert reason in refused_by_blob(key)


@pytest.mark.parametrize(
    "key", ["a", "dir/", "a//b", "/lead", "uni-é-日本", "sp +%25#?&", "é" * 1024, ".a", "a.b/c..d"]
)
def test_any_other_name_is_held(key):
    assert refused_by_blob(key) == ""


def test_s3_counts_bytes():
    assert refused_by_s3("é" * 512) == ""
    assert "bytes" in refused_by_s3("é" * 513)


@few
@given(st.dictionaries(st.text(string.ascii_lowercase + string.digits + "-_.x", min_size=1), st.text()))
@example({"_x0000.": ""})
@example({"_x0000_": "", "-x0000_": ""})
def test_metadata_come_back_from_azure_as_they_were(metadata):
    held = metadata_for_azure(Properties(metadata=metadata))
    assert all(name.isidentifier() and name.isascii() for name in held)
    assert metadata_from_azure(held) == ({}, metadata)
    assert metadata_from_azure({name.upper(): value for name, value in held.items()})[1].keys() == metadata.keys()


@few
@given(keys, st.dictionaries(keys, keys, max_size=3), st.sampled_from(["", "session/token=="]))
def test_a_request_to_s3_is_signed_as_amazons_library_does(key, query, token):
    request = Request(
        "PUT", f"https://h.example:8443/b/{encoded(key, '/')}", query, {"x-amz-meta-a": " b  c "}, b"body"
    )
    signed = AwsKeys("AKID", "secret", "eu-north-1", "s3", token).sign(request, NOW)
    theirs = AWSRequest("PUT", request.full_url, headers={"x-amz-meta-a": " b  c "}, data=b"body")
    signer = S3SigV4Auth(Credentials("AKID", "secret", token or None), "s3", "eu-north-1")
    signer.payload = lambda request: "UNSIGNED-PAYLOAD"
    assert signed["authorization"] == authorized(signer, theirs)
    assert signed.get("x-amz-security-token", "") == token


@few
@given(keys, st.dictionaries(keys, keys, max_size=2), st.sampled_from(["", "session/token=="]), st.integers(1, 604800))
def test_a_url_is_presigned_as_amazons_library_does(key, query, token, seconds):
    request = Request("GET", f"https://h.example:8443/b/{encoded(key, '/')}", query)
    url = AwsKeys("AKID", "secret", "eu-north-1", "s3", token).presign(request, NOW, seconds)
    theirs = AWSRequest("GET", request.full_url)
    signer = S3SigV4QueryAuth(Credentials("AKID", "secret", token or None), "s3", "eu-north-1", expires=seconds)
    authorized(signer, theirs)
    assert url.partition("?")[0] == request.url
    assert sorted(url.partition("?")[2].split("&")) == sorted(theirs.url.partition("?")[2].split("&"))


@few
@given(st.binary(max_size=20))
def test_a_request_to_sqs_is_signed_as_amazons_library_does(body):
    request = Request("POST", "https://sqs.eu-north-1.amazonaws.com/", headers={"x-amz-target": "a.B"}, body=body)
    signed = AwsKeys("AKID", "secret", "eu-north-1", "sqs").sign(request, NOW)
    own_hash = {"X-Amz-Content-SHA256": signed["x-amz-content-sha256"]}
    theirs = AWSRequest("POST", request.full_url, headers={"x-amz-target": "a.B"} | own_hash, data=body)
    signer = SigV4Auth(Credentials("AKID", "secret"), "sqs", "eu-north-1")
    assert signed["authorization"] == authorized(signer, theirs)


def authorized(signer, request) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.auth.get_current_datetime", lambda: NOW)
        signer.add_auth(request)
    return request.headers.get("Authorization", "")


def test_azure_signature_covers_conditions_metadata_and_query():
    key = AzureKey("account", b"k")
    plain = Request("PUT", "https://h/c/b", {"comp": "block"}, {"if-match": '"e"', "x-ms-meta-a": "1"}, b"x")
    signed = key.sign(plain, NOW)["authorization"]
    for change in (
        {"query": {"comp": "list"}},
        {"headers": {"if-match": '"f"', "x-ms-meta-a": "1"}},
        {"headers": {"if-match": '"e"', "x-ms-meta-a": "2"}},
        {"body": b"xy"},
        {"url": "https://h/c/d"},
    ):
        fields = {"method": "PUT", "url": plain.url, "query": plain.query, "headers": plain.headers, "body": b"x"}
        assert key.sign(Request(**(fields | change)), NOW)["authorization"] != signed


def test_a_key_is_never_shown():
    assert "hush" not in repr(AwsKeys("AKID", "hush", "r", "s3"))
    assert "hush" not in repr(AwsKeys("AKID", "secret", "r", "s3", "hush"))
    assert "hush" not in repr(AzureKey("account", b"hush"))
    assert "hush" not in repr(AzureSas("sv=1&sig=hush"))
    assert "hush" not in repr(AzureToken("hush"))


def test_messages_name_keys_and_the_time_of_their_change():
    s3 = '"s3": {"bucket": {"name": "b"}, "object": {"key": "a%2Fb+c%C3%A9"}}'
    record = f'{{"eventTime": "1970-01-01T00:00:02.500Z", {s3}}}'
    assert changes_of(f'{{"Records": [{record}]}}') == [("b", "a/b cé", 2.5)]
    wrapped = f'{{\\"Records\\": [{record}]}}'.replace('"', '\\"').replace('\\\\"', '\\"')
    assert changes_of(f'{{"Type": "Notification", "Message": "{wrapped}"}}') == [("b", "a/b cé", 2.5)]
    assert changes_of(f'{{"Records": [{{{s3}}}]}}') == [("b", "a/b cé", math.inf)]
    assert changes_of('{"Service": "Amazon S3", "Event": "s3:TestEvent"}') == []
    for unknown in ("nonsense", "[]", "{}", '{"Records": [{"s3": {}}]}'):
        assert changes_of(unknown) is None
