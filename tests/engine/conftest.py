import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from crash.memory import QUICK


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In memory: dozens of small journals are written, and no power is taken away."""
    with tempfile.TemporaryDirectory(dir=QUICK) as folder:
        yield Path(folder)
