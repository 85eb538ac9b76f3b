"""The queue that hears of a bucket's changes. A message says only: look at this key again."""

import asyncio
import json
import math
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from urllib.parse import unquote_plus, urlsplit

from tidegate.errors import Refused
from tidegate.objects.aws_chain import aws_credentials
from tidegate.objects.http import Asker, Http
from tidegate.objects.signing import Request
from tidegate.runbook.migration import AwsBucket

__all__ = ["HIDDEN_SECONDS", "PER_ANSWER", "Depth", "Events", "Message", "changes_of"]

PER_ANSWER = 10
"""SQS gives no more in one answer."""
HIDDEN_SECONDS = 60
"""How long what was received and not deleted stays away from other receivers."""


@dataclass(frozen=True, slots=True)
class Message:
    """Each key, without the prefix, with the time of its change, by S3's clock. None if nobody knows what it says: any
    may have changed.
    """

    receipt: str
    changes: tuple[tuple[str, float], ...] | None


@dataclass(frozen=True, slots=True)
class Depth:
    """How many messages wait, and how many were received by somebody who hasn't deleted them. SQS: about so many."""

    waiting: int
    hidden: int


class Events:
    """Raises Unreachable, Refused."""

    def __init__(self, store: str, spec: AwsBucket, queue: str, http: Http) -> None:
        self.bucket, self.prefix, self.queue = spec.bucket, spec.prefix, queue
        self.where = f"{store} on aws (queue {queue.rpartition('/')[2]})"
        parts = urlsplit(queue)
        self.url = f"{parts.scheme}://{parts.netloc}/"
        named = re.match(r"sqs\.([a-z0-9-]+)\.amazonaws\.", parts.netloc)
        region = named[1] if named else spec.region
        self._asker = Asker(http, self.url, self.where, aws_credentials(spec, "sqs", region, self.where))

    async def receive(self, calls: int, seconds: int = 0) -> list[Message]:
        """From so many requests side by side; the answer waits for the first message, at most `seconds`."""
        ask = {
            "MaxNumberOfMessages": PER_ANSWER,
            "WaitTimeSeconds": seconds,
            "VisibilityTimeout": HIDDEN_SECONDS,
        }
        answers = await asyncio.gather(*(self._call("ReceiveMessage", ask) for _ in range(calls)))
        raw = [message for answer in answers for message in answer.get("Messages", [])]
        # given twice at once, a message is deleted once: a batch with the same receipt twice is refused as a whole
        bodies = {str(each["ReceiptHandle"]): str(each["Body"]) for each in raw}
        return [Message(receipt, self._changes(body)) for receipt, body in bodies.items()]

    async def delete(self, messages: list[Message]) -> None:
        for start in range(0, len(messages), PER_ANSWER):
            batch = messages[start : start + PER_ANSWER]
            entries = [{"Id": str(i), "ReceiptHandle": each.receipt} for i, each in enumerate(batch)]
            await self._call("DeleteMessageBatch", {"Entries": entries})

    async def depth(self) -> Depth:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = (await self._call("GetQueueAttributes", {"AttributeNames": names}))["Attributes"]
        return Depth(*(int(found[name]) for name in names))

    def _changes(self, body: str) -> tuple[tuple[str, float], ...] | None:
        found = changes_of(body)
        if found is None:
            return None
        if any(bucket != self.bucket for bucket, _, _ in found):
            raise Refused(
                "the queue carries another bucket's events too", where=self.where, mend="give each bucket its own queue"
            )
        cut = len(self.prefix)
        return tuple((key[cut:], at) for _, key, at in found if key.startswith(self.prefix) and len(key) > cut)

    async def _call(self, action: str, fields: dict[str, Any]) -> dict[str, Any]:
        headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": f"AmazonSQS.{action}"}
        body = json.dumps({"QueueUrl": self.queue} | fields).encode()
        answer = await self._asker.ask(Request("POST", self.url, headers=headers, body=body), {200})
        return json.loads(answer.body or b"{}")


def changes_of(body: str) -> list[tuple[str, str, float]] | None:
    """(bucket, key, time) of each change that a message tells, also by SNS; none in a test event; None: unknown."""
    try:
        document = cast("dict[str, Any]", json.loads(body))
        if document.get("Type") == "Notification":
            document = cast("dict[str, Any]", json.loads(document["Message"]))
        if document.get("Event") == "s3:TestEvent":
            return []
        return [_change(record) for record in document["Records"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _change(record: dict[str, Any]) -> tuple[str, str, float]:
    at = datetime.fromisoformat(str(record["eventTime"])).timestamp() if "eventTime" in record else math.inf
    return str(record["s3"]["bucket"]["name"]), unquote_plus(str(record["s3"]["object"]["key"])), at
