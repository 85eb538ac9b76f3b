"""moto's own server, but for what kept it from being a store under load.

    python -m tidegate.lab.servers.moto_server -H HOST -p PORT

- At every message that its queue takes, gives or deletes, it looks at all that are there, and asks for the time
  at each. With 1,000 of them an object took 90 ms of CPU to be put, and so the queue grew ever longer.
- It deletes a message by replacing the list of them, without its lock: one that came meanwhile was lost, one that
  was deleted meanwhile came back.
- At every request it lists the folder of its own modules, which is half of the work of a small answer.
- Each of its threads may keep the interpreter for 5 ms: a request that waits for several of them is late.
"""

import sys
from collections.abc import Callable

from moto import backends
from moto.core.utils import unix_time_millis
from moto.server import main as serve
from moto.sqs import models
from moto.sqs.exceptions import ReceiptHandleIsInvalid
from moto.sqs.models import Message

__all__ = ["Queue", "main"]


class Queue(models.Queue):
    __module__ = models.__name__  # moto tells a model's service by its module

    @property
    def messages(self) -> list[Message]:
        return self._which(lambda message, now: message.visible_at < now and message.delayed_until <= now)

    @property
    def approximate_number_of_messages(self) -> int:
        return len(self.messages)

    @property
    def approximate_number_of_messages_not_visible(self) -> int:
        return len(self._which(lambda message, now: message.visible_at >= now))

    @property
    def approximate_number_of_messages_delayed(self) -> int:
        return len(self._which(lambda message, now: message.delayed_until > now))

    def delete_message(self, receipt_handle: str) -> None:
        with self._messages_lock:
            if receipt_handle in self.deleted_messages:
                return
            held = enumerate(self._messages)
            place = next((i for i, message in held if message.had_receipt_handle(receipt_handle)), None)
            if place is None:
                raise ReceiptHandleIsInvalid
            message = self._messages.pop(place)
            self.pending_messages.discard(message)
            self.deleted_messages.update(str(handle) for handle in message.all_receipt_handles)

    def _which(self, wanted: Callable[[Message, float], bool]) -> list[Message]:
        now = unix_time_millis()
        return [message for message in tuple(self._messages) if wanted(message, now)]


def main() -> None:
    modules = list(backends.list_of_moto_modules())
    backends.list_of_moto_modules = lambda: modules
    models.Queue = Queue
    sys.setswitchinterval(0.0005)
    serve(sys.argv[1:])


if __name__ == "__main__":
    main()
