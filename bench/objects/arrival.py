"""Proof, from outside both tools, that everything arrived: what S3 lists against what Blob lists and serves.

Over plain HTTP and without credentials. S3's ETags are MD5s here. Blob's Content-MD5 is only what the writer claimed,
if it wrote a list of blocks: so contents are read too, and hashed here.
"""

import base64
import hashlib
import http.client
import random
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from urllib.parse import quote, unquote, urlencode, urlsplit

from bench.objects.commands import BUCKET, CONTAINER

__all__ = ["prove"]

NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"
SAMPLE = 100
PIECE = 2**20

Held = dict[str, tuple[int, str]]
"""Name -> bytes, MD5 in hexadecimal."""


def prove(s3: str, blob: str, count: int, *, read: int = SAMPLE) -> None:
    """All `count` names, sizes and MD5s; of `read` blobs, chosen at random, the content.

    Raises RuntimeError with what is missing or wrong.
    """
    source, target = _s3(s3), _blobs(blob)
    if len(source) != count:
        raise RuntimeError(f"the source holds {len(source):,} objects instead of {count:,}")
    if wrong := [name for name in source.keys() | target.keys() if source.get(name) != target.get(name)]:
        first = min(wrong)
        raise RuntimeError(
            f"{len(wrong):,} of {count:,} objects didn't arrive whole, such as {first!r}: "
            f"{target.get(first)} instead of {source.get(first)}"
        )
    connection = _connect(blob)
    for name in random.sample(sorted(source), min(read, count)):
        connection.request("GET", f"{urlsplit(blob).path}/{CONTAINER}/{quote(name)}", headers=HEADERS)
        answer, found, size = connection.getresponse(), hashlib.md5(usedforsecurity=False), 0
        while piece := answer.read(PIECE):
            found.update(piece)
            size += len(piece)
        if (size, found.hexdigest()) != source[name]:
            raise RuntimeError(f"{name!r} arrived as something else: {size:,} bytes, MD5 {found.hexdigest()}")
    connection.close()


HEADERS = {"x-ms-version": "2021-12-02"}
"""Without a version, Azure takes an anonymous request for one of 2009, and shows no MD5."""


def _s3(url: str) -> Held:
    held: Held = {}
    more = {"list-type": "2", "encoding-type": "url"}
    for page in _pages(url, f"/{BUCKET}", more, "continuation-token", f"{NAMESPACE}NextContinuationToken"):
        for each in page.iter(f"{NAMESPACE}Contents"):
            text = {child.tag.removeprefix(NAMESPACE): child.text or "" for child in each}
            held[unquote(text["Key"])] = int(text["Size"]), text["ETag"].strip('"')
    return held


def _blobs(url: str) -> Held:
    held: Held = {}
    path, more = f"{urlsplit(url).path}/{CONTAINER}", {"restype": "container", "comp": "list"}
    for page in _pages(url, path, more, "marker", "NextMarker"):
        for each in page.iter("Blob"):
            size, md5 = each.findtext("Properties/Content-Length"), each.findtext("Properties/Content-MD5")
            held[each.findtext("Name") or ""] = int(size or -1), base64.b64decode(md5 or "").hex()
    return held


def _pages(url: str, path: str, query: dict[str, str], token: str, element: str) -> Iterator[ET.Element]:
    connection = _connect(url)
    further = dict[str, str]()
    while True:
        connection.request("GET", f"{path}?{urlencode(query | further)}", headers=HEADERS)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{url}{path} can't be listed: {answer.status} {body[:500]!r}")
        page = ET.fromstring(body)
        yield page
        if not (following := page.findtext(element)):
            connection.close()
            return
        further = {token: following}


def _connect(url: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
