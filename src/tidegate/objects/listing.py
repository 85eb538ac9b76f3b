"""What a page of a listing says. Pure.

The pages are cut up as both clouds write them, several times as fast as a parser of XML reads them; a page that is
written otherwise is parsed.
"""

from binascii import a2b_base64
from html import unescape
from typing import TYPE_CHECKING, NamedTuple, cast
from urllib.parse import unquote, unquote_plus
from xml.etree import ElementTree as ET

from tidegate.objects.side import Listed

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Page", "Unreadable", "blob_page", "s3_page"]

new = cast("Callable[[type[Listed], tuple[str, int, str, str | None, bool]], Listed]", getattr(tuple, "__new__"))  # noqa: B009
"""What Listed(...) does, in half the time."""
ARCHIVED = ("GLACIER", "DEEP_ARCHIVE")
MD5_LONG = 24
"""Characters of an MD5 in base64."""


class Unreadable(ValueError):
    """It isn't the page of a listing."""


class Page(NamedTuple):
    """`more`: the token with which the next one is asked for; empty after the last."""

    entries: list[Listed]
    more: str


def s3_page(body: bytes, cut: int = 0) -> Page:
    """Of ListObjectsV2 with `encoding-type=url`. `cut`: characters of a prefix, left out of the keys."""
    text = _plain(body)
    entries: list[Listed] = []
    any_archived = ">GLACIER<" in text or ">DEEP_ARCHIVE<" in text
    try:
        _, *pieces = text.split("<Contents>")
        for piece in pieces:
            at = piece.index("<Key>") + 5
            name = piece[at : piece.index("<", at)]
            at = piece.index("<ETag>", at) + 6
            etag = piece[at : piece.index("<", at)].strip('"')
            at = piece.index("<Size>", at) + 6
            size = int(piece[at : piece.index("<", at)])
            key = name.replace("%2F", "/")
            if "%" in key or "+" in key:
                key = unquote_plus(name)
            archived = any_archived and (">GLACIER<" in piece or ">DEEP_ARCHIVE<" in piece)
            if len(key) > cut:
                entries.append(new(Listed, (key[cut:], size, etag, etag if len(etag) == 32 else None, archived)))
        if not text.rstrip().endswith("</ListBucketResult>"):
            return _s3_parsed(body, cut)
    except ValueError:  # not in the order in which S3 writes it
        return _s3_parsed(body, cut)
    return Page(entries, _more(_token(text, "<NextContinuationToken>"), truncated="<IsTruncated>true" in text))


def _s3_parsed(body: bytes, cut: int) -> Page:
    root = _root(body, "ListBucketResult")
    entries: list[Listed] = []
    for each in root.iterfind("{*}Contents"):
        key = unquote_plus(each.findtext("{*}Key") or "")[cut:]
        etag = (each.findtext("{*}ETag") or "").strip('"')
        archived = each.findtext("{*}StorageClass") in ARCHIVED
        if key:
            size = int(each.findtext("{*}Size") or 0)
            entries.append(Listed(key, size, etag, etag if len(etag) == 32 else None, archived))
    more = root.findtext("{*}NextContinuationToken") or ""
    return Page(entries, _more(more, truncated=root.findtext("{*}IsTruncated") == "true"))


def _more(token: str, *, truncated: bool) -> str:
    if truncated and not token:
        raise Unreadable("it is cut off, and doesn't say where it goes on")
    return token if truncated else ""


def blob_page(body: bytes, cut: int = 0) -> Page:
    """Of List Blobs. `cut`: characters of a prefix, left out of the names."""
    text = _plain(body)
    entries: list[Listed] = []
    any_archived = "<AccessTier>Archive<" in text
    try:
        _, *pieces = text.split("<Blob>")
        for piece in pieces:
            at = piece.index("<Name>") + 6
            key = piece[at : piece.index("<", at)]
            at = piece.index("<Etag>", at) + 6
            etag = piece[at : piece.index("<", at)].strip('"')
            at = piece.index("<Content-Length>", at) + 16
            size = int(piece[at : piece.index("<", at)])
            at = piece.find("<Content-MD5>", at) + 13
            md5 = a2b_base64(piece[at : at + MD5_LONG]).hex() if at > 13 else None
            if "&" in key:
                key = unescape(key)
            archived = any_archived and "<AccessTier>Archive<" in piece
            if len(key) > cut:
                entries.append(new(Listed, (key[cut:], size, etag, md5, archived)))
        if not text.rstrip().endswith("</EnumerationResults>"):
            return _blob_parsed(body, cut)
    except ValueError:  # not in the order in which Azure writes it; or a name in percents
        return _blob_parsed(body, cut)
    return Page(entries, _token(text, "<NextMarker>"))


def _blob_parsed(body: bytes, cut: int) -> Page:
    root = _root(body, "EnumerationResults")
    entries: list[Listed] = []
    for each in root.iterfind("Blobs/Blob"):
        name, properties = each.find("Name"), each.find("Properties")
        if name is None or properties is None:
            continue
        key = name.text or ""
        key = (unquote(key) if name.get("Encoded") == "true" else key)[cut:]
        etag = (properties.findtext("Etag") or "").strip('"')
        said = properties.findtext("Content-MD5")
        md5 = a2b_base64(said).hex() if said else None
        if key:
            archived = properties.findtext("AccessTier") == "Archive"
            entries.append(Listed(key, int(properties.findtext("Content-Length") or 0), etag, md5, archived))
    return Page(entries, root.findtext("NextMarker") or "")


def _plain(body: bytes) -> str:
    """With the quotes of ETags as such; a name is the same whether they are undone in it now or later."""
    return body.decode(errors="replace").replace("&quot;", '"').replace("&#34;", '"')


def _token(text: str, element: str) -> str:
    at = text.rfind(element)
    start = at + len(element)
    return unescape(text[start : text.index("<", start)]) if at >= 0 else ""


def _root(body: bytes, name: str) -> ET.Element:
    """Anything else isn't taken for an empty listing: that would be taken for deletions."""
    try:
        root = ET.fromstring(body)  # noqa: S314 - from the cloud itself
    except ET.ParseError as error:
        raise Unreadable(str(error)) from None
    found = root.tag.rpartition("}")[2]
    if found != name:
        raise Unreadable(f"it is {found}, not {name} {root.findtext('{*}Code') or ''}".rstrip())
    return root
