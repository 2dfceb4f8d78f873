"""Requests to webhooks: taken in for a run, and what it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from outlive._core.seeds import hash_token
from outlive._runtime.journal import Journal
from outlive._runtime.notices import Notices
from outlive.model import entries as en
from outlive.model.events import Payload
from outlive.model.ids import RunId, TokenHash
from outlive.model.webhooks import GONE, Answer, Reply, WebhookSettings, decode_answer, encode
from outlive.stores.protocol import Store

MOST_REQUESTS: Final = 1_000
"""Requests that may wait for one webhook."""
MOST_WEBHOOKS: Final = 4_096
"""Settings of webhooks kept in memory."""


class Requests:
    """What a server needs of an engine to serve its webhooks."""

    def __init__(self, store: Store, journal: Journal, notices: Notices, *, told: Callable[[en.Outcome], None]) -> None:
        """``told`` is called once a message is durable."""
        self._store = store
        self._journal = journal
        self._notices = notices
        self._told = told
        self._settings: dict[TokenHash, WebhookSettings] = {}
        """What is known of webhooks that were called: a token is given once, and its settings never change."""

    async def webhook(self, token: str) -> WebhookSettings | None:
        """What is known of the open webhook with ``token``; None if there is none, which may be because it has ended.

        A hook that is no webhook has no URL, whatever its token: it is not found here.
        """
        hashed = hash_token(token)
        settings = self._settings.get(hashed)
        if settings is None:
            record = await self._store.hook(hashed)
            settings = None if record is None else record.webhook
            if settings is not None:
                if len(self._settings) >= MOST_WEBHOOKS:
                    self._settings.pop(next(iter(self._settings)))
                self._settings[hashed] = settings
        return settings

    async def accept(self, token: str, payload: Payload, *, key: str, reply: Reply) -> en.Accepted | en.Refused:
        """Take in the request of a webhook: once this returns ``Accepted`` it is durable.

        Raises:
            StoreUnavailable: It was not taken in.
            InternalError: The store refuses it.
        """
        message = en.Message(
            kind="payload",
            token_hash=hash_token(token),
            payload=payload,
            key=key,
            reply=encode(reply) if key else "",
            limit=MOST_REQUESTS,
            webhook=True,
        )
        outcome = await self._journal.request(message, then=self._told)
        assert isinstance(outcome, en.Accepted | en.Refused), f"{outcome} is not the outcome of a message"
        return outcome

    async def answer(self, run: RunId, request: str) -> Answer | None:
        """What the run answers; None if it never will."""
        notices = self._notices
        while True:
            news = {request: notices.wait(request), run: notices.wait(run)}
            try:
                answer = await self._store.answer(request)
                if answer is not None:
                    return decode_answer(answer) if answer != GONE else None
                await asyncio.wait(news.values(), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for about, changed in news.items():
                    notices.leave(about, changed)
                    changed.cancel()
