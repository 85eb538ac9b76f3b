from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tidegate.cli import main

SECRETS = ("SHOP_APP", "SHOP_WORKER", "ORDERS_AWS", "ORDERS_AZURE")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where runs are kept. There is none yet."""
    return tmp_path / "store"


@pytest.fixture
def cli(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`cli("status", "--json")` as on a terminal of 100 columns; an unexpected exception is the result's."""
    monkeypatch.delenv("TIDEGATE_STORE", raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    return lambda *words: CliRunner().invoke(main, ["--store", str(folder), *map(str, words)])


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the sample's references name."""
    for name in SECRETS:
        monkeypatch.setenv(f"{name}_PASSWORD", "hunter2")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "RECEIPTS_AZURE_KEY"):
        monkeypatch.setenv(name, "hunter2")
    for name in "ABCDE":
        monkeypatch.setenv(name, "hunter2")
    monkeypatch.setenv("APP_PASSWORD", "hunter2")
