"""Pages are read as fast as they are written in the usual way, and read right however they are written."""

import base64
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.objects import listing
from tidegate.objects.listing import Unreadable, blob_page, s3_page

keys = st.lists(
    st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), min_size=1), max_size=5
)
MD5 = "0123456789abcdef0123456789abcdef"


def s3(names, *, kind: str = "STANDARD", encode=quote, quotes: str = "&quot;", more: str = "") -> bytes:
    entries = "".join(
        f"<Contents><Key>{encode(name)}</Key><LastModified>x</LastModified><ETag>{quotes}{MD5}{quotes}</ETag>"
        f"<Size>{i}</Size><StorageClass>{kind}</StorageClass></Contents>"
        for i, name in enumerate(names)
    )
    told = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{more}</NextContinuationToken>" if more else ""
    return f"<ListBucketResult><Name>b</Name>{told}{entries}</ListBucketResult>".encode()


def blob(names, *, md5: bool = True, tier: str = "Hot", attribute: str = "", more: str = "") -> bytes:
    hashed = f"<Content-MD5>{base64.b64encode(bytes.fromhex(MD5)).decode()}</Content-MD5>" if md5 else "<Content-MD5 />"
    entries = "".join(
        f"<Blob><Name{attribute}>{quote(name) if attribute else escape(name)}</Name><Properties>"
        f"<Etag>&#34;0x1&#34;</Etag>"
        f"<Content-Length>{i}</Content-Length>{hashed}<AccessTier>{tier}</AccessTier></Properties></Blob>"
        for i, name in enumerate(names)
    )
    told = f"<NextMarker>{escape(more)}</NextMarker>" if more else "<NextMarker />"
    return f"<EnumerationResults><Blobs>{entries}</Blobs>{told}</EnumerationResults>".encode()


@given(keys, st.sampled_from([quote, quote_plus, lambda key: quote(key, safe="")]), st.sampled_from(["&quot;", '"']))
def test_a_page_of_s3_says_the_same_cut_up_and_parsed(names, encode, quotes):
    body = s3(names, encode=encode, quotes=quotes)
    page = s3_page(body)
    assert [each.key for each in page.entries] == names
    assert page == listing._s3_parsed(body, 0)
    assert all((each.etag, each.md5, each.archived) == (MD5, MD5, False) for each in page.entries)


@given(keys, st.booleans(), st.sampled_from(["", "next&1", "2!92!MDAw"]))
def test_a_page_of_blob_says_the_same_cut_up_and_parsed(names, md5, more):
    body = blob(names, md5=md5, more=more)
    page = blob_page(body)
    assert [each.key for each in page.entries] == names
    assert page == listing._blob_parsed(body, 0)
    assert (page.more, {each.md5 for each in page.entries}) == (more, {MD5 if md5 else None} if names else set())


def test_what_is_written_otherwise_is_parsed():
    turned = b"<ListBucketResult><Contents><Size>3</Size><ETag>e</ETag><Key>a</Key></Contents></ListBucketResult>"
    assert [(each.key, each.size) for each in s3_page(turned).entries] == [("a", 3)]
    assert [each.key for each in blob_page(blob(["a\u00a0b"], attribute=' Encoded="true"')).entries] == ["a\u00a0b"]


def test_archived_objects_are_told_on_either_side():
    assert [each.archived for each in s3_page(s3(["a"], kind="DEEP_ARCHIVE")).entries] == [True]
    assert [each.archived for each in blob_page(blob(["a"], tier="Archive")).entries] == [True]


def test_a_prefix_is_left_out_and_what_is_only_that_is_no_object():
    assert [each.key for each in s3_page(s3(["in/", "in/a"]), len("in/")).entries] == ["a"]


@pytest.mark.parametrize("body", [b"", b"garbage", s3(["a"])[:-9], s3(["a"])[:60]])
def test_what_is_no_page_is_not_taken_for_an_empty_one(body):
    with pytest.raises(Unreadable):
        s3_page(body)
    with pytest.raises(Unreadable):
        blob_page(body)
