"""The gateway where the project has it: in front of the pages, with the streams beside it."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections

from durable.gateway import auth, service
from durable.gateway.asgi import Gateway
from tests.gateway.clients import HOST, AsgiClient, MakeClient, scope_of
from tests.gateway.keys import signed
from tests.gateway.test_auth import BAD, access, issue
from tests.gateway.test_envelope import envelope


@pytest.fixture
def fresh(transactional_db: None) -> Iterator[None]:
    """The process's own service, made anew."""
    made = (auth.get_access, service.get_service)
    for one in made:
        one.cache_clear()
    yield
    for one in made:
        one.cache_clear()


async def exchange(application: Any, scope: Any, body: bytes = b"") -> tuple[int, bytes]:
    from asgiref.testing import ApplicationCommunicator

    communicator = ApplicationCommunicator(application, scope)
    await communicator.send_input({"type": "http.request", "body": body})
    start = await communicator.receive_output(10)
    content = await communicator.receive_output(10)
    await communicator.wait(10)
    return start["status"], content["body"]


def test_the_project_answers_pages_and_the_protocol(fresh: None) -> None:
    from dashboard.project.asgi import application

    async def both() -> None:
        headers = {"host": "localhost"}
        status, body = await exchange(application, scope_of("POST", "/", headers), envelope())
        assert (status, b"Promise not found" in body) == (404, True)
        status, _ = await exchange(application, scope_of("GET", "/", headers))
        assert status == 302, "to the sign-in page"
        status, _ = await exchange(application, scope_of("GET", "/health", headers))
        assert status == 200
        status, _ = await exchange(application, scope_of("POST", "/promises", headers))
        assert status == 410

    asyncio.run(both())
    connections.close_all()


@pytest.fixture
def streams(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> AsgiClient:
    from durable.gateway import consumers

    guarded = access("ed25519", "rsa", issuer="issuer", audience="us")
    client = make_client("asgi", access=guarded)
    assert isinstance(client, AsgiClient)
    monkeypatch.setattr(consumers, "get_access", lambda: guarded)
    poll: Any = consumers.PollConsumer.as_asgi()
    client.application = Gateway(client.application, poll=poll)
    return client


@pytest.mark.parametrize("name", [name for name in BAD if name != "not ascii"])
def test_bad_tokens_get_no_stream(streams: AsgiClient, name: str) -> None:
    token = BAD[name]()
    headers = {"authorization": f"Bearer {token}"} if token else {}
    response = streams.send("GET", "/poll/mine/w", headers=headers)
    assert (response.status, response.body) == (401, b"Unauthorized")


@pytest.mark.parametrize("group", ["theirs", "min", "Mine", "default", "%20mine", "theirs%2Fmine"])
def test_a_prefix_polls_only_its_own_groups(streams: AsgiClient, group: str) -> None:
    prefixes = ["mine", "mine/", ..., None, 7, ["mine"]]
    given = [signed(iss="issuer", aud="us", prefix=prefix) for prefix in prefixes]
    for token in (*given, issue("other", prefix="mine/", groups=["mine-too"])):
        headers = {"authorization": f"Bearer {token}"}
        response = streams.send("GET", f"/poll/{group}/w", headers=headers)
        assert (response.status, response.body) == (403, b"Forbidden")


def test_a_token_in_the_address_is_none(streams: AsgiClient) -> None:
    """Addresses end up in logs."""
    token = signed(iss="issuer", aud="us", prefix="")
    response = streams.send("GET", f"/poll/mine/w?token={token}&auth={token}")
    assert (response.status, response.body) == (401, b"Unauthorized")


def test_which_groups_a_token_polls() -> None:
    from durable.gateway.grants import Grant

    assert Grant(prefix="mine").allows_group("mine-workers")
    assert not Grant(prefix="mine").allows_group("default")
    assert Grant(prefix="mine", groups=frozenset({"default"})).allows_group("default")
    assert Grant(prefix="").allows_group("anything")
    assert Grant(role="admin").allows_group("anything")
    assert not Grant().allows_group("anything")


def test_without_tokens_streams_are_for_this_machine(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from durable.gateway import consumers
    from tests.gateway.clients import open_access

    client = make_client("asgi")
    assert isinstance(client, AsgiClient)
    monkeypatch.setattr(consumers, "get_access", lambda: open_access(hosts=[HOST]))
    poll: Any = consumers.PollConsumer.as_asgi()
    client.application = Gateway(client.application, poll=poll)
    for headers in ({"host": "evil.example"}, {"origin": "https://evil.example"}):
        assert client.send("GET", "/poll/g/w", headers=headers).status == 403
