"""The OpenAPI document describes the bodies that the server reads."""

import httpx
import jsonschema
import pytest

from tests.server.running import serving
from tests.server.scripted import MODEL, ScriptedService
from tests.server.test_bad_requests import PATHS
from tests.server.test_generated_requests import RICH


@pytest.fixture(scope="module")
def document():
    with serving(ScriptedService()) as server:
        return httpx.get(f"{server.url}/openapi.json").json()


@pytest.mark.parametrize("path", PATHS)
def test_the_document_has_the_bodies_that_the_server_reads(document, path):
    body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    schema = {**body["schema"], "components": document["components"]}

    jsonschema.validate(PATHS[path] | RICH[path], schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(PATHS[path] | {"model": MODEL + "x"}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({}, schema)
