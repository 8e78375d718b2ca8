import pytest

from durable.protocol.profiles import PROFILES, Profile
from tests.machine.checked import CheckedStore


@pytest.fixture(params=PROFILES.values(), ids=list(PROFILES))
def profile(request: pytest.FixtureRequest) -> Profile:
    """Both profiles, for what does not depend on them."""
    found: Profile = request.param
    return found


@pytest.fixture
def store(profile: Profile) -> CheckedStore:
    """An empty store of either profile."""
    return CheckedStore(profile)
