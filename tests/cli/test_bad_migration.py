"""What is wrong with a migration.yaml is told with its line, its field and the mend; all of it at once."""

from pathlib import Path

import pytest

from tidegate.cli.init import sample

pytestmark = pytest.mark.usefixtures("secrets")


def told(cli, file: Path, text: str | bytes) -> tuple[int, str]:
    """The exit code, and stderr with the file's name shortened."""
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    done = cli("plan", file)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.exit_code, done.stderr.replace(str(file), "FILE")


def line_of(text: str, beginning: str) -> int:
    return next(index for index, line in enumerate(text.splitlines(), 1) if line.strip().startswith(beginning))


@pytest.mark.parametrize(
    ("right", "wrong", "place", "why"),
    [
        ("    kind: service", "    knid: service\n    kind: service", "components.shop.knid", "did you mean kind?"),
        ("  error_rate: 0.5%", "  errors: 0.5%", "objectives.errors", "there is no such field"),
        ("      region: eu-north-1\n", "", "stores.receipts.aws.region", "this field is missing"),
        ("environment: production", "environment: staging", "environment", "'lab', 'rehearsal' or 'production'"),
        ("      instances: 2", "      instances: two", "components.shop.aws.instances", "a whole number"),
        ("      instances: 2", "      instances: 0", "components.shop.aws.instances", "greater than or equal to 1"),
        ("  - country: SE", "  - country: NO", "shift.2.country", "this has to be text\n  quote it"),
        ("  - country: SE", "  - country: SE\n    percent: 3", "shift.2", "exactly one of path"),
        ("  - path: /catalog", "  - path: catalog", "shift.0.path", "a path begins with /"),
        ("  bake: 5m", "  bake: 5 minutes", "objectives.bake", "such as 500ms or 5m"),
        ("  lag: 1 MiB", "  lag: 1 MB", "objectives.lag", "such as 1 MiB"),
        ("  detect: 5%", "  detect: five", "objectives.detect", "such as 0.5%"),
        ("  hold: 8s", "  hold: 2m", "objectives.hold", "less than or equal to 20"),
        ("  orders:\n    kind: postgres", "  orders:\n    kind: mysql", "stores.orders.kind", "'postgres', 'bucket'"),
        ("  orders:\n    kind: postgres\n", "  orders:\n", "stores.orders.kind", "this field is missing"),
        (
            "      key: env:RECEIPTS_AZURE_KEY",
            "      key: hunter3",
            "stores.receipts.azure.key",
            "env:NAME or file:PATH",
        ),
        (
            "postgresql://admin@orders.rds",
            "postgresql://admin:hunter3@orders.rds",
            "stores.orders.aws.dsn",
            "the password goes to `password`",
        ),
        ("  service: shop", "  service: shopp", "edge.service", "no service is called shopp"),
        ("  admin: http://127.0.0.1:9901", "  admin: 127.0.0.1:9901", "edge.admin", "write http://HOST:PORT"),
        ("  listen: 0.0.0.0:8080", "  listen: '8080'", "edge.listen", "write HOST:PORT"),
        ("  - switch\n", "", "shift", "`switch` has to stand in it, once"),
        ("  - percent: 100", "  - percent: 90", "shift", "the last stage is percent: 100"),
        ("strategy: incremental", "strategy: window", "shift", "a window moves everybody at once"),
        ("  settler:", "  Settler:", "components.Settler", "a name is lower-case letters"),
        ("    stage: switch", "    stage: swich", "steps.tell-support", "there is no stage 'swich'"),
    ],
)
def test_a_mistake_is_told_with_its_place(cli, tmp_path, *, right, wrong, place, why):
    text = sample()
    assert right in text
    code, said = told(cli, tmp_path / "migration.yaml", text.replace(right, wrong, 1))
    assert code == 3
    assert f"{place}: " in said
    assert why in said
    assert "hunter3" not in said


