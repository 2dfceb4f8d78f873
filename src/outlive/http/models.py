"""What the REST API takes and gives, for its OpenAPI document."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from outlive.model.records import RunStatus

RUN_ID = r"^[A-Za-z0-9_:@-][A-Za-z0-9_.:@-]{0,254}$"
NAME = r"^[A-Za-z0-9_:-][A-Za-z0-9_.:-]{0,127}$"
TEXT = r"^[^\x00-\x1f\x7f]*$"

Text = Annotated[str, Field(max_length=512, pattern=TEXT)]


class Model(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", from_attributes=True)


class StartRun(Model):
    workflow: Annotated[str, Field(min_length=1, max_length=512, pattern=TEXT, description="Its name: module:function")]
    args: Annotated[list[Any], Field(max_length=255)] = []
    kwargs: dict[str, Any] = {}
    run_id: Annotated[
        str | None, Field(pattern=RUN_ID, description="The same call with the same id gives the same run")
    ] = None
    tags: Annotated[list[Text], Field(max_length=32)] = []


class RunModel(Model):
    id: str
    workflow: str
    status: RunStatus
    created_at: datetime
    ended_at: datetime | None
    link: int
    events: int
    tags: list[str]
    parent_id: str | None
    root_id: str
    wake_at: datetime | None
    owner: str | None
    reason: str
    open_hooks: int = 0


class RunPage(Model):
    runs: list[RunModel]
    next: Annotated[str | None, Field(description="Give this as `before` for the next page")]


class EventModel(Model):
    link: int
    seq: int
    time: datetime
    kind: str
    ref: int
    worker: str
    epoch: int
    data: dict[str, Any]


class EventPage(Model):
    events: list[EventModel]
    next: Annotated[int | None, Field(description="Give this as `after` for the next page")]


class ResultModel(Model):
    status: RunStatus
    result: Any = None
    error: Annotated[str | None, Field(description="Type and message of the exception with which it failed")] = None


class Done(Model):
    done: Annotated[bool, Field(description="False: the run had ended")]


class Terminate(Model):
    reason: Text = ""


class HookModel(Model):
    run_id: str
    ref: int
    created_at: datetime
    pending: int
    type_name: str
    webhook: bool


class HookPage(Model):
    hooks: list[HookModel]
    next: Annotated[str | None, Field(description="Give this as `before` for the next page")]


class ResumeHook(Model):
    token: Annotated[str, Field(min_length=1, max_length=512, pattern=TEXT)]
    payload: Any = None
    idempotency_key: Annotated[str, Field(max_length=255, pattern=TEXT)] = ""


class StreamModel(Model):
    name: str
    length: int
    closed: bool
    first_at: datetime
    last_at: datetime


class WorkflowModel(Model):
    name: str
    version: str | None
    doc: str


class Ready(Model):
    ready: bool


class ProblemModel(BaseModel):
    type: str
    title: str
    status: int
    detail: str
    code: str
    id: str
