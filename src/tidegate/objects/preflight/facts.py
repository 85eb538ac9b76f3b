"""All that is asked of both sides, and the judgement of it."""

import asyncio

from tidegate.objects.blob import BlobSide
from tidegate.objects.events import Events
from tidegate.objects.preflight.carried import judge_carried
from tidegate.objects.preflight.check import Asked, read_setting
from tidegate.objects.preflight.heard import HeardFacts, judge_heard, tell_heard
from tidegate.objects.preflight.history import HistoryFacts, judge_history, read_history
from tidegate.objects.preflight.ladder import judge_ladder
from tidegate.objects.preflight.left_behind import LEFT, LeftBehind, judge_left_behind, tell_left_behind
from tidegate.objects.preflight.listing import ListingFacts, judge_listing, read_listing
from tidegate.objects.preflight.names import Names, judge_names, judge_paths, read_collisions
from tidegate.objects.preflight.rate import RateFacts, judge_rate, read_rate
from tidegate.objects.preflight.rights import RightsFacts, judge_rights, prove_aws, prove_azure
from tidegate.objects.preflight.sample import SampleFacts, read_sample
from tidegate.objects.preflight.target import TargetFacts, judge_target, read_target
from tidegate.objects.s3 import S3Side
from tidegate.runbook.step import Finding

__all__ = ["SAMPLED", "BucketFacts", "judge", "read_facts"]

SAMPLED = 200
"""Objects that are looked at one by one."""
SETTINGS = ("versioning", "object-lock", "notification", *(each.name for each in LEFT))


class BucketFacts(Asked):
    """`wheres`: as errors name the bucket and the container. `beside`: what the container has may stay beside the copy.

    `tags`: they are to be copied.
    """

    wheres: tuple[str, str]
    beside: bool = False
    tags: bool = True
    listing: ListingFacts
    sample: SampleFacts
    history: HistoryFacts
    left_behind: LeftBehind
    heard: HeardFacts
    target: TargetFacts
    aws_rights: RightsFacts
    azure_rights: RightsFacts
    rate: RateFacts
    findings: tuple[Finding, ...] = ()


async def read_facts(
    aws: S3Side,
    azure: BlobSide,
    events: Events | None,
    *,
    begun: bool,
    beside: bool = False,
    at_once: int,
    sampled: int = SAMPLED,
    seed: int = 0,
) -> BucketFacts:
    """`begun`: the run has proved the container empty before. `at_once`: requests, as many as the copy will make.

    `sampled`: objects that are looked at one by one, drawn by `seed`. Raises Unreachable or Refused, naming the side.
    """
    target = await read_target(azure, begun=begun, at_once=at_once)
    listing, entries = await read_listing(aws, Names(azure.refuses, azure.name), sampled, seed)
    listing = listing.model_copy(update={"names": await read_collisions(aws, listing.names)})
    answers = await asyncio.gather(*(read_setting(aws, name) for name in SETTINGS))
    settings = dict(zip(SETTINGS, answers, strict=True))
    waiting = (await events.depth()).waiting if events is not None else 0
    queue = events.queue if events is not None else None
    history = await read_history(aws, settings)
    sample = await read_sample(aws, entries, at_once)
    facts = BucketFacts(
        wheres=(aws.where, azure.where),
        beside=beside,
        tags=aws.tags,
        listing=listing,
        sample=sample,
        history=history,
        left_behind=tell_left_behind(settings),
        heard=tell_heard(settings["notification"], settings["lifecycle"], queue, waiting, aws.prefix),
        target=target,
        aws_rights=await prove_aws(aws, versioned=bool(history.versioning), locked=bool(history.lock)),
        azure_rights=await prove_azure(azure, there=target.state != "absent"),
        rate=await read_rate(aws, sample.objects, at_once, sample.requests_per_second, target.requests_per_second),
    )
    return facts.model_copy(update={"findings": tuple(judge(facts))})


def judge(facts: BucketFacts) -> list[Finding]:
    """One finding per check. Pure."""
    aws, azure = facts.wheres
    listing, target, sample = facts.listing, facts.target, facts.sample
    return [
        *judge_listing(aws, listing),
        *judge_names(azure, listing.names),
        judge_paths(azure, listing.names, target.hierarchical),
        *judge_carried(aws, sample, tags=facts.tags, hierarchical=target.hierarchical),
        *judge_history(aws, facts.history),
        *judge_left_behind(aws, facts.left_behind),
        *judge_heard(aws, facts.heard),
        *judge_target(azure, target, beside=facts.beside),
        *judge_rights(aws, azure, facts.aws_rights, facts.azure_rights),
        judge_ladder(aws, listing.ladder, _encrypted(sample)),
        judge_rate(aws, facts.rate, listing.objects, listing.bytes),
    ]


def _encrypted(sample: SampleFacts) -> float | None:
    """As a share of the sample's bytes."""
    looked = sample.of("ok")
    count = sum(each.size for each in looked)
    return sum(each.size for each in looked if each.encrypted) / count if count else None