@pytest.mark.parametrize(
    ("right", "wrong", "line"),
    [
        ("environment: production", "environment: staging", "environment"),
        ("      region: eu-north-1\n", "", "aws:"),
        ("  bake: 5m", "  bake: 5 minutes", "bake: 5 minutes"),
        ("  service: shop", "  service: shopp", "service: shopp"),
        ("  - percent: 50", "  - percent: fifty", "- percent: fifty"),
        ("    stage: switch", "    stage: swich", "stage: swich"),
        ("objectives:", "objectivs:", "objectivs:"),
    ],
)
def test_the_line_is_the_mistakes_own(cli, tmp_path, right, wrong, line):
    text = sample().replace(right, wrong, 1)
    _, said = told(cli, tmp_path / "migration.yaml", text)
    number = line_of(text, line)
    if line == "aws:":  # a field that isn't there is missed where it should be: below the bucket's `aws`
        number = line_of(text, "receipts:") + 2
    assert said.startswith(f"FILE:{number}: ")


def test_everything_is_told_at_once_in_the_files_order(cli, tmp_path):
    text = sample().replace("name: shop", "name: Shop", 1).replace("  bake: 5m", "  bake: 5 minutes")
    text = text.replace("  detect: 5%", "  detekt: 5%")
    code, said = told(cli, tmp_path / "migration.yaml", text)
    places = [line.split(": ")[1] for line in said.splitlines() if line.startswith("FILE:")]
    assert code == 3
    assert places == ["name", "objectives.detekt", "objectives.bake"]
    assert "did you mean detect?" in said


def test_a_field_that_stands_twice_is_no_riddle_about_which_counts(cli, tmp_path):
    text = sample().replace("  bake: 5m", "  bake: 5m\n  bake: 6m")
    code, said = told(cli, tmp_path / "migration.yaml", text)
    first = line_of(text, "bake: 5m")
    assert code == 3
    assert f"FILE:{first + 1}: objectives.bake: " in said
    assert f"the first is on line {first}" in said


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "FILE:1: the file is empty"),
        ("# only a remark\n", "FILE:1: the file is empty"),
        ("- a\n- b\n", "FILE:1: a migration is a mapping"),
        ("name: shop\n\tstrategy: window\n", "FILE:2: this is not YAML"),
        ("name: [shop\nstrategy: window\n", "FILE:2: this is not YAML"),
        ("name: shop\n--- \nname: shop\n", "FILE:2: this is not YAML"),
        ("name: *nobody\n", "FILE:1: this is not YAML"),
        ("name: !!python/object:os.system x\n", "FILE:1: this is not YAML"),
        ("name: shop\nstrategy: \x07\n", "FILE:2: a character here can't stand in YAML"),
        (b"name: \xff\xfe\n", "FILE: this is not UTF-8"),
        ("[" * 1000, "FILE: it is nested too deeply"),
        ("name: 2025-13-45\n", "FILE: a value can't be what it looks like"),
    ],
)
def test_what_is_no_migration_at_all(cli, tmp_path, text, why):
    code, said = told(cli, tmp_path / "migration.yaml", text)
    assert code == 3
    assert said.startswith(why)


def test_a_file_that_can_not_be_read_is_a_usage_error(cli, tmp_path):
    assert cli("plan", tmp_path / "none.yaml").exit_code == 2
    done = cli("run", tmp_path)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"{tmp_path}: it can't be read: ")


def test_secrets_that_are_not_set_are_all_named_with_their_lines(cli, tmp_path, monkeypatch):
    monkeypatch.delenv("ORDERS_AWS_PASSWORD")
    monkeypatch.delenv("RECEIPTS_AZURE_KEY")
    code, said = told(cli, tmp_path / "migration.yaml", sample())
    text = sample()
    first, second = line_of(text, "password: env:ORDERS_AWS"), line_of(text, "key: env:RECEIPTS")
    assert code == 3
    assert said.startswith(
        f"FILE:{first}: stores.orders.aws.password: the environment variable ORDERS_AWS_PASSWORD is not set\n"
        "  export ORDERS_AWS_PASSWORD=...\n"
        f"FILE:{second}: stores.receipts.azure.key: "
    )


def test_a_secrets_file_that_there_is_not_is_named(cli, tmp_path):
    text = sample().replace("key: env:RECEIPTS_AZURE_KEY", f"key: file:{tmp_path}/key")
    code, said = told(cli, tmp_path / "migration.yaml", text)
    assert code == 3
    assert "stores.receipts.azure.key: the secret can't be read: No such file" in said
