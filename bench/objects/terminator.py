"""TLS before a server that has none: Envoy, passing the bytes on."""

from pathlib import Path
from typing import Any

from tidegate.lab.servers.envoy import Envoy
from tidegate.lab.servers.process import free_port

__all__ = ["Terminator"]

TYPES = "type.googleapis.com/envoy.extensions"
CLUSTER = "behind"


class Terminator:
    """At `url`; `certificates` holds cert.pem and key.pem, `port` is the server's. Raises TidegateError."""

    def __init__(self, folder: Path, certificates: Path, port: int) -> None:
        own, admin = free_port(), free_port()
        self.url = f"https://127.0.0.1:{own}"
        self._envoy = Envoy(folder, _bootstrap(certificates, own, port, admin), admin)

    def stop(self) -> None:
        self._envoy.kill()


def _bootstrap(certificates: Path, own: int, port: int, admin: int) -> dict[str, Any]:
    proxy = {
        "@type": f"{TYPES}.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": CLUSTER,
        "cluster": CLUSTER,
    }
    certificate = {
        "certificate_chain": {"filename": str(certificates / "cert.pem")},
        "private_key": {"filename": str(certificates / "key.pem")},
    }
    context = {
        "@type": f"{TYPES}.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {"tls_certificates": [certificate], "alpn_protocols": ["http/1.1"]},
    }
    listener = {
        "address": _address(own),
        "filter_chains": [
            {
                "filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy}],
                "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": context},
            }
        ],
    }
    endpoint = {"endpoint": {"address": _address(port)}}
    cluster = {
        "name": CLUSTER,
        "type": "STATIC",
        "load_assignment": {"cluster_name": CLUSTER, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    return {
        "admin": {"address": _address(admin)},
        "static_resources": {"listeners": [listener], "clusters": [cluster]},
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
