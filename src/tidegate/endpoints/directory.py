"""Where each component finds its stores, written for its instances; and their word that they use it.

The file of a deployment (`components.X.aws.endpoints`) is JSON, replaced atomically:

    {"revision": 3, "active": true, "primary": "aws",
     "stores": {"orders": {"kind": "postgres", "dsn": "postgresql://shop_app@10.0.0.5:5432/shop",
                           "password": "file:/run/secrets/shop_app"},
                "receipts": {"kind": "s3", "endpoint": "https://...", "region": "eu-west-1", "bucket": "receipts",
                             "access_key": "env:...", "secret_key": "env:..."}}}

or, for a bucket on Azure, {"kind": "blob", "endpoint", "account", "container", "key" or "sas"}. Secrets stay
references; where the migration names none, the instance goes in by its cloud's usual way.
An instance that has taken a revision up and uses nothing older writes FILE.acks/INSTANCE, which holds the
revision as text. `active: false` tells a worker to finish what it has in hand and take up nothing new.
"""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit, urlunsplit

from tidegate.errors import DeadlinePassed, LocalFault
from tidegate.files import write
from tidegate.runbook.migration import AwsBucket, Cloud, Component, Database, Deployment, Migration, Store

__all__ = ["Directory", "Entry"]

POLL = 0.005


@dataclass(frozen=True, slots=True)
class Entry:
    """What one deployment is told: which cloud's stores it uses, and whether it works at all."""

    primary: Cloud
    active: bool


class Directory:
    """The endpoints of every deployment of one migration."""

    def __init__(self, migration: Migration) -> None:
        self.migration = migration

    def deployments(self, kind: str | None = None) -> list[tuple[str, Cloud]]:
        return [
            (name, cloud)
            for name, component in self.migration.components.items()
            if kind in (None, component.kind)
            for cloud in ("aws", "azure")
        ]

    def settled(self, primary: Cloud) -> dict[tuple[str, Cloud], Entry]:
        """Everybody uses `primary`'s stores; workers are active in that cloud alone."""
        components = self.migration.components
        return {
            (name, cloud): Entry(primary, active=components[name].kind == "service" or cloud == primary)
            for name, cloud in self.deployments()
        }

    def read(self, name: str, cloud: Cloud) -> Entry | None:
        """What was last written for it; None if nothing was. Raises LocalFault if it can't be read."""
        document = self._document(self._deployment(name, cloud))
        return Entry(cast("Cloud", document["primary"]), active=bool(document["active"])) if document else None

    def write(self, entries: Mapping[tuple[str, Cloud], Entry]) -> None:
        """Idempotent: what already says the same keeps its revision. Raises LocalFault if a file can't be written."""
        for (name, cloud), entry in entries.items():
            component, deployment = self.migration.components[name], self._deployment(name, cloud)
            old = self._document(deployment)
            new = {
                "active": entry.active,
                "primary": entry.primary,
                "stores": {store: self._address(component, store, cloud, entry.primary) for store in component.stores},
            }
            if old is None or {key: old.get(key) for key in new} != new:
                revised = {"revision": int(str((old or {}).get("revision", 0))) + 1, **new}
                write(Path(deployment.endpoints), json.dumps(revised, indent=1), parents=True)

    def silent(self, entries: Mapping[tuple[str, Cloud], Entry]) -> list[str]:
        """The deployments of which fewer instances than declared have acknowledged what is written now."""
        return [
            f"{name} on {cloud}" for name, cloud in entries if not self._acknowledged(self._deployment(name, cloud))
        ]

    async def acknowledged(self, entries: Mapping[tuple[str, Cloud], Entry], deadline: float) -> None:
        """Return when every instance has. `deadline` is on time.monotonic(). Raises DeadlinePassed."""
        while waiting := self.silent(entries):
            if time.monotonic() >= deadline:
                raise DeadlinePassed(
                    "not every instance has acknowledged its endpoints in time",
                    where=", ".join(waiting),
                    mend="see whether its instances run and can read their endpoints file",
                )
            await asyncio.sleep(POLL)

    def _deployment(self, name: str, cloud: Cloud) -> Deployment:
        component = self.migration.components[name]
        return component.aws if cloud == "aws" else component.azure

    def _document(self, deployment: Deployment) -> dict[str, object] | None:
        try:
            return json.loads(Path(deployment.endpoints).read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise LocalFault(
                f"the endpoints file can't be read: {error}",
                where=deployment.endpoints,
                mend="see to its permissions, or move it away",
            ) from None

    def _acknowledged(self, deployment: Deployment) -> bool:
        document = self._document(deployment)
        if document is None:
            return True
        acks = Path(f"{deployment.endpoints}.acks")
        return sum(_text(ack) == str(document["revision"]) for ack in _files(acks)) >= deployment.instances

    def _address(self, component: Component, name: str, cloud: Cloud, primary: Cloud) -> dict[str, str]:
        """Where an instance in `cloud` reaches the store that `primary` owns."""
        store: Store = self.migration.stores[name]
        if isinstance(store, Database):
            server = store.aws if primary == "aws" else store.azure
            login = component.logins[name]
            address = {
                "kind": "postgres",
                "dsn": _as_seen_by(server.dsn, login.user, server.peer, own=cloud == primary),
            }
            return address | ({"password": login.password} if login.password else {})
        side = store.aws if primary == "aws" else store.azure
        endpoint = side.endpoint if cloud == primary else side.peer or side.endpoint
        address = {"endpoint": endpoint} if endpoint else {}
        address |= {"prefix": side.prefix} if side.prefix else {}
        if isinstance(side, AwsBucket):
            address = {"kind": "s3", "region": side.region, "bucket": side.bucket} | address
            secrets = {"access_key": side.access_key, "secret_key": side.secret_key}
        else:
            address = {"kind": "blob", "account": side.account, "container": side.container} | address
            secrets = {"key": side.key, "sas": side.sas}
        return address | {name: reference for name, reference in secrets.items() if reference}


def _as_seen_by(dsn: str, user: str, peer: str | None, *, own: bool) -> str:
    parts = urlsplit(dsn)
    host = parts.netloc.rpartition("@")[2] if own or peer is None else peer
    return urlunsplit(parts._replace(netloc=f"{user}@{host}"))


def _files(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []
    except OSError as error:
        raise LocalFault(
            f"the acknowledgements can't be read: {error.strerror}",
            where=str(folder),
            mend="see to the folder's permissions",
        ) from None


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # replaced at this very moment: asked again
        return ""
