"""Schemathesis asks what our OpenAPI document tells: an answer, or a 4xx in the dialect's shape.

The server is the real one with made-up values and a small context. `.ci/full` installs
schemathesis; elsewhere: pip install '.[fuzz]'.
"""

import httpx
import pytest
from hypothesis import HealthCheck, given, settings

from onewafer.server.assembly import assemble
from onewafer.server.engine.service import LiveService
from onewafer.server.options import ServerOptions, ValuesKind
from onewafer.terminal import ProgressBar
from tests.server.running import serving
from tests.server.test_bad_requests import PATHS, error_of

EXAMPLES = 20
"""Requests of each kind, right and wrong, to each address."""
LONGEST_SECONDS = 120
"""An answer of 64 tokens that took longer would be a hang."""


@pytest.fixture(scope="module")
def server():
    service = LiveService()
    options = ServerOptions(values=ValuesKind.NONE, context=64)
    service.begin(assemble("llama-3.1-8b", options, ProgressBar()))
    with serving(service) as running:
        yield running
    service.close()


def ask(operation, mode, url):
    """Return the statuses of some requests to an address, each of which was answered well."""
    statuses = set()

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), deadline=None)
    @given(operation.as_strategy(generation_mode=mode))
    def ask_once(case):
        answer = case.call(base_url=url, timeout=LONGEST_SECONDS)
        statuses.add(answer.status_code)
        assert answer.status_code == 200 or 400 <= answer.status_code < 500, answer.text
        if answer.status_code != 200 and operation.path in PATHS:
            assert error_of(answer, operation.path)

    ask_once()
    return statuses


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "usual"), [("positive", 200), ("negative", 400)])
def test_no_request_that_the_document_tells_breaks_the_server(server, mode, usual):
    schemathesis = pytest.importorskip("schemathesis")
    document = httpx.get(f"{server.url}/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document)
    mode = schemathesis.GenerationMode(mode)
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) == len(document["paths"])
    if usual != 200:  # what has no body cannot be asked wrongly
        operations = [one for one in operations if "post" in document["paths"][one.path]]

    statuses = [ask(operation, mode, server.url) for operation in operations]
    assert usual in set().union(*statuses)
