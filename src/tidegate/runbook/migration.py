"""What the operator writes: one workload, its components, stores, edge, strategy and objectives."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from tidegate.secret import SecretRef

__all__ = [
    "AwsBucket",
    "AzureContainer",
    "Bucket",
    "Cloud",
    "CommandStep",
    "Component",
    "Database",
    "DatabaseServer",
    "Deployment",
    "Edge",
    "ExtraStep",
    "Login",
    "ManualStep",
    "Migration",
    "Objectives",
    "Shift",
    "Store",
    "Witness",
    "other",
]

Cloud = Literal["aws", "azure"]


def other(cloud: Cloud) -> Cloud:
    return "azure" if cloud == "aws" else "aws"


def _seconds(value: object) -> object:
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)", value)
        if match is None:
            raise ValueError("a duration is a number with ms, s, m or h, such as 500ms or 5m")
        return float(match[1]) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[match[2]]
    return value


def _bytes(value: object) -> object:
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(B|KiB|MiB|GiB)", value)
        if match is None:
            raise ValueError("a size is a number with B, KiB, MiB or GiB, such as 1 MiB")
        return int(float(match[1]) * {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}[match[2]])
    return value


def _share(value: object) -> object:
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", value)
        if match is None:
            raise ValueError("a share is a percentage, such as 0.5%")
        return float(match[1]) / 100
    return value


def _plain_dsn(value: str) -> str:
    plain = re.fullmatch(r"postgresql://[^@/:\s]+@[^@/\s]+/[^@/\s?]+(\?\S*)?", value)
    if not plain or "password=" in value.casefold():
        raise ValueError("write postgresql://USER@HOST:PORT/DATABASE; the password goes to `password`, as a reference")
    return value


Seconds = Annotated[float, BeforeValidator(_seconds, json_schema_input_type=float | str), Field(gt=0)]
Size = Annotated[int, BeforeValidator(_bytes, json_schema_input_type=int | str), Field(gt=0)]
Share = Annotated[float, BeforeValidator(_share, json_schema_input_type=float | str), Field(gt=0, lt=1)]
Dsn = Annotated[str, AfterValidator(_plain_dsn)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
Url = Annotated[str, Field(pattern=r"^https?://[^\s/?#]+(/[^\s?#]*)?$")]


class Model(BaseModel):
    # most commands need few of these models: each is built when it is first used
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, defer_build=True)


class DatabaseServer(Model):
    """One database on one server, as an administrator of it sees it."""

    dsn: Dsn
    password: SecretRef | None = None
    peer: Annotated[str, Field(pattern=r"^[^\s:]+:\d+$")] | None = Field(
        default=None, description="HOST:PORT at which the other cloud reaches this server; the dsn's own by default"
    )
    replication_peer: Annotated[str, Field(pattern=r"^[^\s:]+:\d+$")] | None = Field(
        default=None, description="the same for replication alone; peer by default"
    )


class VaultAccess(Model):
    """How to get to a backup's place in a cloud. The fields are those of a bucket and of a container."""

    region: str | None = None
    access_key: SecretRef = "env:AWS_ACCESS_KEY_ID"
    secret_key: SecretRef = "env:AWS_SECRET_ACCESS_KEY"  # noqa: S105 - a reference
    key: SecretRef = "env:AZURE_STORAGE_KEY"
    endpoint: Url | None = None


class Backup(Model):
    """How a database goes over that isn't replicated."""

    place: str = Field(
        description="a folder, s3://BUCKET/PREFIX or azure://ACCOUNT/CONTAINER/PREFIX; each run makes a folder in it"
    )
    key: SecretRef = Field(description="32 bytes in hex or base64, with which everything in it is sealed")
    folder: str = Field(description="on this machine, where the dump stands in plain text while it is sent or restored")
    access: VaultAccess = VaultAccess()
    jobs: Annotated[int, Field(ge=1, le=32)] = 2


class Database(Model):
    kind: Literal["postgres"]
    method: Literal["replicate", "restore"] = Field(
        default="replicate", description="restore: closed, backed up and restored while the edge tells of maintenance"
    )
    backup: Backup | None = Field(default=None, description="for method: restore")
    aws: DatabaseServer
    azure: DatabaseServer
    passwords: dict[str, SecretRef] = Field(
        default_factory=dict, description="role: password, for the login roles that are made on Azure"
    )

    @model_validator(mode="after")
    def _backed_up(self) -> "Database":
        if (self.method == "restore") != (self.backup is not None):
            raise ValueError(
                "method: restore needs a backup" if self.backup is None else "backup is for method: restore"
            )
        return self


