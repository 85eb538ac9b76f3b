"""Azure credentials: the account's key, a shared access signature, or else a token of Entra ID by azure-identity.

Environment, workload identity, managed identity, or whoever is logged in with Azure's command line.
"""

import base64
import logging
import re
import time
from datetime import UTC, datetime
from urllib.parse import parse_qs

from tidegate.errors import InvalidMigration, Refused, TidegateError, Unreachable
from tidegate.objects.credentials import Clock, Credentials, Granted
from tidegate.objects.signing import AzureKey, AzureSas, AzureToken
from tidegate.runbook.migration import AzureContainer
from tidegate.secret import resolve

__all__ = ["azure_credentials"]

SCOPE = "https://storage.azure.com/.default"
AHEAD = 290.0
"""Seconds before its expiry in which a token is renewed: azure-identity gives its own old one until 300 s before."""
SHOWN = 300
"""Characters of another program's message."""
NETWORK = re.compile(r"Failed to resolve|timed out|unreachable|Connection (refused|reset|aborted)", re.IGNORECASE)


for name in ("azure", "msal"):  # what they log is in the error, in a line
    logging.getLogger(name).addHandler(logging.NullHandler())


def azure_credentials(spec: AzureContainer, where: str, clock: Clock = time.time) -> Credentials:
    """`where` names in errors what they are for."""
    if spec.key:
        account, key = spec.account, spec.key
        return Credentials(lambda _: Granted(_shared_key(account, key)))
    if spec.sas:
        sas = spec.sas
        return Credentials(lambda _: _shared_access(sas, clock), clock)
    plain = (spec.endpoint or "").startswith("http://")
    return Credentials(lambda _: _token(where, plain=plain), clock)


def _shared_key(account: str, reference: str) -> AzureKey:
    try:
        return AzureKey(account, base64.b64decode(resolve(reference), validate=True))
    except ValueError:
        raise InvalidMigration(
            "the account's key isn't base64", where=reference, mend="copy it again from the portal"
        ) from None


def _shared_access(reference: str, clock: Clock) -> Granted:
    """A URL that ends with it will do, with or without the question mark."""
    text = resolve(reference).strip().rpartition("?")[2]
    fields = parse_qs(text)
    if not re.fullmatch(r"[!-~]+", text) or "#" in text or not {"sv", "sig"} <= fields.keys():
        raise InvalidMigration(
            "that is no shared access signature: it needs sv= and sig=", where=reference, mend="copy it again"
        )
    if "se" not in fields:  # then a policy that the container holds says so
        return Granted(AzureSas(text))
    expiry = _moment(fields["se"][0], reference)
    if expiry <= clock():
        raise InvalidMigration(
            f"the shared access signature has expired at {fields['se'][0]}", where=reference, mend="make a new one"
        )
    return Granted(AzureSas(text), renew=expiry, expires=expiry)


def _moment(text: str, reference: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidMigration(
            "the shared access signature's expiry (se) is no time", where=reference, mend="copy it again"
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _token(where: str, *, plain: bool) -> Granted:
    if plain:
        raise InvalidMigration(
            "a token of Entra ID isn't sent to an endpoint without TLS",
            where=where,
            mend="give an https:// endpoint, or the account's key or a shared access signature",
        )
    from azure.core.exceptions import AzureError  # noqa: PLC0415 - 0.5 s
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415

    tried = 0
    try:
        # a new one each time: what it keeps in memory may be what a server has refused
        with DefaultAzureCredential() as chain:
            tried = len(chain.credentials)
            token = chain.get_token_info(SCOPE)
    except (AzureError, ValueError) as error:
        raise _explanation(str(error), tried, where) from None
    return Granted(AzureToken(token.token), renew=token.expires_on - AHEAD, expires=token.expires_on)


def _explanation(text: str, tried: int, where: str) -> TidegateError:
    """azure-identity tells in many lines of all that it tried; the last one counts if it ended the search."""
    attempts = re.findall(r"^\t(\w+): ?(.*)$", text, re.MULTILINE)
    if len(attempts) == tried > 1:
        return InvalidMigration(
            "Entra ID: no identity was found: not in the environment, of this machine or of `az login`",
            where=where,
            mend="log in with `az login`, or set AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN",
        )
    who, why = attempts[-1] if attempts else ("", text)
    why = " ".join(why.partition("Trace ID:")[0].split())[:SHOWN]
    if NETWORK.search(why):
        return Unreachable(f"Entra ID can't be asked ({who}): {why}", where=where, mend="see whether it can be reached")
    return Refused(f"Entra ID gives no token ({who}): {why}", where=where, mend="correct what it is asked with")
