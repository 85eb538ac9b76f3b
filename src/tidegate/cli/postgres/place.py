"""Where a backup is kept, how to get there, and its key: from the options of the commands that need them."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from pydantic import TypeAdapter, ValidationError

from tidegate.cli.given import Given
from tidegate.cli.postgres.sides import refused
from tidegate.errors import UsageError
from tidegate.postgres.archive.key import Key, open_key
from tidegate.postgres.archive.vault import FolderVault, Vault
from tidegate.secret import SecretRef

__all__ = ["PLACE", "Place"]

KEY = TypeAdapter(SecretRef)
ACCESS = {
    "region": "--region",
    "endpoint": "--endpoint",
    "access_key": "--access-key",
    "secret_key": "--secret-key",
    "key": "--account-key",
}
"""The options, by VaultAccess's fields."""

OPTIONS = (
    click.argument("url", metavar="PLACE"),
    click.option("--key", required=True, metavar="REF", envvar="TIDEGATE_BACKUP_KEY", show_envvar=True,
                 help="env:NAME or file:PATH of the backup's key: 32 bytes in hex or base64, as `openssl rand -hex 32` "
                      "makes them."),
    click.option("--region", metavar="REGION", envvar=["AWS_REGION", "AWS_DEFAULT_REGION"], show_envvar=True,
                 help="Of the bucket."),
    click.option("--access-key", default="env:AWS_ACCESS_KEY_ID", show_default=True, metavar="REF",
                 help="For S3: env:NAME or file:PATH."),
    click.option("--secret-key", default="env:AWS_SECRET_ACCESS_KEY", show_default=True, metavar="REF",
                 help="For S3: env:NAME or file:PATH."),
    click.option("--account-key", default="env:AZURE_STORAGE_KEY", show_default=True, metavar="REF",
                 help="For Blob: env:NAME or file:PATH."),
    click.option("--endpoint", metavar="URL", help="Of an S3 or a Blob service that isn't the cloud's own."),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    vault: Vault
    key: Key


@asynccontextmanager
async def _opened(given: dict[str, Any]) -> AsyncGenerator[Place]:
    """Raises UsageError, InvalidMigration for a key that can't be read."""
    url, key = given.pop("url"), _key(given.pop("key"))
    access = {field: given.pop(option.removeprefix("--").replace("-", "_")) for field, option in ACCESS.items()}
    vault = FolderVault(Path(url).expanduser()) if url and "://" not in url else _in_cloud(url, access)
    try:
        yield Place(vault, key)
    finally:
        await vault.close()


def _key(reference: str) -> Key:
    try:
        return open_key(KEY.validate_python(reference))
    except ValidationError:
        raise UsageError("a secret is a reference: env:NAME or file:PATH", where="--key") from None


def _in_cloud(url: str, access: dict[str, str | None]) -> Vault:
    from tidegate.steps.vaults import VaultAccess, open_vault  # noqa: PLC0415 - 10 MiB that a folder doesn't need

    try:
        return open_vault(url, VaultAccess.model_validate(access))
    except ValidationError as error:
        raise refused(error, ACCESS) from None


PLACE = Given(OPTIONS, _opened)
