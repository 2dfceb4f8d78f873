"""Outlive: plain async functions that outlive the process.

from outlive import sleep, step, workflow, run
"""

from typing import Final

from outlive._core.authoring import Step, Workflow, step, workflow
from outlive._core.context import (
    StepMetadata,
    WorkflowMetadata,
    continue_as_new,
    get_connection,
    get_logger,
    get_step_metadata,
    get_workflow_metadata,
    now,
    patched,
    rng,
    uuid4,
)
from outlive._core.hooks import Hook, create_hook
from outlive._core.registry import registry as _registry
from outlive._core.streams import Writable, get_writable, progress
from outlive._core.waiting import race, sleep
from outlive._core.webhooks import Response, Webhook, WebhookRequest, create_webhook
from outlive._runtime.options import WorkerOptions
from outlive.engine import Engine
from outlive.errors import (
    ConfigurationError,
    FatalError,
    HookConflict,
    HookNotFound,
    NonDeterminismError,
    NotInWorkflow,
    OutliveError,
    PayloadInvalid,
    ReplayDivergence,
    RetryableError,
    RunCancelled,
    RunConflict,
    RunFailed,
    RunNotFound,
    RunParked,
    RunTerminated,
    SerializationError,
    StepError,
    StepInterrupted,
    StepTimeout,
    StoreUnavailable,
    WorkflowBlocked,
)
from outlive.handles import HookDefinition, HookHandle, Run, define_hook, resume_hook
from outlive.infos import RunEvent, RunInfo
from outlive.model.records import RunStatus
from outlive.readers import Readable, StreamInfo, StreamItem, StreamReset
from outlive.scripts import get_run, run, start

register: Final = _registry.types.register
"""Make a type of yours a value that can be carried: ``register(Money, encode=..., decode=...)``, also as a decorator."""

__all__ = [
    "ConfigurationError",
    "Engine",
    "FatalError",
    "Hook",
    "HookConflict",
    "HookDefinition",
    "HookHandle",
    "HookNotFound",
    "NonDeterminismError",
    "NotInWorkflow",
    "OutliveError",
    "PayloadInvalid",
    "Readable",
    "ReplayDivergence",
    "Response",
    "RetryableError",
    "Run",
    "RunCancelled",
    "RunConflict",
    "RunEvent",
    "RunFailed",
    "RunInfo",
    "RunNotFound",
    "RunParked",
    "RunStatus",
    "RunTerminated",
    "SerializationError",
    "Step",
    "StepError",
    "StepInterrupted",
    "StepMetadata",
    "StepTimeout",
    "StoreUnavailable",
    "StreamInfo",
    "StreamItem",
    "StreamReset",
    "Webhook",
    "WebhookRequest",
    "WorkerOptions",
    "Workflow",
    "WorkflowBlocked",
    "WorkflowMetadata",
    "Writable",
    "continue_as_new",
    "create_hook",
    "create_webhook",
    "define_hook",
    "get_connection",
    "get_logger",
    "get_run",
    "get_step_metadata",
    "get_workflow_metadata",
    "get_writable",
    "now",
    "patched",
    "progress",
    "race",
    "register",
    "resume_hook",
    "rng",
    "run",
    "sleep",
    "start",
    "step",
    "uuid4",
    "workflow",
]
