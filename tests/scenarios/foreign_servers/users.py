"""The notebook's users: each writes a note, reads it back, and remembers what was acknowledged."""

import http.client
import threading
import time
import uuid
from collections import Counter
from typing import Self

__all__ = ["Users"]

AT_ONCE = 3
PACE = 0.2
"""Seconds between two notes of one user: with what each reads back, 30 requests a second in all."""
NAMES = 40


class Users:
    """`acknowledged`: id -> body. `served`: answers by (copy, owner of the stores)."""

    def __init__(self, edge: int) -> None:
        self.edge = edge
        self.acknowledged: dict[str, bytes] = {}
        self.failed: list[str] = []
        self.served = Counter[tuple[str, str]]()
        self.last = ("", "")
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._use) for _ in range(AT_ONCE)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def go_on(self) -> None:
        """Return when everybody has asked for something more."""
        enough = self.served.total() + len(self.failed) + 4 * AT_ONCE
        while self.served.total() + len(self.failed) < enough:
            time.sleep(PACE)

    def leave(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _use(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.edge, timeout=60)
        turn = 0
        while not self._ending.is_set():
            began = time.monotonic()
            turn += 1
            note = str(uuid.uuid4())
            body = f"{note} says something, {turn}".encode()
            headers = {"x-user-id": f"user-{turn % NAMES}"}
            if self._ask(connection, "POST", note, headers, body) == (201, body):
                self.acknowledged[note] = body
                self._ask(connection, "GET", note, headers)
            time.sleep(max(0.0, PACE - (time.monotonic() - began)))
        connection.close()

    def _ask(
        self, connection: http.client.HTTPConnection, method: str, note: str, headers: dict[str, str], body: bytes = b""
    ) -> tuple[int, bytes]:
        try:
            connection.request(method, f"/notes/{note}", body or None, headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            self.failed.append(f"{method} {note}: {error!r}")
            return 0, b""
        who = answer.headers.get("x-served-by", ""), answer.headers.get("x-primary", "")
        if answer.status >= 400:
            self.failed.append(f"{method} {note}: {answer.status} {content[:200]!r} of {who}")
        else:
            self.served[who] += 1
            self.last = who
        return answer.status, content
