"""The two requests by which most objects go over, written and signed as text: what signing.py does for any, for these.

Pure: the clock is an argument. Tests hold both against signing.py's.
"""

import hashlib

from tidegate.objects.signing import ALGORITHM, UNSIGNED, VERSION, AwsKeys, AzureKey, AzureToken, Signer, azure_date

__all__ = ["ShortGet", "ShortPut"]


class ShortGet:
    """GET of an object with its checksums, from S3."""

    def __init__(self, keys: AwsKeys, host: str) -> None:
        self.keys, self.host = keys, host
        token = f"x-amz-security-token:{keys.token}\n" if keys.token else ""
        names = "host;x-amz-checksum-mode;x-amz-content-sha256;x-amz-date"
        names += ";x-amz-security-token" if keys.token else ""
        self._signed = f"{token}\n{names}\n{UNSIGNED}"
        self._sent = f"x-amz-security-token: {keys.token}\r\n" if keys.token else ""
        self._names = names
        self._second = 0

    def head(self, path: str, now: int) -> bytes:
        """`path` is encoded. `now`: Unix seconds."""
        if now != self._second:
            self._begin(now)
        canonical = f"GET\n{path}\n\n{self._canonical}"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        signature = self._today.key.digest(self._to_sign + digest).hex()
        return f"GET {path} HTTP/1.1\r\n{self._headers}{signature}\r\n\r\n".encode()

    def _begin(self, now: int) -> None:
        self._second, self._today = now, self.keys.today(now)
        stamp, scope = self._today.stamp, self._today.scope
        self._canonical = (
            f"host:{self.host}\nx-amz-checksum-mode:ENABLED\nx-amz-content-sha256:{UNSIGNED}\n"
            f"x-amz-date:{stamp}\n{self._signed}"
        )
        self._to_sign = f"{ALGORITHM}\n{stamp}\n{scope}\n"
        self._headers = (
            f"host: {self.host}\r\naccept-encoding: identity\r\nx-amz-checksum-mode: ENABLED\r\n"
            f"x-amz-content-sha256: {UNSIGNED}\r\nx-amz-date: {stamp}\r\n{self._sent}authorization: {ALGORITHM} "
            f"Credential={self.keys.access_key}/{scope}, SignedHeaders={self._names}, Signature="
        )


class ShortPut:
    """PUT of a blob that isn't there, with its MD5, to Azure."""

    def __init__(self, signer: Signer, host: str) -> None:
        self.signer, self.host = signer, host
        self._key = signer if isinstance(signer, AzureKey) else None
        self._query = f"?{signer.query}" if signer.query else ""
        self._second = 0

    def head(self, path: str, md5: str, size: int, described: dict[str, str], now: int) -> bytes:
        """`path` is encoded; `md5` in base64; `described`: x-ms-blob-... and x-ms-meta-... headers, sorted by name."""
        if now != self._second:
            self._begin(now)
        lines = "".join([f"{name}: {value}\r\n" for name, value in described.items()])
        authorization = self._others
        if self._key is not None:
            before = "".join([f"{name}:{value.strip()}\n" for name, value in described.items() if name < "x-ms-date"])
            after = "".join([f"{name}:{value.strip()}\n" for name, value in described.items() if name > "x-ms-date"])
            text = f"PUT\n\n\n{size or ''}\n{md5}\n\n\n\n\n*\n\n\n{before}{self._dated}{after}{self._ends}{path}"
            authorization = f"authorization: {self._key.authorization(text)}\r\n"
        return (
            f"PUT {path}{self._query} HTTP/1.1\r\n{self._headers}{lines}content-md5: {md5}\r\n"
            f"content-length: {size}\r\n{authorization}\r\n"
        ).encode()

    def _begin(self, now: int) -> None:
        self._second, date = now, azure_date(now)
        self._dated = f"x-ms-date:{date}\n"
        self._ends = f"x-ms-version:{VERSION}\n/{self._key.account if self._key else ''}"
        self._others = f"authorization: Bearer {self.signer.token}\r\n" if isinstance(self.signer, AzureToken) else ""
        self._headers = (
            f"host: {self.host}\r\naccept-encoding: identity\r\nif-none-match: *\r\n"
            f"x-ms-date: {date}\r\nx-ms-version: {VERSION}\r\n"
        )
