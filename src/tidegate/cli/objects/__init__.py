"""`objects`: one bucket moved by itself, without a migration around it."""

import click

from tidegate.cli.lazy import Lazy, LazyGroup

__all__ = ["objects"]

COMMANDS = {
    "preflight": Lazy("tidegate.cli.objects.preflight:preflight", "Find every reason why the copy would fail."),
    "copy": Lazy("tidegate.cli.objects.moving:copy", "Copy every object, each proved as it goes."),
    "sync": Lazy("tidegate.cli.objects.moving:sync", "Copy, then keep up; or back, for a rollback."),
    "verify": Lazy("tidegate.cli.objects.verifying:verify", "Prove that every object is the same on both sides."),
    "manifest": Lazy("tidegate.cli.objects.manifest:manifest", "Show or export what is known of every object."),
}

EPILOG = """\b
S3 is s3://BUCKET[/PREFIX], BLOB is azure://ACCOUNT/CONTAINER[/PREFIX].

\b
AWS is reached as its own tools reach it: environment, --profile, the machine's role. Azure by
AZURE_STORAGE_KEY, by AZURE_STORAGE_SAS_TOKEN, or as azure-identity finds: environment, workload or
managed identity, az login.

\b
  tidegate objects preflight s3://receipts azure://shopfiles/receipts
  tidegate objects copy s3://receipts azure://shopfiles/receipts
  tidegate objects sync s3://receipts azure://shopfiles/receipts --events https://sqs...
  tidegate objects verify s3://receipts azure://shopfiles/receipts
"""


@click.group(cls=LazyGroup, lazy=COMMANDS, epilog=EPILOG)
def objects() -> None:
    """Move one bucket from S3 to Azure Blob: copy, keep up, verify, and back.

    What is done stands in a manifest: every command can be interrupted and given again.
    """
