"""The databases that a command is about, from its options."""

from typing import Any, Literal

import click
from pydantic import TypeAdapter, ValidationError

from tidegate.errors import UsageError
from tidegate.postgres.server import Server
from tidegate.runbook.migration import Cloud, DatabaseServer
from tidegate.secret import SecretRef

__all__ = ["NAME", "PEERS", "ROLES", "SOURCE", "TARGET", "Side", "refused", "role_passwords", "server", "spec"]

Side = Literal["source", "target"]
CLOUDS: dict[Side, Cloud] = {"source": "aws", "target": "azure"}
PASSWORDS = TypeAdapter(dict[str, SecretRef])

SOURCE = (
    click.option("--source", required=True, metavar="DSN", envvar="TIDEGATE_SOURCE", show_envvar=True,
                 help="postgresql://USER@HOST:PORT/DATABASE, without a password."),
    click.option("--source-password", metavar="REF", envvar="TIDEGATE_SOURCE_PASSWORD", show_envvar=True,
                 help="env:NAME or file:PATH."),
)  # fmt: skip
TARGET = (
    click.option("--target", required=True, metavar="DSN", envvar="TIDEGATE_TARGET", show_envvar=True,
                 help="postgresql://USER@HOST:PORT/DATABASE, without a password."),
    click.option("--target-password", metavar="REF", envvar="TIDEGATE_TARGET_PASSWORD", show_envvar=True,
                 help="env:NAME or file:PATH."),
)  # fmt: skip
PEERS = (
    click.option("--source-peer", metavar="HOST:PORT", help="The source as the target reaches it, if otherwise."),
    click.option("--target-peer", metavar="HOST:PORT", help="The target as the source reaches it, if otherwise."),
)
ROLES = (
    click.option("--role-password", "roles", multiple=True, metavar="ROLE=REF",
                 help="For a login that is made on the target; may be given again."),
)  # fmt: skip
NAME = (
    click.option("--name", default="database", show_default=True, metavar="NAME",
                 help="What this move, backup or restore is called in its bookkeeping."),
)  # fmt: skip


def spec(side: Side, given: dict[str, Any]) -> DatabaseServer:
    """Its options are taken out of `given`. Raises UsageError, which names the option."""
    fields = {"dsn": side, "password": f"{side}_password", "peer": f"{side}_peer"}
    try:
        return DatabaseServer.model_validate(
            {field: given.pop(option) for field, option in fields.items() if option in given}
        )
    except ValidationError as error:
        raise refused(error, {field: f"--{option.replace('_', '-')}" for field, option in fields.items()}) from None


def server(side: Side, given: dict[str, Any]) -> Server:
    """As `spec`; to be closed. Its store is called by the name that was given, which stays in `given`."""
    return Server(given["name"], CLOUDS[side], spec(side, given))


def role_passwords(given: dict[str, Any]) -> dict[str, str]:
    """References by role. Raises UsageError."""
    roles: list[tuple[str, str, str]] = [role.partition("=") for role in given.pop("roles")]
    if not all(separator for _, separator, _ in roles):  # what was given may be the secret itself
        raise UsageError("give ROLE=REF, where REF is env:NAME or file:PATH", where="--role-password")
    named = {name: reference for name, _, reference in roles}
    try:
        return PASSWORDS.validate_python(named)
    except ValidationError as error:
        raise refused(error, {name: f"--role-password {name}" for name in named}) from None


def refused(error: ValidationError, options: dict[str, str]) -> UsageError:
    """`options`: by field, the option by which it was given. What was given is not repeated: it may be a secret."""
    first = error.errors(include_input=False, include_url=False)[0]
    return UsageError(str(first["msg"]).removeprefix("Value error, "), where=options[str(first["loc"][0])])
