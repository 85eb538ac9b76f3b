"""Whole rehearsals, as a user starts them: one process, its exit code, its figures, its journal."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tidegate.engine.journal import Event, Store
from tidegate.engine.state import RunState, fold

SMALL = ("--rows", "5000", "--receipts", "150", "--rate", "120", "--bake", "1.5", "--watch", "1.5")
LONGEST = 240


@dataclass(frozen=True)
class Rehearsed:
    exit_code: int
    figures: dict[str, Any]
    shown: str
    progress: str
    store: Store

    @property
    def events(self) -> list[Event]:
        return self.store.events(self.figures["run"])

    @property
    def state(self) -> RunState:
        return fold(self.events)

    @property
    def report(self) -> str:
        return Path(self.figures["report"]).read_text()


@pytest.fixture
def rehearse(tmp_path) -> Callable[..., Rehearsed]:
    def run(scenario: str, *options: str) -> Rehearsed:
        store, figures = tmp_path / "store", tmp_path / "figures.json"
        argv = [
            *(sys.executable, "-m", "tidegate", "--store", str(store), "rehearse", "--plain"),
            *("--scenario", scenario, "--json", str(figures), *SMALL, *options),
        ]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
        try:
            shown, progress = process.communicate(timeout=LONGEST)
        except subprocess.TimeoutExpired:
            process.terminate()  # it ends its lab
            shown, progress = process.communicate(timeout=60)
        assert figures.exists(), f"exit code {process.returncode}\n{shown}\n{progress}"
        return Rehearsed(process.returncode, json.loads(figures.read_text()), shown, progress, Store(store.resolve()))

    return run


def must_keep_its_promise(rehearsed: Rehearsed, outcome: str) -> None:
    """What holds in every scenario."""
    assert rehearsed.exit_code == 0, rehearsed.shown + rehearsed.progress
    figures = rehearsed.figures
    assert figures["outcome"] == outcome
    assert figures["writes"]["acknowledged"] > 50
    assert figures["writes"]["duplicated"] == 0
    assert figures["rows"]["verified"] > 5000
    assert figures["rows"]["mismatched"] == 0
    assert figures["objects"]["verified"] > 150
    assert figures["objects"]["mismatched"] == 0
    rehearsed.store.verify(figures["run"])
    assert "<script" not in rehearsed.report
    assert figures["run"] in rehearsed.report
