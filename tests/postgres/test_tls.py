import ssl

import pytest

from tidegate.postgres.tls import client_options, context, environment, peer_options

VERIFIED = {"sslmode": "verify-full", "sslrootcert": "system"}


def test_a_server_elsewhere_is_verified_unless_the_dsn_says_otherwise():
    assert client_options("orders.eu-west-1.rds.amazonaws.com", {}) == VERIFIED
    assert client_options("10.1.2.3", {"sslrootcert": "/etc/rds.pem"})["sslmode"] == "verify-full"
    assert client_options("10.1.2.3", {"sslmode": "require"}) == {"sslmode": "require"}


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "/run/postgresql"])
def test_on_this_machine_it_is_as_the_server_offers(host):
    assert client_options(host, {}) == {}
    assert context({}) == "prefer"


def test_the_other_clouds_server_is_told_to_encrypt_and_gets_no_file_of_this_machine():
    assert peer_options("10.1.2.3", {}) == {"sslmode": "require"}
    given = {"sslmode": "verify-full", "sslrootcert": "/etc/rds.pem", "target_session_attrs": "any"}
    assert peer_options("10.1.2.3", given) == {"sslmode": "require", "target_session_attrs": "any"}
    assert peer_options("127.0.0.1", {}) == {"sslmode": "prefer"}


def test_every_client_asks_for_the_same():
    assert environment(VERIFIED) == {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": "system"}
    made = context(VERIFIED)
    assert isinstance(made, ssl.SSLContext)
    assert made.check_hostname
    assert made.verify_mode is ssl.CERT_REQUIRED
