"""One gateway with its providers, for all attacks of a run."""

from collections.abc import Iterator

import pytest
from support.canaries import search_before_it_goes

from tidegate.demo import Stage, set_stage


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with set_stage() as stage:
        yield stage
        search_before_it_goes(stage.data)
