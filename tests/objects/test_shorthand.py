"""The requests that are written and signed as text are those that the general way would send."""

import base64
import hashlib
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.objects.shorthand import ShortGet, ShortPut
from tidegate.objects.signing import AwsKeys, AzureKey, AzureSas, AzureToken, Request, encoded

NOW = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
few = settings(max_examples=40, deadline=None)
keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
values = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12)


def parsed(head: bytes) -> tuple[str, dict[str, str]]:
    """The request's line, and its headers."""
    text, _, rest = head.decode().partition("\r\n\r\n")
    assert rest == ""
    first, *lines = text.split("\r\n")
    return first, dict(line.split(": ", 1) for line in lines)


@few
@given(keys, st.sampled_from(["", "a token"]))
def test_a_get_is_what_is_signed_for_any_request(key, token):
    aws = AwsKeys("AKID", "secret", "eu-north-1", "s3", token)
    path = f"/bucket/{encoded(key, '/')}"
    line, headers = parsed(ShortGet(aws, "h.example:8443").head(path, int(NOW.timestamp())))
    assert line == f"GET {path} HTTP/1.1"
    assert (headers.pop("host"), headers.pop("accept-encoding")) == ("h.example:8443", "identity")
    request = Request("GET", f"https://h.example:8443{path}", headers={"x-amz-checksum-mode": "ENABLED"})
    assert headers == aws.sign(request, NOW)


@few
@given(keys, values, st.dictionaries(st.sampled_from(["a", "b_x002d_c"]), values), st.binary(max_size=3))
@pytest.mark.parametrize("signer", [AzureKey("account", b"k"), AzureSas("sv=1&sig=2"), AzureToken("hush")])
def test_a_put_is_what_is_signed_for_any_request(signer, key, kind, metadata, body):
    described = {"x-ms-blob-content-type": kind, "x-ms-blob-type": "BlockBlob"}
    described |= {f"x-ms-meta-{name}": metadata[name] for name in sorted(metadata)}
    path, md5 = f"/container/{encoded(key, '/')}", base64.b64encode(hashlib.md5(body).digest()).decode()
    line, headers = parsed(ShortPut(signer, "h.example").head(path, md5, len(body), described, int(NOW.timestamp())))
    assert line == f"PUT {path}{'?' if signer.query else ''}{signer.query} HTTP/1.1"
    assert headers.pop("content-length") == str(len(body))
    assert (headers.pop("host"), headers.pop("accept-encoding")) == ("h.example", "identity")
    conditions = {"if-none-match": "*", "content-md5": md5}
    request = Request("PUT", f"https://h.example{path}", headers=described | conditions, body=body)
    assert headers == signer.sign(request, NOW)
