"""A real Envoy before two small upstreams, one for each cloud."""

import asyncio
import itertools
import sys
from collections import Counter
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from sample import sample_document
from tidegate.edges import edge as edges
from tidegate.edges import open_edge
from tidegate.edges.bootstrap import bootstrap
from tidegate.edges.criteria import after_shift
from tidegate.edges.edge import REST, Count, Routes
from tidegate.edges.envoy import prepare_folder
from tidegate.errors import DeadlinePassed, Unreachable
from tidegate.lab.servers.envoy import Envoy
from tidegate.lab.servers.process import Process, free_port, listens
from tidegate.runbook.migration import Maintenance, Migration, Shift


class Edge:
    """Everything of one edge: the plane under test, its Envoy, its hold service, and both upstreams."""

    migration: Migration
    runners: dict[str, web.AppRunner]
    holder: Process
    envoy: Envoy
    plane: edges.Edge
    session: aiohttp.ClientSession

    def __init__(self) -> None:
        self.status = {"aws": 200, "azure": 200}
        self.delay = 0.0
        self.served = Counter[str]()

    async def upstream(self, cloud: str, port: int) -> web.AppRunner:
        async def answer(request: web.Request) -> web.Response:
            await asyncio.sleep(self.delay)
            self.served[cloud] += 1
            return web.Response(text=cloud, status=self.status[cloud])

        application = web.Application()
        application.router.add_route("*", "/{any:.*}", answer)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        return runner

    async def ask(self, user: int = 1, path: str = "/", **headers: str) -> str:
        named = {"x-user-id": f"u{user}"} | {key.replace("_", "-"): value for key, value in headers.items()}
        async with self.session.get(f"http://{self.migration.edge.listen}{path}", headers=named) as answer:
            return await answer.text() if answer.status == 200 else str(answer.status)

    async def split(self, users: int = 400) -> list[str]:
        return list(await asyncio.gather(*(self.ask(user) for user in range(users))))


@pytest.fixture
async def edge(tmp_path) -> AsyncIterator[Edge]:
    edge = Edge()
    ports = {name: free_port() for name in ("listen", "admin", "hold", "aws", "azure")}
    document = sample_document()
    document["components"]["shop"]["aws"]["address"] = f"127.0.0.1:{ports['aws']}"
    document["components"]["shop"]["azure"]["address"] = f"127.0.0.1:{ports['azure']}"
    document["edge"] |= {
        "listen": f"127.0.0.1:{ports['listen']}",
        "admin": f"http://127.0.0.1:{ports['admin']}",
        "hold": f"http://127.0.0.1:{ports['hold']}",
        "folder": str(tmp_path / "routes"),
    }
    edge.migration = Migration.model_validate(document)
    edge.runners = {cloud: await edge.upstream(cloud, ports[cloud]) for cloud in ("aws", "azure")}
    argv = [sys.executable, "-m", "tidegate.edges.hold", "--listen", f"127.0.0.1:{ports['hold']}"]
    edge.holder = Process("hold", argv, tmp_path / "hold.log")
    edge.holder.wait_until(lambda: listens(ports["hold"]))
    prepare_folder(edge.migration)
    edge.envoy = Envoy(tmp_path / "envoy", bootstrap(edge.migration), ports["admin"])
    edge.plane = open_edge(edge.migration)
    edge.session = aiohttp.ClientSession()
    yield edge
    await edge.session.close()
    await edge.plane.close()
    edge.envoy.stop()
    edge.holder.stop()
    for runner in edge.runners.values():
        await runner.cleanup()


async def test_a_share_of_the_users_goes_to_azure_and_stays_there_as_the_share_grows(edge):
    seen = []
    for points in (0, 500, 2500, 5000, 10_000):
        await edge.plane.write(Routes(basis_points=points))
        split = await edge.split()
        assert split == await edge.split(), "a user changed sides within a stage"
        seen.append({user for user, cloud in enumerate(split) if cloud == "azure"})
        assert abs(len(seen[-1]) / 400 - points / 10_000) < 0.06
        assert await edge.plane.read() == Routes(basis_points=points)
    for smaller, larger in itertools.pairwise(seen):
        assert smaller <= larger, "a user went back while the share grew"


async def test_a_feature_a_user_type_and_a_country_are_shifted_by_themselves(edge):
    routes = Routes()
    for shift in ({"path": "/catalog"}, {"user_type": "beta"}, {"country": "SE"}):
        routes = after_shift(routes, Shift.model_validate(shift))
    await edge.plane.write(routes)
    assert await edge.plane.read() == routes
    assert await edge.ask(path="/catalog/42") == "azure"
    assert await edge.ask(path="/catalog?page=2") == "azure"
    assert await edge.ask(path="/catalogue") == "aws"
    assert await edge.ask(x_user_type="beta") == "azure"
    assert await edge.ask(x_user_type="standard") == "aws"
    assert await edge.ask(x_country="SE", x_user_type="standard") == "azure"
    assert await edge.ask(x_country="DE") == "aws"


