"""What a lab is asked for, and where everything in it is found."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from tidegate.runbook.migration import Cloud

__all__ = ["BACKUPS", "BUCKET", "LINKS", "OWN_OBJECTS", "SERVERS", "AddressBook", "Options", "Sides"]

BUCKET = "receipts"
BACKUPS = "backups"
OWN_OBJECTS = "own-objects"

LINKS = {
    "orders-aws": "AWS's database as seen from Azure",
    "orders-azure": "Azure's database as seen from AWS",
    "replication-aws": "AWS's database as Azure's follows it",
    "replication-azure": "Azure's database as AWS's follows it",
    "receipts-aws": "S3 as seen from Azure",
    "receipts-azure": "Blob as seen from AWS",
}
"""The links of the network between the clouds: each can be cut and healed on its own."""

SERVERS = (
    "postgres-aws",
    "postgres-azure",
    "moto",
    "azurite",
    "wan",
    "hold",
    "envoy",
    "shop-aws",
    "shop-azure",
    "settler-aws",
    "settler-azure",
)
"""What runs in a lab. The load generator comes and goes."""


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Options(Model):
    """Durations in seconds."""

    strategy: Literal["incremental", "window"] = "incremental"
    method: Literal["replicate", "restore"] = Field(default="replicate", description="how the databases go over")
    rows: Annotated[int, Field(ge=100)] = Field(default=200_000, description="rows that the shop has from the start")
    receipts: Annotated[int, Field(ge=1)] = Field(default=2_000, description="objects that it has from the start")
    delay: Annotated[float, Field(ge=0, lt=1)] = Field(default=0.002, description="between the clouds, each way")
    rate: Annotated[int, Field(ge=1)] = Field(default=200, description="requests per second of the load generator")
    bake: Annotated[float, Field(gt=0)] = 5
    hold: Annotated[float, Field(gt=0, le=20)] = 8
    watch: Annotated[float, Field(gt=0)] = 8
    database: Path | None = Field(default=None, description="the user's own dump, taken along")
    objects: Path | None = Field(default=None, description="a folder of the user's own files, taken along")
    idle: Annotated[float, Field(gt=0)] = Field(default=600, description="ends when nobody has called for so long")


class Sides(Model):
    """One thing that exists in both clouds."""

    aws: str
    azure: str

    def of(self, cloud: Cloud) -> str:
        return self.aws if cloud == "aws" else self.azure


class AddressBook(Model):
    """Where everything is. Databases and services as HOST:PORT; secrets are references."""

    folder: Path
    database: Sides
    database_peer: Sides
    replication_peer: Sides
    database_password: Sides
    app_password: str
    worker_password: str
    objects: Sides = Field(description="the endpoints of S3 and Blob")
    objects_peer: Sides
    access_key: str
    secret_key: str
    account: str
    account_key: str
    backup_key: str
    service: Sides
    edge: str
    edge_admin: str
    hold: str
    queues: dict[str, str] = Field(description="bucket: URL of the queue that receives its events")
    own_database: str | None = Field(default=None, description="the name of the user's own, on both servers")

    def endpoints(self, component: str, cloud: Cloud) -> Path:
        return self.folder / "endpoints" / f"{component}-{cloud}.json"

    @property
    def edge_folder(self) -> Path:
        return self.folder / "edge"

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.jsonl"

    @property
    def migration(self) -> Path:
        return self.folder / "migration.yaml"
