"""Who may call without a token, and which pages may call at all (protocol.md 1.1)."""

from typing import Any

import pytest

from tests.gateway.clients import HOST, Client, MakeClient, open_access
from tests.gateway.keys import signed
from tests.gateway.test_auth import access

GET = {"id": "a"}


@pytest.fixture
def client(way_in: str, make_client: MakeClient, settings: Any) -> Client:
    settings.ALLOWED_HOSTS = ["*"]  # Django's own check is not what is tested here
    hosts = ["localhost", "127.0.0.1", "[::1]", HOST]
    origins = ["https://tab.example"]
    settings.DURABLE_CORS_ORIGINS = origins
    return make_client(way_in, access=open_access(hosts=hosts, origins=origins))


@pytest.mark.parametrize("host", ["localhost", "localhost:8001", "127.0.0.1:8001", "[::1]:8001"])
def test_this_machine_by_its_names(client: Client, host: str) -> None:
    assert client.call("promise.get", GET, host=host).status == 404
    assert client.call("promise.get", GET, host=host, origin=f"http://{host}").status == 404


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "evil.example:8001", "10.0.0.1", "[::2]"]
)
def test_other_names_are_refused(client: Client, host: str) -> None:
    answer = client.call("promise.get", GET, host=host)
    assert answer == (403, "Forbidden: this server has no such name")


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://localhost:3000",
        "http://localhost.evil.example",
        "null",
        "nonsense",
        "http://[",
    ],
)
def test_pages_of_other_origins_are_refused(client: Client, origin: str) -> None:
    answer = client.call("promise.get", GET, host="localhost:8001", origin=origin)
    assert answer == (403, "Forbidden: a web page of another origin")
    for kind in ("promise.settle", "debug.reset", "promise.search", "nothing"):
        assert client.call(kind, host="localhost:8001", origin=origin).status == 403


def test_a_listed_page_may(client: Client) -> None:
    response = client.post(b"{}", origin="https://tab.example")
    assert response.headers["access-control-allow-origin"] == "https://tab.example"
    assert "Origin" in response.headers["vary"].split(", ")
    assert client.call("promise.get", GET, origin="https://tab.example").status == 404


def test_a_stranger_learns_nothing(client: Client) -> None:
    response = client.post(b"{}", origin="https://evil.example")
    assert "access-control-allow-origin" not in response.headers


def test_with_tokens_origins_and_hosts_do_not_matter(
    way_in: str, make_client: MakeClient, settings: Any
) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    client = make_client(way_in, access=access())
    answer = client.call(
        "promise.get",
        {"id": "mine/a"},
        auth=signed(),
        host="a.proxy.example",
        origin="https://evil.example",
    )
    assert answer.status == 404


def test_a_browser_asks_first(client: Client) -> None:
    response = client.send(
        "OPTIONS",
        "/",
        headers={
            "origin": "https://tab.example",
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type",
        },
    )
    assert (response.status, response.body) == (204, b"")
    assert response.headers["access-control-allow-origin"] == "https://tab.example"
    assert response.headers["access-control-allow-methods"] == (
        "GET, POST, PUT, PATCH, DELETE, OPTIONS"
    )
    allowed = set(response.headers["access-control-allow-headers"].split(", "))
    assert {"origin", "content-length", "content-type", "authorization"} <= allowed
    assert "access-control-allow-private-network" not in response.headers


def test_a_public_page_may_call_this_machine_when_listed(client: Client) -> None:
    asked = {"access-control-request-private-network": "true"}
    for origin, allowed in (("https://tab.example", "true"), ("https://evil.example", None)):
        response = client.send("OPTIONS", "/", headers=asked | {"origin": origin})
        assert response.headers.get("access-control-allow-private-network") == allowed
        assert ("access-control-allow-methods" in response.headers) is (allowed is not None)


def test_everybody_may_when_the_list_says_so(
    way_in: str, make_client: MakeClient, settings: Any
) -> None:
    settings.DURABLE_CORS_ORIGINS = ["*"]
    client = make_client(way_in, access=open_access(origins=["*"]))
    response = client.post(b"{}", origin="https://anybody.example")
    assert response.headers["access-control-allow-origin"] == "*"
    assert client.call("promise.get", GET, origin="null").status == 404


def test_without_a_list_no_page_is_told_anything(
    way_in: str, make_client: MakeClient, settings: Any
) -> None:
    settings.DURABLE_CORS_ORIGINS = []
    client = make_client(way_in, access=open_access())
    for response in (
        client.post(b"{}", origin="https://tab.example"),
        client.send("OPTIONS", "/", headers={"origin": "https://tab.example"}),
    ):
        assert not [name for name in response.headers if name.startswith("access-control")]
