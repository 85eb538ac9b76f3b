"""AWS credentials: those that the migration names, or else where AWS's own tools look, in their order, by botocore.

Environment, shared files and their profiles, roles, SSO, web identity, a process, a container's or an instance's role.
"""

import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tidegate.errors import InvalidMigration, Refused, TidegateError, Unreachable
from tidegate.objects.credentials import Clock, Credentials, Granted
from tidegate.objects.signing import AwsKeys
from tidegate.runbook.migration import AwsBucket
from tidegate.secret import resolve

if TYPE_CHECKING:
    from botocore.credentials import Credentials as Found
    from botocore.session import Session

__all__ = ["aws_credentials", "aws_region"]

LOOK = 30.0
"""Seconds between the looks at temporary keys: botocore renews them 10 to 15 minutes before they expire."""
SHOWN = 300
"""Characters of another program's message."""
SHORT = 1.0
"""The same for keys that live no longer than minutes."""
CONNECT, READ = 5, 10
"""Seconds that a service that lends keys (STS, SSO) may take; botocore's own minute would look like a hang."""


def aws_credentials(spec: AwsBucket, service: str, region: str, where: str, clock: Clock = time.time) -> Credentials:
    """For one service in one region. `where` names in errors what they are for."""
    if spec.access_key and spec.secret_key:
        access_key, secret_key = spec.access_key, spec.secret_key
        return Credentials(lambda _: Granted(AwsKeys(resolve(access_key), resolve(secret_key), region, service)))
    return Credentials(_Chain(spec.profile, service, region, where, clock).grant, clock)


def aws_region(profile: str | None) -> str | None:
    """Where AWS's own tools would go. Raises InvalidMigration if there is no such profile."""
    if region := os.environ.get("AWS_REGION"):
        return region
    with _explained(profile, "the region"):
        return _session(profile).get_config_variable("region")


class _Chain:
    def __init__(self, profile: str | None, service: str, region: str, where: str, clock: Clock) -> None:
        self._profile, self._service, self._region = profile, service, region
        self._where, self._clock = where, clock
        self._found: Found | None = None

    def grant(self, anew: bool) -> Granted:
        from botocore.credentials import RefreshableCredentials  # noqa: PLC0415 - 0.4 s

        with _explained(self._profile, self._where):
            found = self._find() if anew or self._found is None else self._found
            keys = found.get_frozen_credentials()
        self._found = found
        access_key, secret_key = keys.access_key or "", keys.secret_key or ""  # whatever has none isn't found
        signer = AwsKeys(access_key, secret_key, self._region, self._service, keys.token or "")
        if not isinstance(found, RefreshableCredentials):
            return Granted(signer)
        look = SHORT if found.refresh_needed(int(2 * LOOK)) else LOOK
        return Granted(signer, renew=self._clock() + look)

    def _find(self) -> "Found":
        session = _session(self._profile)
        if session.get_config_variable("region") is None:
            session.set_config_variable("region", self._region)  # STS is asked there
        found = session.get_credentials()
        if found is None:
            raise InvalidMigration(
                "no AWS credentials were found: not in the environment, the shared files or this machine's role",
                where=self._where,
                mend="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, log in with `aws sso login`, or name a profile",
            )
        if found.method == "assume-role" and _asks_for_a_code(session):
            raise InvalidMigration(
                "the profile's role needs a code from a device, which nobody can type in during a copy",
                where=self._where,
                mend=f"aws configure export-credentials{_option(self._profile)} --format env, "
                "and set what it prints, without the profile",
            )
        return found


def _asks_for_a_code(session: "Session") -> bool:
    """Whether botocore would, at the terminal: for this profile's role, or for one that it takes that role with."""
    profiles, seen = session.full_config["profiles"], set[str]()
    name: str = session.get_config_variable("profile") or "default"
    while name in profiles and name not in seen:
        seen.add(name)
        if {"role_arn", "mfa_serial"} <= profiles[name].keys():
            return True
        name = profiles[name].get("source_profile", "")
    return False


def _session(profile: str | None) -> "Session":
    from botocore.config import Config  # noqa: PLC0415 - 0.4 s
    from botocore.session import Session  # noqa: PLC0415

    session = Session(profile=profile)
    patience = Config(connect_timeout=CONNECT, read_timeout=READ, retries={"total_max_attempts": 2})
    session.set_default_client_config(patience)
    return session


@contextmanager
def _explained(profile: str | None, where: str) -> Generator[None]:
    """What botocore raises, in one line."""
    try:
        yield
    except TidegateError:
        raise
    except Exception as error:  # noqa: BLE001 - it runs what others have configured: programs, plugins
        raise _explanation(error, profile, where) from None


def _explanation(error: Exception, profile: str | None, where: str) -> TidegateError:
    from botocore import exceptions as known  # noqa: PLC0415 - 0.4 s

    option = _option(profile)
    why = " ".join(str(error).split())[:SHOWN] or type(error).__name__
    match error:
        case known.ProfileNotFound():
            name = error.kwargs["profile"]
            mend = f"correct its name, or make it: aws configure{_option(name)}"
            return InvalidMigration(f"AWS's files have no profile {name}", where=where, mend=mend)
        case known.UnauthorizedSSOTokenError() | known.SSOTokenLoadError() | known.TokenRetrievalError():
            return Refused("the SSO session has expired, or never was", where=where, mend=f"aws sso login{option}")
        case known.LoginError():
            return Refused("the login session has expired, or never was", where=where, mend=f"aws login{option}")
        case known.ClientError():
            return Refused(f"AWS lends no keys: {why}", where=where, mend="check the role, and who may take it")
        case known.ConnectionError() | known.HTTPClientError() | known.MetadataRetrievalError():
            return Unreachable(f"no keys can be had: {why}", where=where, mend="see whether that can be reached")
        case known.BotoCoreError() if not isinstance(error, known.CredentialRetrievalError):
            return InvalidMigration(f"AWS's configuration is of no use: {why}", where=where, mend="correct it")
        case _:
            mend = f"see what this says: aws sts get-caller-identity{option}"
            return Refused(f"no keys can be had: {why}", where=where, mend=mend)


def _option(profile: str | None) -> str:
    return f" --profile {profile}" if profile else ""