async def test_a_user_can_not_choose_a_cloud(edge):
    assert await edge.ask(x_tidegate_released="azure") == "aws"


async def test_answers_and_failures_are_counted_per_segment_and_cloud(edge):
    await edge.plane.write(Routes(frozenset({"path:/catalog"})))
    edge.status["azure"] = 500
    for _ in range(3):
        await edge.ask(path="/catalog")
        await edge.ask(path="/orders")
    counts = await edge.plane.count()
    assert counts["path:/catalog", "azure"] == Count(3, 3)
    assert counts["path:/catalog", "aws"] == Count(0, 0)
    assert counts[REST, "aws"] == Count(3, 0)


async def test_no_answer_from_an_upstream_counts_as_one_failure(edge):
    await edge.runners["azure"].cleanup()
    await edge.plane.write(Routes(basis_points=10_000))
    assert await edge.ask() == "503"
    assert (await edge.plane.count())[REST, "azure"] == Count(1, 1)


async def test_held_requests_wait_and_go_where_the_routes_point_at_their_release(edge):
    await edge.plane.hold(10)
    await edge.plane.settle(asyncio.get_running_loop().time() + 5)
    held = [asyncio.create_task(edge.ask(user)) for user in range(100)]
    while (await edge.plane.held()).waiting < 100:
        await asyncio.sleep(0.02)
    await edge.plane.write(Routes(basis_points=10_000))
    await edge.plane.release()
    assert Counter(await asyncio.gather(*held)) == {"azure": 100}
    state = await edge.plane.held()
    assert (state.waiting, state.served, state.expired) == (0, 100, 0)
    assert await edge.ask() == "azure"


async def test_settled_means_that_nothing_is_in_flight(edge):
    edge.delay = 0.5
    slow = asyncio.create_task(edge.ask())
    await asyncio.sleep(0.1)
    await edge.plane.hold(10)
    with pytest.raises(DeadlinePassed, match="1 requests are still in flight"):
        await edge.plane.settle(asyncio.get_running_loop().time() + 0.05)
    await edge.plane.settle(asyncio.get_running_loop().time() + 5)
    assert slow.done()
    await edge.plane.release()


async def test_a_hold_that_nobody_ends_ends_by_itself(edge):
    await edge.plane.hold(0.4)
    assert await edge.ask() == "aws"
    assert await edge.ask() == "aws"
    assert (await edge.plane.held()).expired == 1


async def test_without_its_hold_service_no_hold_begins(edge):
    edge.holder.stop()
    with pytest.raises(Unreachable):
        await edge.plane.hold(10)
    assert await edge.ask() == "aws"


async def test_restarted_the_edge_obeys_the_same_routes(edge):
    routes = Routes(frozenset({"country:SE"}), 2500)
    await edge.plane.write(routes)
    before = await edge.split(100)
    edge.envoy.kill()
    with pytest.raises(Unreachable):
        await edge.plane.read()
    edge.envoy.restart()
    while (await edge.plane.read()) != routes:
        await asyncio.sleep(0.05)
    assert await edge.split(100) == before


async def test_shifting_under_load_fails_nobody(edge):
    ending = asyncio.Event()
    answers = Counter[str]()

    async def user(number: int) -> None:
        while not ending.is_set():
            answers[await edge.ask(number)] += 1

    users = [asyncio.create_task(user(number)) for number in range(20)]
    for points in (500, 5000, 10_000, 0):
        await edge.plane.write(Routes(basis_points=points))
        await edge.plane.hold(5)
        await edge.plane.settle(asyncio.get_running_loop().time() + 5)
        await edge.plane.release()
        await asyncio.sleep(0.1)
    ending.set()
    await asyncio.gather(*users)
    assert set(answers) == {"aws", "azure"}


async def test_the_maintenance_can_be_a_whole_page(edge):
    page = "<!doctype html>" + "<p>100 % of it</p>" * 1000
    response = Maintenance(body=page, content_type="text/html; charset=utf-8")
    edge.migration = edge.migration.model_copy(
        update={"edge": edge.migration.edge.model_copy(update={"maintenance": response})}
    )
    plane = open_edge(edge.migration)
    await plane.write(Routes(maintenance=True))
    await plane.close()
    async with edge.session.get(f"http://{edge.migration.edge.listen}/") as answer:
        assert (answer.status, await answer.text()) == (503, page)


async def test_nobody_is_served_during_a_maintenance_and_everybody_is_told(edge):
    await edge.plane.write(Routes(maintenance=True))
    assert await edge.plane.read() == Routes(maintenance=True)
    async with edge.session.get(f"http://{edge.migration.edge.listen}/orders") as answer:
        assert answer.status == 503
        assert answer.headers["retry-after"] == "60"
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert await answer.text() == "This service is being moved and will be back soon.\n"
    assert edge.served == Counter()
    assert set((await edge.plane.count()).values()) == {Count()}
    await edge.plane.write(Routes(basis_points=10_000))
    assert await edge.ask(path="/orders") == "azure"
