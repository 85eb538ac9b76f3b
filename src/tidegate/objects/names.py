"""What either side can't hold as a name, and metadata names that both can hold. Pure.

Blob: learn.microsoft.com, "Naming and Referencing Containers, Blobs, and Metadata". S3: "Object keys".
"""

import re

from tidegate.objects.side import OF_S3, Properties

__all__ = [
    "key_of",
    "metadata_for_azure",
    "metadata_from_azure",
    "name_of",
    "refused_by_blob",
    "refused_by_s3",
    "unfit_for_blob",
    "unfit_for_s3",
]

LONGEST = 1024
"""S3 counts bytes of UTF-8, Blob characters."""
SEGMENTS = 254

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ue000\ufffe\uffff]")
OTHERS = re.compile(r"[\\\x00-\x1f\x7f-\x9f\ue000\ufffe\uffff]")
LAST_DOT = re.compile(r"\.(?=/|\Z)")
STRANGE = re.compile(rf"{OTHERS.pattern}|{LAST_DOT.pattern}|_x[0-9a-f]{{4}}")
PLAIN = re.compile(r"[A-Za-z0-9_]")
ESCAPE = re.compile(r"_x([0-9a-f]{4})_")
LOOKS_ESCAPED = re.compile(r"_(?=x[0-9a-f]{4})")
OWN = "tidegate-"
MOST_METADATA, MOST_OF_S3 = 8192, 2048
TAG = re.compile(r"[A-Za-z0-9 +\-./:=_]+")


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


def name_of(key: str) -> str:
    """A name that Blob can hold: what it can't becomes _x005c_, as in .NET's XmlConvert. Reversible."""
    if not STRANGE.search(key):
        return key
    key = LOOKS_ESCAPED.sub("_x005f_", key)
    key = OTHERS.sub(lambda match: f"_x{ord(match[0]):04x}_", key)
    return LAST_DOT.sub("_x002e_", key)


def key_of(name: str) -> str:
    """The inverse; a name that `name_of` doesn't make stays as it is."""
    if "_x" not in name:
        return name
    key = _unescaped(name)
    return key if name_of(key) == name else name


def metadata_for_azure(properties: Properties) -> dict[str, str]:
    """Azure's names are identifiers: any other character becomes _x002d_. What only S3 has as a header is among them.

    Reversible.
    """
    found = {_identifier(name): value for name, value in properties.metadata.items()}
    own = {name: properties.headers[name] for name in OF_S3 if name in properties.headers}
    return found | {_identifier(f"{OWN}{name}"): value for name, value in own.items()}


def metadata_from_azure(metadata: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The inverse: S3's own headers, and the metadata. Azure keeps the case of a name, S3 doesn't."""
    named = {_unescaped(name.lower()): value for name, value in metadata.items()}
    own = {name: named.pop(f"{OWN}{name}") for name in OF_S3 if f"{OWN}{name}" in named}
    return own, named


def unfit_for_blob(properties: Properties) -> str:
    """Why Blob can't carry these; empty if it can. learn.microsoft.com, "Set Blob Metadata", "Set Blob Tags"."""
    metadata = metadata_for_azure(properties)
    size = sum(len(name) + len(value) for name, value in metadata.items())
    if size > MOST_METADATA:
        return f"its metadata are {size:,} bytes long, Blob takes {MOST_METADATA:,}"
    for name, value in properties.tags.items():
        if not (TAG.fullmatch(name) and len(name) <= 128 and (TAG.fullmatch(value) or not value)):
            return f"Blob takes no such tag as {name}={value}"
    return ""


def unfit_for_s3(properties: Properties) -> str:
    """Why S3 can't carry these; empty if it can. docs.aws.amazon.com, "Working with object metadata"."""
    size = sum(len(name.encode()) + len(value.encode()) for name, value in properties.metadata.items())
    return f"its metadata are {size:,} bytes long, S3 takes {MOST_OF_S3:,}" if size > MOST_OF_S3 else ""


def _unescaped(text: str) -> str:
    return ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)


def _identifier(name: str) -> str:
    name = LOOKS_ESCAPED.sub("_x005f_", name)
    parts = [c if PLAIN.match(c) and not (i == 0 and c.isdigit()) else f"_x{ord(c):04x}_" for i, c in enumerate(name)]
    return "".join(parts)
