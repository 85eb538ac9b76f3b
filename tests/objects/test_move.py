import asyncio
import time

from tidegate.objects.bucket import BucketMove


def quiet(text: str) -> None:
    pass


async def turn(move: BucketMove, source: str) -> float:
    """The switch of this one store, as the state machine does it. Returns how long the drain took."""
    store = move.store(source)
    await store.arm()
    deadline = time.monotonic() + 10
    await store.fence(deadline)
    began = time.monotonic()
    await store.drain(deadline)
    took = time.monotonic() - began
    await store.seal(deadline)
    await store.open()
    await store.release()
    await store.close()
    return took


async def test_everything_is_copied_and_changes_follow(receipts):
    for i in range(30):
        receipts.put(f"receipts/{i}.txt", b"receipt %d" % i)
    move = receipts.move()
    await move.copy(quiet)
    assert await move.copied()
    report = await move.verify(quiet)
    assert (report.objects, report.equal) == (30, True)
    receipts.put("receipts/new.txt", b"new")
    receipts.put("receipts/3.txt", b"changed")
    receipts.delete("receipts/4.txt")
    task = asyncio.create_task(move.follow(quiet))
    await asyncio.sleep(1)
    task.cancel()
    assert await receipts.on("azure") == await receipts.on("aws")
    took = await turn(move, "aws")
    print("drain", took)
    await receipts.put_on_azure("az", b"az")
    await receipts.put_on_azure("receipts/5.txt", b"az")
    await receipts.delete_on_azure("receipts/6.txt")
    receipts.put("late", b"late")
    report = await move.settle(quiet)
    assert report.equal, report
    assert (await receipts.on("azure"))["late"] == b"late"
    print("drain", await turn(move, "azure"))
    assert await receipts.on("azure") == await receipts.on("aws")
    await move.remove()
    assert not await receipts.azure.exists()
    assert len(await receipts.on("aws")) == 31
