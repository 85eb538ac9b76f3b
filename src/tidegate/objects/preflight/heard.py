"""Who hears of the bucket's changes: the migration's queue, which has to hear all of them, and others."""

from typing import NamedTuple
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

from pydantic import Field

from tidegate.objects.preflight.check import Asked, Setting, counted, elements, judged, listed, text
from tidegate.runbook.step import Finding

__all__ = ["HeardFacts", "Listener", "judge_heard", "tell_heard"]

RIGHT = "s3:GetBucketNotification"
CREATED = ("s3:ObjectCreated:Put", "s3:ObjectCreated:Post", "s3:ObjectCreated:Copy",
           "s3:ObjectCreated:CompleteMultipartUpload")  # fmt: skip
REMOVED = ("s3:ObjectRemoved:Delete", "s3:ObjectRemoved:DeleteMarkerCreated")
EXPIRED = ("s3:LifecycleExpiration:Delete", "s3:LifecycleExpiration:DeleteMarkerCreated")
KINDS = {"QueueConfiguration": "Queue", "TopicConfiguration": "Topic", "CloudFunctionConfiguration": "CloudFunction"}


class Listener(NamedTuple):
    """`filters`: of names, such as `prefix=a/`; empty if it hears of all."""

    arn: str
    events: list[str]
    filters: list[str]


class HeardFacts(Asked):
    """`queue`: URL of the migration's own; None if it has none. `state`: of the bucket's notification setting.

    `expires`: lifecycle rules delete objects; None if that may not be read.
    """

    queue: str | None
    waiting: int = 0
    state: str = "set"
    listeners: list[Listener] = Field(default_factory=list[Listener])
    bridge: bool = False
    expires: bool | None = False
    prefix: str = ""


def tell_heard(notification: Setting, lifecycle: Setting, queue: str | None, waiting: int, prefix: str) -> HeardFacts:
    """Pure. `waiting`: messages in the queue; `prefix`: of the keys that are moved."""
    found = [_listener(each, name) for kind, name in KINDS.items() for each in elements(notification.body, kind)]
    rules = [each for each in elements(lifecycle.body, "Rule") if text(each, "Status") == "Enabled"]
    return HeardFacts(
        queue=queue,
        waiting=waiting,
        state=notification.state,
        listeners=found,
        bridge=bool(elements(notification.body, "EventBridgeConfiguration")),
        expires=None if lifecycle.state == "denied" else any(each.find("{*}Expiration") is not None for each in rules),
        prefix=prefix,
    )


def _listener(element: ET.Element, name: str) -> Listener:
    rules = [f"{text(each, 'Name').lower()}={text(each, 'Value')}" for each in element.iterfind(".//{*}FilterRule")]
    return Listener(text(element, name), [each.text or "" for each in element.iterfind("{*}Event")], rules)


def judge_heard(where: str, facts: HeardFacts) -> list[Finding]:
    """`where`: the bucket."""
    denied = f"can't be known without {RIGHT}" if facts.state == "denied" else ""
    ours = [each for each in facts.listeners if facts.queue and _is(facts.queue, each.arn)]
    others = [each.arn for each in facts.listeners if each not in ours] + ["EventBridge"] * facts.bridge
    via = [each for each in facts.listeners if ":sns:" in each.arn]
    found = [
        judged(
            "notifications",
            where,
            "nobody else is told of changes",
            wrong=f"others are told of changes, and won't be of Azure's: {listed(others)}"
            if others
            else f"who else is told of changes {denied}"
            if denied
            else "",
            mend=f"grant {RIGHT}" if denied else "an Event Grid subscription on the storage account for each",
            verdict="inconclusive",
        )
    ]
    if facts.queue is None:
        message = "no queue is given: changes are found by listing again and again"
        return [*found, judged("events", where, message)]
    missing = _unheard(ours, facts.prefix)
    queue = facts.queue.rpartition("/")[2]
    told = f"S3 tells every change to {queue} ({counted(facts.waiting, 'message')} in it); whether somebody else takes "
    told += "messages from it can't be known: keep it to this migration alone"
    if denied or (missing and via):
        why = denied or f"can't be known: it isn't told directly, perhaps through {listed([each.arn for each in via])}"
        mend = f"grant {RIGHT}" if denied else "see that the topic passes all of them on, without a filter"
        wrong = f"whether S3 tells every change to {queue} {why}"
        return [*found, judged("events", where, told, wrong=wrong, mend=mend, verdict="inconclusive")]
    needed = "s3:ObjectCreated:* and s3:ObjectRemoved:*"
    found.append(
        judged(
            "events",
            where,
            told,
            wrong=f"S3 doesn't tell {queue} of {listed(missing)}" if missing else "",
            mend=f"let the bucket's notification configuration send {needed} to this queue, without a filter",
        )
    )
    silent = [event for event in EXPIRED if not _tells(ours, event, facts.prefix)]
    expiry = "lifecycle rules delete objects, and the queue isn't told" if facts.expires else ""
    unknown = "whether lifecycle rules delete objects can't be known without s3:GetLifecycleConfiguration"
    found.append(
        judged(
            "events.expiration",
            where,
            "no lifecycle rule deletes objects unheard",
            wrong=(unknown if facts.expires is None else expiry) if silent else "",
            mend="add s3:LifecycleExpiration:* to the queue's events; until then only listings find them",
            verdict="inconclusive",
        )
    )
    return found


def _is(queue: str, arn: str) -> bool:
    """A queue's URL ends with account and name, as its ARN does."""
    return urlsplit(queue).path.strip("/").split("/")[-2:] == arn.split(":")[-2:]


def _unheard(ours: list[Listener], prefix: str) -> list[str]:
    return [event for event in (*CREATED, *REMOVED) if not _tells(ours, event, prefix)]


def _tells(ours: list[Listener], event: str, prefix: str) -> bool:
    """Of every key that begins with `prefix`."""
    general = event.rpartition(":")[0] + ":*"
    return any(
        {event, general} & set(each.events)
        and all(rule.startswith("prefix=") and prefix.startswith(rule[7:]) for rule in each.filters)
        for each in ours
    )
