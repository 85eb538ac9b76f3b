"""Envoy's configuration: what it is started with, and the routes that it watches for.

One cluster per segment and cloud, so that Envoy's own counters tell what each cloud answered to whom; a
segment that isn't shifted yet is counted from the beginning, and has its own history on AWS.
"""

from typing import Any

from tidegate.edges.criteria import COUNTRY, USER, USER_TYPE, segments
from tidegate.edges.edge import REST, Routes
from tidegate.errors import InvalidMigration
from tidegate.runbook.migration import Cloud, Maintenance, Migration

__all__ = ["HOLD_KEY", "MAINTENANCE", "ROUTES", "bootstrap", "cluster_name", "route_document"]

ROUTES = "routes.json"
HOLD_KEY = "tidegate.hold"
HOLD_CLUSTER = "hold"
CLOUDS: tuple[Cloud, Cloud] = ("aws", "azure")
RELEASED = "x-tidegate-released"
MAINTENANCE = "x-tidegate-maintenance"
"""A header of the answer that the edge itself gives while nobody is served."""
TYPES = "type.googleapis.com/envoy."
MANAGER = "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
IDLE = "3s"
"""Shorter than what servers keep an idle connection for: 5 s is the least that is common (Node.js, uvicorn)."""
MANY = 1_000_000


def cluster_name(segment_index: int, cloud: Cloud) -> str:
    """By the segment's place in `segments`; the rest comes after the last. Envoy's statistics allow no slashes."""
    return f"{cloud}_{segment_index}"


def bootstrap(migration: Migration) -> dict[str, Any]:
    """Raises InvalidMigration if an address in it can't be used."""
    edge = migration.edge
    names = [*segments(migration), REST]
    service = migration.components[edge.service]
    addresses: dict[Cloud, str] = {"aws": service.aws.address or "", "azure": service.azure.address or ""}
    clusters = [
        _cluster(cluster_name(index, cloud), addresses[cloud]) for index in range(len(names)) for cloud in CLOUDS
    ]
    hold = edge.hold.removeprefix("http://").rstrip("/")
    return {
        "node": {"id": "tidegate-edge", "cluster": "tidegate-edge"},
        "admin": {"address": _address(edge.admin.removeprefix("http://").rstrip("/"))},
        "layered_runtime": {"layers": [{"name": "admin", "admin_layer": {}}]},
        "static_resources": {
            "listeners": [_listener(edge.listen, edge.folder, edge.hold)],
            "clusters": [*clusters, _cluster(HOLD_CLUSTER, hold)],
        },
    }


def route_document(migration: Migration, routes: Routes, version: str) -> dict[str, Any]:
    """The file that Envoy watches for, with everything that decides where a request goes."""
    names = segments(migration)
    rest = len(names)
    released = [
        _route(
            {"prefix": "/", "headers": [{"name": RELEASED, "string_match": {"exact": cloud}}]},
            {"cluster": cluster_name(rest, cloud)},
        )
        for cloud in CLOUDS
    ]
    matched = [
        _route(_match(name), {"cluster": cluster_name(index, "azure" if _moved(name, routes) else "aws")})
        for index, name in enumerate(names)
    ]
    split = {
        # Azure's clusters first: a user's hash below the share is on Azure, and stays there as the share grows.
        "weighted_clusters": {
            "clusters": [
                {"name": cluster_name(rest, "azure"), "weight": routes.basis_points},
                {"name": cluster_name(rest, "aws"), "weight": 10_000 - routes.basis_points},
            ],
            "use_hash_policy": True,
        },
        "hash_policy": [{"header": {"header_name": USER}, "terminal": True}],
    }
    served = [*released, *matched, _route({"prefix": "/"}, split)]
    return {
        "version_info": version,
        "resources": [
            {
                "@type": f"{TYPES}config.route.v3.RouteConfiguration",
                "name": "edge",
                "max_direct_response_body_size_bytes": max(4096, len(migration.edge.maintenance.body.encode())),
                "request_headers_to_remove": [RELEASED],
                "virtual_hosts": [
                    {
                        "name": "all",
                        "domains": ["*"],
                        "routes": [_away(migration.edge.maintenance)] if routes.maintenance else served,
                    }
                ],
            }
        ],
    }


