"""The process that owns a lab: it lives on when tidegate is killed, and ends all when told or forgotten.

    python -m tidegate.lab.supervisor FOLDER

Reads FOLDER/options.json and answers on FOLDER/control (see control.py). Verbs, and what they take:

    ping, status             any verb, these too, shows that somebody still wants the lab
    load-start, load-stop    load-stop returns once the ledger is complete
    fault {cloud, errors}    that share of the shop's requests in that cloud fails
    cut, heal {link}         a link of the network between the clouds
    kill, destroy {server}   SIGKILL to all of it; destroy takes its data as well
    restart {server}         one that was killed; those with their data in memory can't come back
    stop                     ends everything

If it can't start, FOLDER/failure.json says why.
"""

import asyncio
import fcntl
import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tidegate.errors import TidegateError
from tidegate.lab.book import Options
from tidegate.lab.control import described, listen
from tidegate.lab.faults import Faults
from tidegate.lab.world import World

__all__ = ["Supervisor"]

Verb = Callable[..., Awaitable[Any]]


class Supervisor:
    """One lab. `run` returns when it has ended."""

    def __init__(self, folder: Path, options: Options) -> None:
        self.folder, self.options = folder, options
        self.world = World(folder, options)
        self.verbs: dict[str, Verb] = {"ping": self.status, "status": self.status, "stop": self.stop}
        self.state = "starting"
        self.ended = asyncio.Event()
        self.asked = time.monotonic()

    async def run(self) -> None:
        """Until told to stop, or nobody has called for `options.idle` seconds.

        Raises TidegateError if it can't start; what was started has ended then.
        """
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.ended.set)
        control = await listen(self.folder / "control", self.handle)
        start = asyncio.create_task(self._start())
        ended = asyncio.create_task(self._told_or_forgotten())
        try:
            await asyncio.wait({start, ended}, return_when=asyncio.FIRST_COMPLETED)
            if start.done():
                start.result()
            await ended
        finally:
            control.close()
            self.world.stop()

    async def handle(self, verb: str, arguments: dict[str, Any]) -> Any:
        self.asked = time.monotonic()
        if verb not in self.verbs:
            raise TidegateError(f"it can't {verb} now", where="lab", mend=f"it can {', '.join(self.verbs)}")
        return await self.verbs[verb](**arguments)

    async def status(self) -> dict[str, Any]:
        return {"state": self.state, "starting": sorted(self.world.starting), "servers": self.world.status()}

    async def stop(self) -> None:
        self.ended.set()

    async def _start(self) -> None:
        book = await self.world.start()
        (self.folder / "book.json").write_text(book.model_dump_json(indent=1))
        faults = Faults(self.world, book)
        self.verbs |= {
            "load-start": lambda: self.world.start_load(book),
            "load-stop": self.world.stop_load,
            "fault": faults.fault,
            "cut": faults.cut,
            "heal": faults.heal,
            "kill": faults.kill,
            "restart": faults.restart,
            "destroy": faults.destroy,
        }
        self.state = "ready"

    async def _told_or_forgotten(self) -> None:
        while not self.ended.is_set() and time.monotonic() < self.asked + self.options.idle:
            try:
                await asyncio.wait_for(self.ended.wait(), min(1, self.options.idle))
            except TimeoutError:
                continue


def main(folder: Path) -> None:
    """Holds FOLDER/lock as long as anything of the lab may be alive."""
    lock = (folder / "lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    print(os.getpid(), file=lock, flush=True)
    code = 1
    try:
        options = Options.model_validate_json((folder / "options.json").read_text())
        asyncio.run(Supervisor(folder, options).run())
        code = 0
    except TidegateError as error:
        _tell(folder, error)
    except BaseException as error:  # noqa: BLE001 - it is told to the one who waits for the lab
        traceback.print_exc()
        why = f"{type(error).__name__}: {error}"
        _tell(folder, TidegateError(why, where="lab", mend=f"see {folder}/supervisor.log"))
    for data in folder.glob("postgres-*/data"):
        shutil.rmtree(data, ignore_errors=True)
    os._exit(code)  # threads may still wait for servers; whatever they started dies now


def _tell(folder: Path, error: TidegateError) -> None:
    new = folder / "failure.new"
    new.write_text(json.dumps(described(error)))
    new.replace(folder / "failure.json")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
