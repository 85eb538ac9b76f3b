"""moto: S3 and SQS in one process, in memory.

`python -m tidegate.lab.servers.moto -H HOST -p PORT` is moto's own server, but for what made it too slow to be a
store under load:

- At every message that it takes, it looks at all messages that are waiting, three times. With 1,000 of them
  an object took 90 ms of CPU to be put, and that in turn kept the queue from being read.
- At every request it lists the folder of its own modules, which is half of the work of a small answer.
"""

import sys
from pathlib import Path
from typing import Any

from tidegate.lab.servers.process import Process, free_port, listens

__all__ = ["Moto"]


class Moto:
    """Accepts any credentials."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        argv = [sys.executable, "-m", __name__, "-H", "127.0.0.1", "-p", str(self.port)]
        self.process = Process("moto", argv, folder / "moto.log")
        self.process.wait_until(lambda: listens(self.port))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        self.process.kill()


def main() -> None:
    from moto import backends  # noqa: PLC0415 - slow, and only for the server itself
    from moto.server import main as serve  # noqa: PLC0415
    from moto.sqs.models import Queue  # noqa: PLC0415

    modules = list(backends.list_of_moto_modules())
    setattr(backends, "list_of_moto_modules", lambda: modules)  # noqa: B010 - it is no attribute of ours

    def waiting(queue: Any) -> int:
        return len(queue._messages)  # noqa: SLF001 - there is no public way that doesn't look at each

    def none(queue: Any) -> int:
        del queue
        return 0

    for name, count in (("", waiting), ("_delayed", none), ("_not_visible", none)):
        setattr(Queue, f"approximate_number_of_messages{name}", property(count))
    serve(sys.argv[1:])


if __name__ == "__main__":
    main()
