"""moto: S3 and SQS in one process, in memory.

`python -m tidegate.lab.servers.moto -H HOST -p PORT` is moto's own server, but for what made it too slow to be a
store under load:

- At every message that it takes, it counts all that are there, three times, and asks for the time at each. With
  1,000 of them an object took 90 ms of CPU to be put, and that in turn kept the queue from being read.
- At every request it lists the folder of its own modules, which is half of the work of a small answer.
"""

import sys
from collections.abc import Callable
from functools import partial
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
    from moto.core.utils import unix_time_millis  # noqa: PLC0415
    from moto.server import main as serve  # noqa: PLC0415
    from moto.sqs.models import Queue  # noqa: PLC0415

    modules = list(backends.list_of_moto_modules())
    setattr(backends, "list_of_moto_modules", lambda: modules)  # noqa: B010 - it is no attribute of ours

    def count(queue: Any, which: Callable[[Any, float], bool]) -> int:
        now = unix_time_millis()  # moto itself asks for the time twice per message
        return sum(which(message, now) for message in queue._messages)  # noqa: SLF001

    figures: dict[str, Callable[[Any, float], bool]] = {
        "": lambda message, now: message.visible_at < now and message.delayed_until <= now,
        "_not_visible": lambda message, now: message.visible_at >= now,
        "_delayed": lambda message, now: message.delayed_until > now,
    }
    for name, which in figures.items():
        setattr(Queue, f"approximate_number_of_messages{name}", property(partial(count, which=which)))
    serve(sys.argv[1:])


if __name__ == "__main__":
    main()
