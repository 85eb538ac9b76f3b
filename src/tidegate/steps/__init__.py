"""The kinds of step, one thin file each. To add one: its file, and a line here."""

from pydantic import ValidationError

from tidegate.errors import TidegateError
from tidegate.runbook.runbook import StepSpec
from tidegate.runbook.step import AnyStep
from tidegate.steps.archive import DatabaseBackup, DatabaseClose, DatabaseRestore, DatabaseTransfer
from tidegate.steps.bucket import BucketFinish, BucketProve, BucketReplicate, BucketVerify
from tidegate.steps.command import Command
from tidegate.steps.database import DatabaseFinish, DatabaseProve, DatabaseReplicate, DatabaseVerify
from tidegate.steps.endpoints import Endpoints
from tidegate.steps.maintenance import Maintenance
from tidegate.steps.manual import Manual
from tidegate.steps.preflight import Preflight
from tidegate.steps.shift import Shift, TrafficHome
from tidegate.steps.switch import Switch
from tidegate.steps.watch import Watch
from tidegate.steps.workload import PlaneStep, Workload

__all__ = ["KINDS", "Workload", "make"]

KINDS: dict[str, type[AnyStep]] = {
    "preflight": Preflight,
    "database-replicate": DatabaseReplicate,
    "database-verify": DatabaseVerify,
    "database-prove": DatabaseProve,
    "database-finish": DatabaseFinish,
    "database-close": DatabaseClose,
    "database-backup": DatabaseBackup,
    "database-transfer": DatabaseTransfer,
    "database-restore": DatabaseRestore,
    "bucket-replicate": BucketReplicate,
    "bucket-verify": BucketVerify,
    "bucket-prove": BucketProve,
    "bucket-finish": BucketFinish,
    "endpoints": Endpoints,
    "maintenance": Maintenance,
    "shift": Shift,
    "switch": Switch,
    "watch": Watch,
    "traffic-home": TrafficHome,
    "manual": Manual,
    "command": Command,
}


def make(spec: StepSpec, workload: Workload) -> AnyStep:
    """The step that a spec of the runbook describes. Raises TidegateError if this version has no such kind."""
    kind = KINDS.get(spec.uses)
    if kind is None:
        raise TidegateError(f"there is no kind of step {spec.uses!r}", where=spec.name, mend="plan again")
    try:
        step = kind.model_validate({"uses": spec.uses, "name": spec.name, **spec.fields})
    except ValidationError as error:
        raise TidegateError(str(error.errors()[0]["msg"]), where=spec.name, mend="plan again") from None
    if isinstance(step, PlaneStep):
        step.bind(workload)
    return step