class AwsBucket(Model):
    """Without keys of its own, it is reached as AWS's tools reach theirs: environment, profile, the machine's role."""

    bucket: str
    prefix: str = Field(default="", description="only keys that begin with it; what follows it is the name on Azure")
    region: str
    access_key: SecretRef | None = None
    secret_key: SecretRef | None = None
    profile: str | None = Field(default=None, description="of AWS's configuration files")
    endpoint: Url | None = Field(default=None, description="for an S3 that is not AWS's own")
    peer: Url | None = Field(default=None, description="the endpoint as Azure reaches it")
    events: str | None = Field(default=None, description="URL of the SQS queue that receives the bucket's events")

    @model_validator(mode="after")
    def _one_way_in(self) -> "AwsBucket":
        if (self.access_key is None) != (self.secret_key is None):
            raise ValueError("give access_key and secret_key, or neither: then AWS's usual places are looked in")
        if self.access_key and self.profile:
            raise ValueError("give access_key and secret_key, or a profile, not both")
        return self


class AzureContainer(Model):
    """Without a key or a SAS, it is reached as azure-identity finds: environment, workload or managed identity, CLI."""

    account: str
    container: str
    prefix: str = Field(default="", description="names begin with it")
    key: SecretRef | None = Field(default=None, description="the account's")
    sas: SecretRef | None = Field(default=None, description="a shared access signature for the container")
    endpoint: Url | None = Field(default=None, description="for a Blob service that is not Azure's own")
    peer: Url | None = Field(default=None, description="the endpoint as AWS reaches it")

    @model_validator(mode="after")
    def _one_way_in(self) -> "AzureContainer":
        if self.key and self.sas:
            raise ValueError("give key or sas, not both")
        return self


class Bucket(Model):
    kind: Literal["bucket"]
    aws: AwsBucket
    azure: AzureContainer
    names: Literal["refuse", "map"] = Field(
        default="refuse", description="keys that Blob can't hold: refused by name, or held under a name that tells them"
    )
    tags: Literal["copy", "leave"] = "copy"


Store = Annotated[Database | Bucket, Field(discriminator="kind")]


class Login(Model):
    """As whom a component logs in to a database, on both sides."""

    user: str
    password: SecretRef | None = None


class Deployment(Model):
    """One component in one cloud."""

    endpoints: str = Field(description="the file from which its instances read where their stores are")
    instances: Annotated[int, Field(ge=1)] = 1
    address: Annotated[str, Field(pattern=r"^[^\s:]+:\d+$")] | None = Field(
        default=None, description="HOST:PORT to which the edge sends its requests (services only)"
    )


class Component(Model):
    kind: Literal["service", "worker"]
    aws: Deployment
    azure: Deployment
    stores: list[Name] = []
    logins: dict[Name, Login] = Field(default_factory=dict, description="database store: as whom")

    @model_validator(mode="after")
    def _addresses(self) -> "Component":
        for cloud, deployment in (("aws", self.aws), ("azure", self.azure)):
            if (deployment.address is None) == (self.kind == "service"):
                verb = "needs an" if self.kind == "service" else "takes no"
                raise ValueError(f"a {self.kind} {verb} address ({cloud}.address)")
        return self


class Maintenance(Model):
    """What the edge answers, with status 503, while nobody is served."""

    body: str = "This service is being moved and will be back soon.\n"
    content_type: str = "text/plain; charset=utf-8"
    retry_after: Seconds = Field(default=60, description="the answer's Retry-After")


class Edge(Model):
    """An Envoy whose bootstrap came from `tidegate edge bootstrap`, and the hold service beside it."""

    kind: Literal["envoy"]
    service: Name
    listen: Annotated[str, Field(pattern=r"^[^\s:]+:\d+$")] = Field(description="where users' requests arrive")
    admin: Url = Field(description="Envoy's admin interface")
    hold: Url = Field(description="the hold service, `tidegate edge hold`")
    folder: str = Field(description="where Envoy watches for routes")
    maintenance: Maintenance = Maintenance()


class Shift(Model):
    """One more part of the users goes to Azure. Exactly one criterion."""

    path: Annotated[str, Field(pattern=r"^/")] | None = None
    user_type: str | None = None
    country: str | None = None
    percent: Annotated[float, Field(gt=0, le=100)] | None = None
    bake: Seconds | None = Field(default=None, description="how long health is judged before the next stage")

    @model_validator(mode="after")
    def _one_criterion(self) -> "Shift":
        if sum(v is not None for v in (self.path, self.user_type, self.country, self.percent)) != 1:
            raise ValueError("give exactly one of path, user_type, country, percent")
        return self

    @property
    def label(self) -> str:
        if self.percent is not None:
            return f"{self.percent:g}%"
        return self.path or self.user_type or self.country or ""


