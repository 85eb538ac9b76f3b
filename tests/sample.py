"""A migration of made-up addresses, for tests that talk to no server."""

from typing import Any

from tidegate.runbook.migration import Migration

__all__ = ["sample_document", "sample_migration"]


def sample_document(**changes: Any) -> dict[str, Any]:
    def component(kind: str) -> dict[str, Any]:
        def deployment(cloud: str, port: int) -> dict[str, Any]:
            address = {"address": f"127.0.0.1:{port}"} if kind == "service" else {}
            return {"endpoints": f"/run/{kind}-{cloud}.json"} | address

        return {
            "kind": kind,
            "stores": ["orders", "receipts"],
            "logins": {"orders": {"user": f"shop_{kind}", "password": "env:APP_PASSWORD"}},
            "aws": deployment("aws", 18081),
            "azure": deployment("azure", 18082),
        }

    document = {
        "name": "shop",
        "environment": "lab",
        "strategy": "incremental",
        "components": {"shop": component("service"), "settler": component("worker")},
        "stores": {
            "orders": {
                "kind": "postgres",
                "aws": {
                    "dsn": "postgresql://admin@db:5432/shop",
                    "password": "env:A",
                    "peer": "127.0.0.1:15432",
                },
                "azure": {
                    "dsn": "postgresql://admin@db:5433/shop",
                    "password": "env:B",
                    "peer": "127.0.0.1:15433",
                },
            },
            "receipts": {
                "kind": "bucket",
                "aws": {"bucket": "receipts", "region": "eu-west-1", "access_key": "env:C", "secret_key": "env:D"},
                "azure": {"account": "receipts", "container": "receipts", "key": "env:E"},
            },
        },
        "edge": {
            "kind": "envoy",
            "service": "shop",
            "listen": "127.0.0.1:18070",
            "admin": "http://127.0.0.1:18090",
            "hold": "http://127.0.0.1:18099",
            "folder": "/run/edge",
        },
        "shift": [
            {"path": "/catalog"},
            {"user_type": "beta"},
            {"country": "SE"},
            {"percent": 5},
            {"percent": 25},
            {"percent": 50},
            "switch",
            {"percent": 100},
        ],
    }
    return document | changes


def sample_migration(**changes: Any) -> Migration:
    return Migration.model_validate(sample_document(**changes))
