"""The strategies of ``durable.testing``: they cover what there is, valid and not."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from durable.protocol.requests import REQUESTS, Request
from durable.testing import strategies
from durable.testing.strategies import START, Scene, any_request
from tests.machine.checked import CheckedStore


def test_there_is_a_strategy_for_each_kind() -> None:
    assert strategies.REQUESTS.keys() == REQUESTS.keys()


@pytest.mark.parametrize("kind", REQUESTS)
@settings(max_examples=20)
@pytest.mark.timeout(0)
@given(data=st.data())
def test_a_strategy_makes_requests_of_its_kind(kind: str, data: st.DataObject) -> None:
    request = data.draw(strategies.REQUESTS[kind](Scene(now=START)))
    assert type(request) is REQUESTS[kind]


def test_doors_refuse_some_of_what_is_drawn() -> None:
    statuses: Counter[int] = Counter()

    @settings(max_examples=100, derandomize=True, database=None)
    @given(st.lists(any_request(Scene(now=START)), min_size=5))
    def send(requests: list[Request]) -> None:
        store = CheckedStore()
        statuses.update(store.ask(request, START).status for request in requests)

    send()
    assert set(statuses) >= {200, 400, 404, 409, 422}
    assert statuses[400] < statuses[200]
