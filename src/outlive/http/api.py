"""The REST API. Steps can't be run over it; whoever calls has been let in by the route's permission before any of this runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec
from fastapi import FastAPI, Path, Query, Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from outlive._core import arguments
from outlive._core.authoring import Workflow
from outlive._core.seeds import hash_token
from outlive.engine import Engine
from outlive.errors import HookNotFound, RunNotFound
from outlive.http import models as m
from outlive.http.auth import Role, authorize, declared, needs
from outlive.http.problems import Problem
from outlive.infos import RunEvent, RunInfo
from outlive.model import events as ev
from outlive.model.events import Payload
from outlive.model.ids import RunId
from outlive.model.records import HookRecord, RunStatus
from outlive.views import error_text, masked, view

LONGEST_WAIT = 60.0
MOST = 200
"""Of a page."""

RunPath = Annotated[str, Path(pattern=m.RUN_ID, description="Id of the run")]
Limit = Annotated[int, Query(ge=1, le=MOST)]

ANSWERS: dict[int | str, dict[str, Any]] = {
    status: {"model": m.ProblemModel, "description": what}
    for status, what in (
        (400, "It can't be read"),
        (401, "No API key, or not one that is known"),
        (403, "The key's role does not suffice, or another site asks"),
        (404, "There is none"),
        (409, "It belongs to somebody else"),
        (415, "Not JSON"),
        (422, "It does not fit"),
        (503, "The store can't be used now"),
    )
}


class GuardedRoute(APIRoute):
    """Lets a request in, or not, before its body is read."""

    def get_route_handler(self) -> Any:
        handle = super().get_route_handler()
        role = declared(self.endpoint, self.path)

        async def guarded(request: Request) -> Response:
            await authorize(request.app.state.auth, request, role)
            answer: Response = await handle(request)
            return answer

        return guarded


class Entry(NamedTuple):
    """A row of the route table."""

    method: str
    path: str
    operation: str
    status: int
    endpoint: Callable[..., Any]


ROUTES: list[Entry] = []
"""The REST part of the route table."""

F = TypeVar("F", bound=Callable[..., Any])


def route(method: str, path: str, operation: str, *, status: int = 200) -> Callable[[F], F]:
    """Put an endpoint into the table."""

    def add(endpoint: F) -> F:
        ROUTES.append(Entry(method, path, operation, status, endpoint))
        return endpoint

    return add


def add_to(app: FastAPI) -> None:
    """Serve all of the table."""
    app.router.route_class = GuardedRoute
    for entry in ROUTES:
        app.add_api_route(
            entry.path,
            entry.endpoint,
            methods=[entry.method],
            operation_id=entry.operation,
            status_code=entry.status,
            responses=ANSWERS,
        )


def engine_of(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


# --- runs ------------------------------------------------------------------------------------------------------------


@route("GET", "/api/v1/workflows", "listWorkflows")
@needs(Role.VIEWER)
async def list_workflows(request: Request) -> list[m.WorkflowModel]:
    """The workflows that this process knows."""
    return [
        m.WorkflowModel(name=flow.name, version=flow.version, doc=(flow.fn.__doc__ or "").strip())
        for flow in sorted(engine_of(request).registry.workflows.all(), key=lambda flow: flow.name)
    ]


@route("POST", "/api/v1/runs", "startRun", status=201)
@needs(Role.OPERATOR)
async def start_run(request: Request, body: m.StartRun) -> m.RunModel:
    """Start a run. Once this answers it is durable."""
    engine = engine_of(request)
    flow: Workflow[..., Any] = engine.registry.workflow(body.workflow)
    args, kwargs = arguments.fit(flow, body.args, body.kwargs)
    run = await engine.start(flow.options(run_id=body.run_id, tags=tuple(body.tags)), *args, **kwargs)
    return _run(await run.info())


@route("GET", "/api/v1/runs", "listRuns")
@needs(Role.VIEWER)
async def list_runs(
    request: Request,
    status: RunStatus | None = None,
    workflow: Annotated[str | None, Query(max_length=512, pattern=m.TEXT)] = None,
    tag: Annotated[str | None, Query(max_length=512, pattern=m.TEXT)] = None,
    root: Annotated[str | None, Query(pattern=m.RUN_ID)] = None,
    before: Annotated[str | None, Query(pattern=m.RUN_ID)] = None,
    limit: Limit = 50,
) -> m.RunPage:
    """Runs that fit, newest first."""
    found = await engine_of(request).list_runs(
        status=status, workflow=workflow, tag=tag, root=root, before=before, limit=limit
    )
    return m.RunPage(runs=[_run(info) for info in found], next=found[-1].id if len(found) == limit else None)


@route("GET", "/api/v1/runs/{run_id}", "getRun")
@needs(Role.VIEWER)
async def get_run(request: Request, run_id: RunPath) -> m.RunModel:
    """What is known of a run now."""
    return _run(await engine_of(request).get_run(run_id).info())


@route("GET", "/api/v1/runs/{run_id}/events", "listEvents")
@needs(Role.VIEWER)
async def list_events(
    request: Request,
    run_id: RunPath,
    link: Annotated[int | None, Query(ge=1, le=2**31)] = None,
    after: Annotated[int, Query(ge=0, le=2**31)] = 0,
    limit: Limit = MOST,
) -> m.EventPage:
    """The log of a run, of its newest link unless told; secrets are left out."""
    engine = engine_of(request)
    found = await engine.events(RunId(run_id), link, after=after, limit=limit + 1)
    page = [_event(event) for event in found[:limit]]
    return m.EventPage(events=page, next=page[-1].seq if len(found) > limit else None)


@route("GET", "/api/v1/runs/{run_id}/result", "getResult")
@needs(Role.VIEWER)
async def get_result(
    request: Request, run_id: RunPath, wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT)] = 0.0
) -> m.ResultModel:
    """How a run ended; waits up to so many seconds for that."""
    engine = engine_of(request)
    try:
        await engine.await_end(RunId(run_id), wait)
    except TimeoutError:
        return m.ResultModel(status=await engine.get_run(run_id).status())
    record = await engine.store.run(RunId(run_id))
    if record is None:
        raise RunNotFound(f"there is no run {run_id}")
    [last] = await engine.store.log(record.id, record.link, after=record.seq - 1)
    match last.event:
        case ev.RunCompleted(result=result):
            return m.ResultModel(status=record.status, result=masked(view(result)))
        case ev.RunFailed(error=error):
            return m.ResultModel(status=record.status, error=str(masked(error_text(error)[0])))
        case _:
            return m.ResultModel(status=record.status, error=record.reason or None)


@route("POST", "/api/v1/runs/{run_id}/cancel", "cancelRun")
@needs(Role.OPERATOR)
async def cancel_run(request: Request, run_id: RunPath) -> m.Done:
    """Ask a run to end: its body gets `CancelledError`, and may clean up."""
    return m.Done(done=await engine_of(request).get_run(run_id).cancel())


@route("POST", "/api/v1/runs/{run_id}/terminate", "terminateRun")
@needs(Role.OPERATOR)
async def terminate_run(request: Request, run_id: RunPath, body: m.Terminate) -> m.Done:
    """End a run at once, without its body."""
    return m.Done(done=await engine_of(request).get_run(run_id).terminate(body.reason))


@route("POST", "/api/v1/runs/{run_id}/wake", "wakeRun")
@needs(Role.OPERATOR)
async def wake_run(request: Request, run_id: RunPath) -> m.Done:
    """Complete the pending sleeps of a run, and try again if it is parked."""
    return m.Done(done=await engine_of(request).get_run(run_id).wake_up())


# --- hooks -----------------------------------------------------------------------------------------------------------


@route("GET", "/api/v1/runs/{run_id}/hooks", "listHooks")
@needs(Role.VIEWER)
async def list_hooks(request: Request, run_id: RunPath) -> list[m.HookModel]:
    """The open hooks of a run; their tokens are secrets."""
    engine = engine_of(request)
    await engine.get_run(run_id).info()
    return [_hook(hook) for hook in await engine.store.hooks(RunId(run_id))]


@route("GET", "/api/v1/hooks", "listOpenHooks")
@needs(Role.VIEWER)
async def list_open_hooks(
    request: Request,
    before: Annotated[str | None, Query(pattern=f"{m.RUN_ID[:-1]}/[0-9]{{1,9}}$")] = None,
    limit: Limit = 50,
) -> m.HookPage:
    """The open hooks of all runs, those of the newest runs first."""
    run, _, ref = (before or "").rpartition("/")
    place = (RunId(run), int(ref)) if before else None
    found = await engine_of(request).store.open_hooks(before=place, limit=limit)
    last = f"{found[-1].run}/{found[-1].ref}" if len(found) == limit else None
    return m.HookPage(hooks=[_hook(hook) for hook in found], next=last)


@route("POST", "/api/v1/hooks/resume", "resumeHook", status=202)
@needs(Role.OPERATOR)
async def resume_hook(request: Request, body: m.ResumeHook) -> m.Done:
    """Send a payload to the hook that holds a token. Once this answers it is durable."""
    engine = engine_of(request)
    record = await engine.store.hook(hash_token(body.token))
    if record is not None and record.webhook is not None:
        raise HookNotFound("this is a webhook; call its URL")
    payload = Payload.of("application/json", msgspec.json.encode(body.payload))
    await engine.deliver(body.token, None, payload, None, body.idempotency_key)
    return m.Done(done=True)


# --- streams, see also streams.py ------------------------------------------------------------------------------------


@route("GET", "/api/v1/runs/{run_id}/streams", "listStreams")
@needs(Role.VIEWER)
async def list_streams(request: Request, run_id: RunPath) -> list[m.StreamModel]:
    """The streams that a run has written to."""
    run = engine_of(request).get_run(run_id)
    await run.info()
    return [m.StreamModel.model_validate(stream) for stream in await run.list_streams()]


@route("GET", "/readyz", "ready")
@needs(Role.VIEWER)
async def ready(request: Request) -> m.Ready:
    """Whether the store can be read and written: 503 if not."""
    engine = engine_of(request)
    try:
        async with asyncio.timeout(5):
            await engine.check()
    except TimeoutError:
        raise Problem(503, "the store does not answer", headers={"retry-after": "5"}) from None
    return m.Ready(ready=True)


def _run(info: RunInfo) -> m.RunModel:
    return m.RunModel.model_validate(info)


def _hook(hook: HookRecord) -> m.HookModel:
    return m.HookModel(
        run_id=hook.run,
        ref=hook.ref,
        created_at=datetime.fromtimestamp(hook.created_at, UTC),
        pending=hook.pending,
        type_name=hook.schema,
        webhook=hook.webhook is not None,
    )


def _event(event: RunEvent) -> m.EventModel:
    return m.EventModel.model_validate(event, extra="ignore")
