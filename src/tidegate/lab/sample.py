"""The sample migration.yaml: the shop of the lab, as an operator would write it."""

from typing import Any
from urllib.parse import quote

import yaml

from tidegate.lab.book import BACKUPS, BUCKET, OWN_OBJECTS, AddressBook, Options
from tidegate.runbook.migration import Cloud

__all__ = ["REGION", "sample_document", "sample_yaml"]

CLOUDS: tuple[Cloud, ...] = ("aws", "azure")
REGION = "eu-north-1"

SHIFT = [
    {"path": "/catalog"},
    {"user_type": "beta"},
    {"country": "SE"},
    {"percent": 5},
    {"percent": 25},
    {"percent": 50},
    "switch",
    {"percent": 100},
]

WRITES_FOUND = "select write_id::text from shop.orders where write_id = any(%s::uuid[])"

HEAD = """\
# One workload, from AWS to Azure. `tidegate schema` describes every field; secrets are references.
"""


def sample_yaml(book: AddressBook, options: Options) -> str:
    return HEAD + yaml.safe_dump(sample_document(book, options), sort_keys=False, width=110)


def sample_document(book: AddressBook, options: Options) -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": "shop",
        "environment": "lab",
        "strategy": options.strategy,
        "components": {
            "shop": _component("service", "shop_app", book.app_password)
            | {cloud: _deployment(book, "shop", cloud) | {"address": book.service.of(cloud)} for cloud in CLOUDS},
            "settler": _component("worker", "shop_worker", book.worker_password)
            | {cloud: _deployment(book, "settler", cloud) for cloud in CLOUDS},
        },
        "stores": {
            "orders": _database(book, "shop", options)
            | {"passwords": {"shop_app": book.app_password, "shop_worker": book.worker_password}},
            "receipts": _bucket(book, BUCKET),
        },
        "edge": {
            "kind": "envoy",
            "service": "shop",
            "listen": book.edge,
            "admin": f"http://{book.edge_admin}",
            "hold": f"http://{book.hold}",
            "folder": str(book.edge_folder),
        },
        "shift": SHIFT if options.strategy == "incremental" else [],
        "objectives": {
            "lag_objects": 5,
            "hold": _seconds(options.hold),
            "bake": _seconds(options.bake),
            "watch": _seconds(options.watch),
        },
        "witness": {"file": str(book.ledger), "store": "orders", "query": WRITES_FOUND},
    }
    if book.own_database is not None:
        document["stores"]["own-database"] = _database(book, book.own_database, options)
    if OWN_OBJECTS in book.queues:
        document["stores"]["own-objects"] = _bucket(book, OWN_OBJECTS)
    return document


def _component(kind: str, user: str, password: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "stores": ["orders", "receipts"],
        "logins": {"orders": {"user": user, "password": password}},
    }


def _deployment(book: AddressBook, component: str, cloud: Cloud) -> dict[str, Any]:
    return {"endpoints": str(book.endpoints(component, cloud))}


def _database(book: AddressBook, database: str, options: Options) -> dict[str, Any]:
    def server(cloud: Cloud) -> dict[str, Any]:
        return {
            "dsn": f"postgresql://postgres@{book.database.of(cloud)}/{quote(database, safe='')}",
            "password": book.database_password.of(cloud),
            "peer": book.database_peer.of(cloud),
            "replication_peer": book.replication_peer.of(cloud),
        }

    method = {"method": options.method, "backup": _backup(book)} if options.method == "restore" else {}
    return {"kind": "postgres", **method, "aws": server("aws"), "azure": server("azure")}


def _backup(book: AddressBook) -> dict[str, Any]:
    return {
        "place": f"azure://{book.account}/{BACKUPS}",
        "key": book.backup_key,
        "folder": str(book.folder / BACKUPS),
        "access": {"key": book.account_key, "endpoint": book.objects_peer.azure},
    }


def _bucket(book: AddressBook, name: str) -> dict[str, Any]:
    return {
        "kind": "bucket",
        "aws": {
            "bucket": name,
            "region": REGION,
            "access_key": book.access_key,
            "secret_key": book.secret_key,
            "endpoint": book.objects.aws,
            "peer": book.objects_peer.aws,
            "events": book.queues[name],
        },
        "azure": {
            "account": book.account,
            "container": name,
            "key": book.account_key,
            "endpoint": book.objects.azure,
            "peer": book.objects_peer.azure,
        },
    }


def _seconds(seconds: float) -> str:
    return f"{seconds:g}s"
