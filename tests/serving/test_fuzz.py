"""Requests that nobody thought of, drawn from the server's own schema: an answer or one sentence, never a fault."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from serving_client import Scripted, build, serve_in_thread

from dsbs.serving.openapi import SCHEMA

schemathesis = pytest.importorskip("schemathesis")
hypothesis = pytest.importorskip("hypothesis")

API = schemathesis.openapi.from_dict(SCHEMA)
API.config.generation.update(modes=list(schemathesis.GenerationMode))
CHECKS = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serve_in_thread(build(Scripted())) as address:
        yield address


@API.include(method="POST").parametrize()
@hypothesis.settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
)
def test_any_request_is_answered_as_the_schema_says(case: Any, address: str) -> None:
    checks = [schemathesis.checks.CHECKS.get_one(name) for name in CHECKS]
    case.call_and_validate(base_url=address, checks=checks)


def test_what_the_schema_promises_is_there(address: str) -> None:
    assert httpx.get(f"{address}/openapi.json").json() == SCHEMA
    for path, methods in SCHEMA["paths"].items():
        for method in methods:
            assert httpx.request(method, f"{address}{path}", content=b"{").status_code not in (404, 405)
