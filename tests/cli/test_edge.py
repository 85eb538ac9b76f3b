import json
import socket

import pytest

from tidegate.cli.init import sample


@pytest.fixture
def file(tmp_path):
    """The sample, with a folder that can be written; no secret of it is set."""
    file = tmp_path / "migration.yaml"
    file.write_text(sample().replace("/var/lib/tidegate/edge", str(tmp_path / "edge")))
    return file


def test_bootstrap_prints_what_envoy_starts_with_and_prepares_its_folder(cli, file, tmp_path):
    done = cli("edge", "bootstrap", file)
    assert done.exit_code == 0
    [listener] = json.loads(done.stdout)["static_resources"]["listeners"]
    assert listener["address"]["socket_address"]["port_value"] == 8080
    assert [each.name for each in (tmp_path / "edge").iterdir()] == ["routes.json"]


def test_bootstrap_leaves_the_routes_that_there_are(cli, file, tmp_path):
    cli("edge", "bootstrap", file)
    routes = tmp_path / "edge" / "routes.json"
    routes.write_text("the routes of a run")
    cli("edge", "bootstrap", file)
    assert routes.read_text() == "the routes of a run"


def test_a_folder_that_can_not_be_made_is_named(cli, file, tmp_path):
    (tmp_path / "edge").write_text("a file")
    done = cli("edge", "bootstrap", file)
    assert done.exit_code == 1
    assert f"{tmp_path / 'edge'}: the folder of routes can't be written: " in done.stderr


@pytest.mark.parametrize("listen", ["9911", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:http"])
def test_hold_needs_a_host_and_a_port(cli, listen):
    done = cli("edge", "hold", "--listen", listen)
    assert done.exit_code == 2
    assert f"--listen {listen}: this is no HOST:PORT" in done.stderr


def test_a_taken_port_is_named(cli):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        done = cli("edge", "hold", "--listen", place)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"{place}: it can't listen there: ")
    assert "is the port taken?" in done.stderr
