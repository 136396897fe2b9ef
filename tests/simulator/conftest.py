"""Every test of machine behaviour runs on every engine."""

import pytest

from onewafer.simulator import ENGINES


@pytest.fixture(params=sorted(ENGINES))
def engine(request):
    return request.param
