"""What would make a move fail, or silently lose something, looked for before it starts.

check        a verdict: what, where, mend
facts        everything read from both sides, and judged without them
listing      one pass over the bucket: counts, sizes, storage classes
names        what Blob can't hold, folds, or can't hold beside another
ladder       how the copies will be proved equal
sample       some objects looked at by HEAD, tags and ACL
carried      what they carry: tags, metadata, locks, keys
history      versions, delete markers, Object Lock
left_behind  what is set on the bucket, and what Azure has for it
heard        who is told of changes: the queue, and others
target       container and account
rights       what either login may do, proved without an effect
rate         how long the copy takes, as measured
"""

from tidegate.objects.preflight.facts import SAMPLED, BucketFacts, judge, read_facts

__all__ = ["SAMPLED", "BucketFacts", "judge", "read_facts"]
