"""moto: S3 and SQS in one process, in memory."""

import sys
from pathlib import Path

from tidegate.lab.servers.process import Process, free_port, listens

__all__ = ["Moto"]


class Moto:
    """Accepts any credentials."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        server = "tidegate.lab.servers.moto_server"
        argv = [sys.executable, "-m", server, "-H", "127.0.0.1", "-p", str(self.port)]
        self.process = Process("moto", argv, folder / "moto.log")
        self.process.wait_until(lambda: listens(self.port))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        self.process.kill()
