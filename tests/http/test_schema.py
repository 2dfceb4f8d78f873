"""The API keeps to its own OpenAPI document: schemathesis calls each operation with what fits it and what does not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import schemathesis

from outlive import Engine
from outlive.http import Role, create_app
from outlive.http.auth import create_key
from outlive.http.serving import Server, address_of, listen

from . import flows

pytestmark = pytest.mark.slow

EXAMPLES = 40
"""Of each operation and role."""


class Served:
    """A server in a thread of its own, for a client that knows no loop."""

    def __init__(self, folder: Path) -> None:
        self.engine = Engine(f"sqlite:///{folder / 'outlive.db'}", durability="process", shutdown_grace=0)
        self.app = create_app(self.engine, on_token=lambda _token: None)
        self.listener = listen("127.0.0.1", 0)
        self.url = address_of(self.listener)
        self.keys: dict[str, str] = {}
        self.began = threading.Event()
        self.server = Server(self.app, on_started=self.began.set)
        self.thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    async def _serve(self) -> None:
        async with self.engine:
            for role in Role:
                self.keys[role.name.lower()] = (await create_key(self.engine, name=role.name, role=role))[1]
            for number in range(3):
                await self.engine.start(flows.order.options(run_id=f"run-{number}"), flows.Order(number, []))
            await self.engine.start(flows.named.options(run_id="waits"))
            await self.server._serve([self.listener])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("served"))
    made.thread.start()
    assert made.began.wait(30)
    yield made
    made.server.should_exit = True
    made.thread.join(30)
    made.listener.close()


def call_often(operation: schemathesis.schemas.APIOperation, headers: dict[str, str]) -> set[int]:
    """Call ``operation``; each answer must keep to the document. The statuses that came."""
    seen: set[int] = set()

    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    @hypothesis.given(case=operation.as_strategy())
    def calls(case: schemathesis.Case) -> None:
        answer = case.call(headers=headers, timeout=30)
        seen.add(answer.status_code)
        case.validate_response(answer, headers=headers)

    calls()
    return seen


@pytest.mark.parametrize("role", ["anonymous", "viewer", "operator"])
def test_s20_no_answer_breaks_the_schema(served: Served, role: str) -> None:
    document = served.app.openapi()
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=served.url)
    headers = {"authorization": f"Bearer {served.keys[role]}"} if role in served.keys else {}
    operations = [result.ok() for result in schema.get_all_operations()]
    seen = {operation.label: call_often(operation, headers) for operation in operations}
    assert len(seen) == sum(len(methods) for methods in document["paths"].values())
    if role == "anonymous":
        assert set().union(*seen.values()) <= {400, 401, 403, 415}
    else:
        assert all(
            200 in statuses or 201 in statuses or 404 in statuses or 403 in statuses for statuses in seen.values()
        ), seen
