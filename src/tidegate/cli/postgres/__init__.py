"""`postgres`: one database moved by itself, without a migration around it."""

import click

from tidegate.cli.lazy import Lazy, LazyGroup

__all__ = ["postgres"]

COMMANDS = {
    "preflight": Lazy("tidegate.cli.postgres.looking:preflight", "Find every reason why the move would fail."),
    "copy": Lazy("tidegate.cli.postgres.moving:copy", "Copy one snapshot: schema, rows, all that belongs to them."),
    "replicate": Lazy("tidegate.cli.postgres.moving:replicate", "Copy, then stream every change."),
    "status": Lazy("tidegate.cli.postgres.looking:status", "Show who owns the writes, and how far the copy is."),
    "verify": Lazy("tidegate.cli.postgres.looking:verify", "Compare the whole content of both sides."),
    "switch": Lazy("tidegate.cli.postgres.turning:switch", "Move the writes to the target, and prove the content."),
    "rollback": Lazy("tidegate.cli.postgres.turning:rollback", "Move the writes back to the source, without loss."),
    "abort": Lazy("tidegate.cli.postgres.turning:abort", "Before the switch: both sides as they were."),
    "finish": Lazy("tidegate.cli.postgres.turning:finish", "After the switch: end the way back, and clear up."),
    "backup": Lazy("tidegate.cli.postgres.archive:backup", "Keep one snapshot as encrypted files."),
    "check-backup": Lazy("tidegate.cli.postgres.archive:check_backup", "Prove that a backup is what was sent."),
    "restore": Lazy("tidegate.cli.postgres.archive:restore", "Restore a backup to an empty target, and compare."),
}

EPILOG = """\b
The source is called aws, the target azure. What a move has done so far stands in both databases, in the schema
tidegate: every command can be interrupted and given again, here or on another machine.

\b
  export TIDEGATE_SOURCE=postgresql://admin@10.0.0.5:5432/shop TIDEGATE_SOURCE_PASSWORD=env:SOURCE_PW
  export TIDEGATE_TARGET=postgresql://admin@10.1.0.5:5432/shop TIDEGATE_TARGET_PASSWORD=env:TARGET_PW
  tidegate postgres preflight && tidegate postgres replicate --until-caught-up
  tidegate postgres verify && tidegate postgres switch

\b
  export TIDEGATE_BACKUP_KEY=file:backup.key
  tidegate postgres backup s3://backups/shop --region eu-west-1
  tidegate postgres restore s3://backups/shop --region eu-west-1
"""


@click.group(cls=LazyGroup, lazy=COMMANDS, epilog=EPILOG)
def postgres() -> None:
    """Move one PostgreSQL database: preflight, copy, replicate, verify, switch, and back; or by backup and restore."""
