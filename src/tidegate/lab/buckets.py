"""The lab's buckets on S3, the queues that hear of their changes, and the user's own files in one."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import get_session

from tidegate.errors import TidegateError, UsageError
from tidegate.lab.sample import REGION

__all__ = ["ACCESS_KEY", "SECRET_KEY", "Buckets"]

ACCESS_KEY = SECRET_KEY = "lab"  # noqa: S105 - moto takes any
JOBS = 4


class Buckets:
    """`endpoint` answers for S3 and SQS."""

    def __init__(self, endpoint: str) -> None:
        where: dict[str, Any] = {
            "endpoint_url": endpoint,
            "region_name": REGION,
            "aws_access_key_id": ACCESS_KEY,
            "aws_secret_access_key": SECRET_KEY,
            "config": Config(max_pool_connections=JOBS, proxies={}),
        }
        session = get_session()
        self.s3: Any = session.create_client("s3", **where)
        self.sqs: Any = session.create_client("sqs", **where)

    def create(self, name: str) -> None:
        """Unless it is there. Raises TidegateError."""
        try:
            self.s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        except (BotoCoreError, ClientError) as error:
            if "BucketAlreadyOwnedByYou" not in str(error):
                raise TidegateError(str(error), where="moto") from None

    def announce(self, name: str) -> str:
        """Have its every change told to a queue, whose URL is returned. Raises TidegateError."""
        try:
            url = str(self.sqs.create_queue(QueueName=f"{name}-events")["QueueUrl"])
            arn = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
            self.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(_may_send(name, arn))})
            events = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}
            self.s3.put_bucket_notification_configuration(
                Bucket=name, NotificationConfiguration={"QueueConfigurations": [events]}
            )
        except (BotoCoreError, ClientError) as error:
            raise TidegateError(str(error), where="moto") from None
        return url

    def fill(self, name: str, folder: Path) -> None:
        """With every file below `folder`, by its relative path. Raises TidegateError."""

        def put(file: Path) -> None:
            with file.open("rb") as body:
                self.s3.put_object(Bucket=name, Key=file.relative_to(folder).as_posix(), Body=body)

        try:
            with ThreadPoolExecutor(JOBS) as jobs:
                for _ in jobs.map(put, _files(folder)):
                    pass
        except (BotoCoreError, ClientError, OSError) as error:
            raise TidegateError(str(error), where=str(folder), mend="the files must be readable") from None


def _files(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            try:
                str(file).encode()
            except UnicodeEncodeError:
                raise UsageError(
                    "an object's name is UTF-8, this file's isn't", where=repr(str(file)), mend="rename it"
                ) from None
            yield file


def _may_send(bucket: str, queue: str) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "s3.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": queue,
                "Condition": {"ArnLike": {"aws:SourceArn": f"arn:aws:s3:::{bucket}"}},
            }
        ],
    }
