"""Handles, and references to code, as values that can be carried."""

from __future__ import annotations

from typing import Any

from outlive._core.authoring import Step, Workflow
from outlive._core.hooks import Hook
from outlive._core.registry import Registry
from outlive._core.streams import Writable
from outlive._core.webhooks import Webhook, WebhookRequest, WebhookUrl
from outlive.handles import HookHandle, Run
from outlive.readers import Readable


def teach(registry: Registry) -> None:
    """Make handles, and references to steps and workflows, values that can be carried."""
    types = registry.types
    if types.lookup("outlive:run") is None:
        types.register(Run, name="outlive:run", encode=_run_id, decode=Run)
        types.register(HookHandle, name="outlive:hook-handle", encode=_token, decode=HookHandle, secret=True)
        types.register(Hook, name="outlive:hook", encode=_token, decode=HookHandle, secret=True)
        types.register(WebhookUrl, name="outlive:webhook-url", encode=str.__str__, decode=WebhookUrl, secret=True)
        types.register(
            WebhookRequest,
            name="outlive:webhook-request",
            encode=WebhookRequest.packed,
            decode=WebhookRequest.unpacked,
            secret=True,
        )
        types.register(Webhook, name="outlive:webhook", encode=_token, decode=HookHandle, secret=True)
        types.register(Writable, name="outlive:writable", encode=_writable, decode=lambda packed: Writable(*packed))
        types.register(Readable, name="outlive:readable", encode=_readable, decode=lambda packed: Readable(*packed))
        types.register(Step, name="outlive:step", encode=_name, decode=registry.step)
        types.register(Workflow, name="outlive:workflow", encode=_name, decode=registry.workflow)


def _run_id(run: Run[Any]) -> str:
    return run.id


def _name(code: Step[..., Any] | Workflow[..., Any]) -> str:
    return code.name


def _writable(stream: Writable) -> list[str]:
    return [stream.run_id, stream.name]


def _readable(stream: Readable) -> list[str | int]:
    return [stream.run_id, stream.name, stream.start]


def _token(hook: Hook[Any] | HookHandle[Any]) -> str:
    return hook.token
