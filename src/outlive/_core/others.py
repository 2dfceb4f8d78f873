"""What a body asks of other runs. Each is a command with a ref, recorded like a step (R36)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Raw

from outlive._codec import digest
from outlive._core import payloads
from outlive._core.authoring import Workflow
from outlive._core.machine import Machine
from outlive._core.pending import WaitingFuture
from outlive._core.seeds import hash_token
from outlive._core.waiting import Durable
from outlive.model import commands as cmd
from outlive.model.ids import RunId


def start_child(
    machine: Machine, workflow: Workflow[..., Any], args: tuple[object, ...], kwargs: Mapping[str, object]
) -> Durable[Any]:
    """Start a run of its own; gives its handle once it is durable."""

    async def start() -> object:
        encoded = machine.encode(workflow.binder.bind(args, kwargs), workflow.name)
        mark = digest(encoded)
        ref = machine.issue("child", workflow.name, mark)
        command = cmd.StartChild(
            ref=ref,
            run_id=RunId(workflow.run_id) if workflow.run_id is not None else child_id(machine.run, machine.link, ref),
            workflow=workflow.name,
            digest=mark,
            input=Raw(encoded),
            tags=workflow.tags,
            queue=workflow.queue,
        )
        return await machine.call(command, machine.loop.create_future(), ref)

    return Durable(start())


def child_id(parent: RunId, link: int, ref: int) -> RunId:
    """The id of the run that a command starts: readable, and the same on replay."""
    return RunId(f"{parent}.{ref}" if link == 1 else f"{parent}.{link}-{ref}")


def watch(machine: Machine, run: RunId) -> Durable[Any]:
    """The result of any other run; no slot is held and nothing is polled while it is awaited.

    Raises:
        ValueError: It is this run, which would wait for itself for ever.
    """
    if run == machine.run:
        raise ValueError(f"run {run} can't wait for its own result")

    async def result() -> object:
        ref = machine.issue("watch", "", run)
        return await machine.call(cmd.WatchRun(ref, run), WaitingFuture[Any](machine, ref), ref)

    return Durable(result())


def send(machine: Machine, token: str, payload: object) -> Durable[None]:
    """Send a payload to another run's hook, exactly once."""

    async def deliver() -> None:
        packed = payloads.write(payload, machine.codec)
        hashed = hash_token(token)
        mark = f"{hashed[:16]}:{digest(machine.encode(payload, 'payload'))}"
        ref = machine.issue("call", "resume_hook", mark)
        command = cmd.SendToHook(ref=ref, digest=mark, token_hash=hashed, payload=packed)
        await machine.call(command, machine.loop.create_future(), ref)

    return Durable(deliver())


def cancel_other(machine: Machine, run: RunId) -> Durable[bool]:
    """Ask another run to end; False if it had ended."""

    async def cancel() -> bool:
        ref = machine.issue("call", "cancel", run)
        return bool(await machine.call(cmd.CancelOther(ref, run, run), machine.loop.create_future(), ref))

    return Durable(cancel())
