"""What either side can't hold as a name, and metadata names that both can hold. Pure.

Blob: learn.microsoft.com, "Naming and Referencing Containers, Blobs, and Metadata". S3: "Object keys".
"""

import re

__all__ = ["metadata_for_azure", "metadata_from_azure", "refused_by_blob", "refused_by_s3"]

LONGEST = 1024
"""S3 counts bytes of UTF-8, Blob characters."""
SEGMENTS = 254

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ue000\ufffe\uffff]")
PLAIN = re.compile(r"[A-Za-z0-9_]")
ESCAPE = re.compile(r"_x([0-9a-f]{4})_")
LOOKS_ESCAPED = re.compile(r"_(?=x[0-9a-f]{4})")


def refused_by_blob(key: str) -> str:
    """Why Blob can't hold an object of this name, or would hold it under another; empty if it can."""
    if not 0 < len(key) <= LONGEST:
        return f"longer than {LONGEST} characters" if key else "empty"
    if "\\" in key:
        return "a backslash, which Blob turns into /"
    if CONTROL.search(key):
        return "a control character"
    segments = key.split("/")
    if any(segment in {".", ".."} for segment in segments):
        return "a segment . or .., which is taken for a path"
    if any(segment.endswith(".") for segment in segments):
        return "a segment that ends with a dot, which Blob cuts off"
    return f"more than {SEGMENTS} segments" if len(segments) > SEGMENTS else ""


def refused_by_s3(name: str) -> str:
    """Why S3 can't hold a blob of this name; empty if it can."""
    return f"longer than {LONGEST} bytes" if len(name.encode()) > LONGEST else ""


def metadata_for_azure(metadata: dict[str, str]) -> dict[str, str]:
    """Azure's names are identifiers: any other character becomes _x002d_, as in .NET's XmlConvert. Reversible."""
    return {_identifier(name): value for name, value in metadata.items()}


def metadata_from_azure(metadata: dict[str, str]) -> dict[str, str]:
    """The inverse. Azure keeps the case of a name, S3 doesn't."""
    return {ESCAPE.sub(lambda match: chr(int(match[1], 16)), name.lower()): v for name, v in metadata.items()}


def _identifier(name: str) -> str:
    name = LOOKS_ESCAPED.sub("_x005f_", name)
    parts = [c if PLAIN.match(c) and not (i == 0 and c.isdigit()) else f"_x{ord(c):04x}_" for i, c in enumerate(name)]
    return "".join(parts)
