"""Which TLS a connection asks for: verified, unless the dsn says otherwise or the server is on this machine. Pure.

The names are libpq's (`sslmode`, `sslrootcert`), as they stand in a dsn.
"""

import ipaddress
import ssl
from collections.abc import Mapping

__all__ = ["client_options", "context", "environment", "peer_options"]

VERIFIED = ("verify-ca", "verify-full")


def client_options(host: str, given: Mapping[str, str]) -> dict[str, str]:
    """For tidegate's own connections, and those of the programs that it runs."""
    if "sslmode" in given or _is_here(host):
        return dict(given)
    return {"sslmode": "verify-full", "sslrootcert": "system"} | dict(given)


def peer_options(host: str, given: Mapping[str, str]) -> dict[str, str]:
    """For the other cloud's server, whose root certificates are no file of this machine: encrypted at least."""
    others = {key: value for key, value in given.items() if key not in ("sslmode", "sslrootcert")}
    mode = given.get("sslmode", "prefer" if _is_here(host) else "require")
    return others | {"sslmode": "require" if mode in VERIFIED else mode}


def environment(options: Mapping[str, str]) -> dict[str, str]:
    return {f"PG{key.upper()}": options[key] for key in ("sslmode", "sslrootcert") if key in options}


def context(options: Mapping[str, str]) -> ssl.SSLContext | str:
    """What asyncpg takes. Raises OSError if the root certificates can't be read."""
    mode, roots = options.get("sslmode", "prefer"), options.get("sslrootcert", "system")
    if mode not in VERIFIED:
        return mode
    made = ssl.create_default_context(cafile=None if roots == "system" else roots)
    made.check_hostname = mode == "verify-full"
    return made


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in ("localhost", "") or host.startswith("/")
