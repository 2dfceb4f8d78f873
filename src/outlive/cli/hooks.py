"""``outlive resume``: a payload for a hook."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Annotated

import msgspec
from cyclopts import Parameter

from outlive.cli.exits import Complaint
from outlive.cli.opening import client
from outlive.cli.options import Url
from outlive.errors import HookNotFound
from outlive.model.events import Payload


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
    run = asyncio.run(_deliver(url, token, Payload.of("application/json", payload.encode()), key))
    print(f"run {run}: accepted; it is delivered when a worker has the run" if run else "accepted")


async def _deliver(url: str | None, token: str, payload: Payload, key: str) -> str:
    async with client(url) as engine:
        run = ""
        with contextlib.suppress(HookNotFound):  # it may be gone, and this a delivery that was accepted before
            run = (await engine.get_hook(token)).run_id
        await engine.deliver(token, None, payload, None, key)
        return run