class Objectives(Model):
    error_rate: Share = Field(default=0.005, description="the share of failed requests that is still acceptable")
    detect: Share = Field(default=0.05, description="the error rate that a bake must have been able to see")
    false_alarms: Share = Field(default=0.01, description="the chance of a false alarm per stage, at most")
    lag: Size = Field(default=2**20, description="a database's replication lag at which the switch may start")
    lag_objects: Annotated[int, Field(ge=0)] = Field(
        default=20, description="a bucket's changes not yet applied at which the switch may start"
    )
    hold: Seconds = Field(default=8, le=20, description="how long requests are held at most; the switch's deadline")
    bake: Seconds = Field(default=60, description="default of a shift's bake")
    watch: Seconds = Field(default=600, description="how long health is watched after the last shift")


class Witness(Model):
    """A log of acknowledged writes kept outside the stores: it names what a forced rollback would lose."""

    file: str = Field(description='JSON lines with "event": "acknowledged", "id" and "at" (Unix seconds)')
    store: Name
    query: str = Field(description="SQL that returns those of the ids in %s that the database has")


class ManualStep(Model):
    kind: Literal["manual"]
    name: Name
    stage: str = Field(description="the stage beside which it stands, as `tidegate plan` names it")
    place: Literal["before", "after"] = "before"
    owner: str
    instructions: str
    undo: str | None = Field(default=None, description="what a person does to take it back")


class CommandStep(Model):
    kind: Literal["command"]
    name: Name
    stage: str
    place: Literal["before", "after"] = "before"
    argv: Annotated[list[str], Field(min_length=1)]
    check: Annotated[list[str], Field(min_length=1)] = Field(
        description="exits 0 if the effect is there, 1 if not; anything else is inconclusive"
    )
    undo: Annotated[list[str], Field(min_length=1)] | None = Field(
        default=None, description="what takes it back; without it the step is a point of no return"
    )
    timeout: Seconds = 300


ExtraStep = Annotated[ManualStep | CommandStep, Field(discriminator="kind")]


class Migration(Model):
    name: Name
    environment: Literal["lab", "rehearsal", "production"]
    strategy: Literal["incremental", "window"]
    components: dict[Name, Component]
    stores: dict[Name, Store]
    edge: Edge
    shift: list[Shift | Literal["switch"]] = []
    objectives: Objectives = Objectives()
    witness: Witness | None = None
    steps: list[ExtraStep] = []

    @model_validator(mode="after")
    def _hangs_together(self) -> "Migration":
        if not any(isinstance(store, Database) for store in self.stores.values()):
            raise ValueError("stores: at least one database is needed: it holds the row that commits the switch")
        for name, component in self.components.items():
            for store in [*component.stores, *component.logins]:
                if store not in self.stores:
                    raise ValueError(f"components.{name}: no store is called {store}")
            for store in component.stores:
                if isinstance(self.stores[store], Database) and store not in component.logins:
                    raise ValueError(f"components.{name}.logins: say as whom it logs in to {store}")
        service = self.components.get(self.edge.service)
        if service is None or service.kind != "service":
            raise ValueError(f"edge.service: no service is called {self.edge.service}")
        if self.strategy != "window" and (restored := self.restored):
            raise ValueError(f"stores.{restored[0]}: method: restore closes the database for a while: strategy: window")
        if self.witness and not isinstance(self.stores.get(self.witness.store), Database):
            raise ValueError(f"witness.store: no database is called {self.witness.store}")
        return self._shift_makes_sense()

    @property
    def restored(self) -> list[str]:
        """The stores that go over by backup."""
        return [name for name, store in self.stores.items() if isinstance(store, Database) and store.backup]

    def _shift_makes_sense(self) -> "Migration":
        if self.strategy == "window":
            if self.shift:
                raise ValueError("shift: a window moves everybody at once; leave shift out or use incremental")
            return self
        if self.shift.count("switch") != 1:
            raise ValueError("shift: `switch` has to stand in it, once")
        stages = [entry for entry in self.shift if isinstance(entry, Shift)]
        percents = [stage.percent for stage in stages if stage.percent is not None]
        if not stages or stages[-1].percent != 100 or percents != sorted(set(percents)):
            raise ValueError("shift: percentages rise, and the last stage is percent: 100")
        labels = [stage.label for stage in stages]
        if len(set(labels)) != len(labels):
            raise ValueError("shift: a criterion stands in it twice")
        return self
