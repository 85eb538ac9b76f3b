"""Every error that tidegate raises on purpose: what failed, why, and what to do next.

    TidegateError                 1  something failed
    |-- UsageError                2  the command line asks for something that can't be
    |-- InvalidMigration          3  the migration file, or a secret that it names
    |-- CheckFailed               4  a check found what it must not find
    |-- WaitingForApproval        5  a human has to decide
    |-- RolledBack                6  the run went back to AWS, whole
    |-- RollbackIncomplete        7  something is left to be put back by hand
    |-- Unreachable               1  a server doesn't answer now; trying again may help
    |-- Refused                   1  a server answers, and says no
    |-- LeaseHeld                 1  another process drives this run
    |-- LocalFault                1  this machine's disk, or tidegate itself: it says nothing about the workload
    '-- DeadlinePassed            1  an operation's time is over

The number is the exit code. The text of an error never holds a secret.
"""

__all__ = [
    "CheckFailed",
    "DeadlinePassed",
    "InvalidMigration",
    "LeaseHeld",
    "LocalFault",
    "Refused",
    "RollbackIncomplete",
    "RolledBack",
    "TidegateError",
    "Unreachable",
    "UsageError",
    "WaitingForApproval",
]


class TidegateError(Exception):
    """`where` names the place (a file and line, a store, a step), `why` the cause, `mend` what to do next."""

    exit_code = 1

    def __init__(self, why: str, *, where: str = "", mend: str = "") -> None:
        super().__init__(why)
        self.why, self.where, self.mend = why, where, mend

    @property
    def brief(self) -> str:
        """Place and cause, where the mend stands elsewhere."""
        return f"{self.where}: {self.why}" if self.where else self.why

    def __str__(self) -> str:
        return self.brief + (f"\n  {self.mend}" if self.mend else "")


class UsageError(TidegateError):
    exit_code = 2


class InvalidMigration(TidegateError):
    exit_code = 3


class CheckFailed(TidegateError):
    exit_code = 4


class WaitingForApproval(TidegateError):
    exit_code = 5


class RolledBack(TidegateError):
    exit_code = 6


class RollbackIncomplete(TidegateError):
    exit_code = 7


class Unreachable(TidegateError):
    pass


class Refused(TidegateError):
    pass


class LeaseHeld(TidegateError):
    pass


class LocalFault(TidegateError):
    pass


class DeadlinePassed(TidegateError):
    pass
