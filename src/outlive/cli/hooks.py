"""``outlive hooks``: what runs wait for from outside; ``outlive resume``: a payload for a hook."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Annotated

import msgspec
from cyclopts import Parameter

from outlive._core.texts import LONGEST_KEY
from outlive.cli.exits import Complaint
from outlive.cli.opening import client, record_of
from outlive.cli.options import AsJson, Url, checked
from outlive.cli.output import from_now, iso, line, on_terminal, print_json, table
from outlive.errors import HookNotFound
from outlive.model.events import Payload
from outlive.model.ids import RunId
from outlive.model.records import HookRecord

_PAGE = 500


def hooks(
    *,
    run: str | None = None,
    limit: Annotated[int, Parameter(name=("--limit", "-n"))] = 50,
    tokens: bool = False,
    url: Url = None,
    json: AsJson = False,
) -> None:
    """List open hooks and webhooks, those of the newest runs first.

    In a pipe: run, ref, kind, since, payloads that wait, type, and with --tokens the token; between tabs.

    Parameters
    ----------
    run
        Only those of this run.
    limit
        At most so many.
    tokens
        Tell the tokens that were chosen by hand. They are secrets: whoever has one can send payloads. Of generated ones the store
        knows only the hash; `outlive show RUN --tokens` derives them.
    """
    if not 1 <= limit <= 100_000:
        raise Complaint("--limit is between 1 and 100,000")
    found = asyncio.run(_open(url, run, limit))
    if json:
        print_json([_readable(hook, tokens=tokens) for hook in found])
    elif not on_terminal():
        for hook in found:
            told = (hook.token or "-",) if tokens else ()
            line(hook.run, hook.ref, _kind(hook), iso(hook.created_at), hook.pending, hook.schema or "-", *told)
    elif not found:
        print("no open hooks")
    else:
        now = time.time()
        rows = (
            (
                hook.run,
                f"#{hook.ref}",
                _kind(hook),
                from_now(hook.created_at, now),
                str(hook.pending or ""),
                hook.token if tokens else "",
            )
            for hook in found
        )
        table(("run", "ref", "kind", "since", "waiting", "token" if tokens else ""), rows)


def _kind(hook: HookRecord) -> str:
    return "hook" if hook.webhook is None else "webhook"


def _readable(hook: HookRecord, *, tokens: bool) -> dict[str, object]:
    told: dict[str, object] = {
        "run": hook.run,
        "link": hook.link,
        "ref": hook.ref,
        "kind": _kind(hook),
        "created_at": iso(hook.created_at),
        "pending": hook.pending,
        "type": hook.schema,
    }
    return told | ({"token": hook.token} if tokens else {})


async def _open(url: str | None, run: str | None, limit: int) -> list[HookRecord]:
    async with client(url) as engine:
        if run is not None:
            await record_of(engine, run)
            return (await engine.store.hooks(RunId(run)))[:limit]
        found: list[HookRecord] = []
        before: tuple[RunId, int] | None = None
        while len(found) < limit:
            page = await engine.store.open_hooks(before=before, limit=min(_PAGE, limit - len(found)))
            if not page:
                break
            found += page
            before = page[-1].run, page[-1].ref
        return found


def resume(
    token: Annotated[str, Parameter(allow_leading_hyphen=True)],
    payload: Annotated[str, Parameter(name="JSON", allow_leading_hyphen=True)] = "null",
    /,
    *,
    key: str = "",
    url: Url = None,
) -> None:
    """Send a payload to the hook that holds a token.

    When this ends it is durable, and will be delivered.

    Parameters
    ----------
    token
        Of the hook; `outlive show RUN --tokens` tells it.
    payload
        What to send.
    key
        Idempotency key: a second delivery under it is answered like the first and not repeated.
    """
    try:
        msgspec.json.decode(payload.encode())
    except (msgspec.DecodeError, UnicodeError) as error:
        raise Complaint(
            f"the payload is not JSON ({error}); a text is written with its quotes: '\"{payload}\"'"
        ) from error
    checked(key, "an idempotency key", most=LONGEST_KEY)
    run = asyncio.run(_deliver(url, token, Payload.of("application/json", payload.encode()), key))
    print(f"run {run}: accepted; it is delivered when a worker has the run" if run else "accepted")


async def _deliver(url: str | None, token: str, payload: Payload, key: str) -> str:
    async with client(url) as engine:
        run = ""
        with contextlib.suppress(HookNotFound):  # it may be gone, and this a delivery that was accepted before
            run = (await engine.get_hook(token)).run_id
        await engine.deliver(token, None, payload, None, key)
        return run