def _away(response: Maintenance) -> dict[str, Any]:
    headers = {
        "retry-after": f"{response.retry_after:.0f}",
        "content-type": response.content_type.replace("%", "%%"),
        MAINTENANCE: "1",
    }
    return {
        "match": {"prefix": "/"},
        "direct_response": {"status": 503, "body": {"inline_string": response.body}},
        "response_headers_to_add": [
            {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
            for key, value in headers.items()
        ],
    }


def _moved(segment: str, routes: Routes) -> bool:
    return segment in routes.azure or routes.basis_points == 10_000


def _match(segment: str) -> dict[str, Any]:
    criterion, _, value = segment.partition(":")
    if criterion == "path":
        # /catalog and everything below it, but not /catalogue
        return {"path_separated_prefix": value.rstrip("/")} if value.rstrip("/") else {"prefix": "/"}
    header = USER_TYPE if criterion == "user_type" else COUNTRY
    return {"prefix": "/", "headers": [{"name": header, "string_match": {"exact": value}}]}


def _route(match: dict[str, Any], action: dict[str, Any]) -> dict[str, Any]:
    # A request that was never sent may be sent again; one that may have been executed may not.
    retry = {"retry_on": "connect-failure,refused-stream,reset-before-request", "num_retries": 2}
    return {"match": match, "route": {**action, "timeout": "60s", "retry_policy": retry}}


def _listener(listen: str, folder: str, hold: str) -> dict[str, Any]:
    holding = {
        "@type": f"{TYPES}extensions.filters.http.ext_authz.v3.ExtAuthz",
        "transport_api_version": "V3",
        "clear_route_cache": True,
        "failure_mode_allow": True,
        "filter_enabled": {
            "runtime_key": HOLD_KEY,
            "default_value": {"numerator": 0, "denominator": "HUNDRED"},
        },
        "http_service": {
            "server_uri": {"uri": hold, "cluster": HOLD_CLUSTER, "timeout": "60s"},
            "path_prefix": "/held",
            # Envoy looks at the routes again only if the answer changes the request's headers.
            "authorization_response": {"allowed_upstream_headers": {"patterns": [{"exact": RELEASED}]}},
        },
    }
    manager = {
        "@type": f"{TYPES}{MANAGER}",
        "stat_prefix": "edge",
        "early_header_mutation_extensions": [
            {
                "name": "envoy.http.early_header_mutation.header_mutation",
                "typed_config": {
                    "@type": f"{TYPES}extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
                    "mutations": [{"remove": RELEASED}],  # only the hold service may say so
                },
            }
        ],
        "rds": {
            "route_config_name": "edge",
            "config_source": {
                "path_config_source": {"path": f"{folder}/{ROUTES}", "watched_directory": {"path": folder}},
                "resource_api_version": "V3",
            },
        },
        "http_filters": [
            {"name": "envoy.filters.http.ext_authz", "typed_config": holding},
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{TYPES}extensions.filters.http.router.v3.Router"},
            },
        ],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return {"name": "edge", "address": _address(listen), "filter_chains": [chain]}


def _cluster(name: str, address: str) -> dict[str, Any]:
    limits = {"max_connections": MANY, "max_pending_requests": MANY, "max_requests": MANY, "max_retries": MANY}
    return {
        "name": name,
        "type": "STRICT_DNS",
        "connect_timeout": "5s",
        "circuit_breakers": {"thresholds": [limits]},
        "typed_extension_protocol_options": {
            OPTIONS: {
                "@type": f"type.googleapis.com/{OPTIONS}",
                # An upstream that ends an idle connection just as a request is sent would fail that request.
                "common_http_protocol_options": {"idle_timeout": IDLE},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(address)}}]}],
        },
    }


def _address(text: str) -> dict[str, Any]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise InvalidMigration(f"{text!r} is no HOST:PORT", where="edge", mend="write the port")
    return {"socket_address": {"address": host, "port_value": int(port)}}
