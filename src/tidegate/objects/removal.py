"""What a move has written on Azure, taken away again; what others wrote stays."""

import asyncio
from contextlib import suppress

from tidegate.objects.blob import BlobSide
from tidegate.objects.manifest import Manifest
from tidegate.objects.side import Changed, Left, Listed
from tidegate.objects.sync import AT_ONCE

__all__ = ["Removal"]


class Removal:
    """Raises Unreachable, Refused; may be done again."""

    def __init__(self, azure: BlobSide, manifest: Manifest) -> None:
        self.azure, self.manifest = azure, manifest
        self._made = manifest.state("container") == "made"
        self._sent = manifest.sent("azure")

    async def run(self) -> None:
        if not await self.azure.exists():
            return
        # what a prefix leaves out isn't seen here
        if self._made and not self.azure.prefix and await self._all_may_go():
            await self.azure.drop()
            return
        async for page in self.azure.pages():
            doomed = [each for each in page if self._may_go(each)]
            for start in range(0, len(doomed), AT_ONCE):
                await asyncio.gather(*(self._delete(each) for each in doomed[start : start + AT_ONCE]))

    async def _all_may_go(self) -> bool:
        async for page in self.azure.pages():
            if not all(self._may_go(each) for each in page):
                return False
        return True

    def _may_go(self, blob: Listed) -> bool:
        """The move wrote it, or, in a container of its own, S3 has the same."""
        row = self.manifest.row(blob.key)
        if blob.md5 in self._sent.get(blob.key, ()):
            return True  # only the answer was never recorded
        return row is not None and row.azure == blob.etag and (row.ours or self._made)

    async def _delete(self, blob: Listed) -> None:
        with suppress(Changed, Left):  # somebody else's by now, or kept by a policy
            await self.azure.delete(blob.key, blob.etag)
