"""Rows of a database as records; the columns are the same in all of them, in this order."""

from __future__ import annotations

from typing import Final

import msgspec

from outlive.model.events import Parent
from outlive.model.ids import RunId, TokenHash, WorkerId
from outlive.model.records import HookRecord, RunRecord, RunStatus
from outlive.model.webhooks import decode_settings

_parents: Final = msgspec.json.Decoder(Parent)
_tags: Final = msgspec.json.Decoder(tuple[str, ...])


def hook_record(
    token_hash: TokenHash,
    run: RunId,
    link: int,
    ref: int,
    token: str,
    schema: str,
    created_at: float,
    pending: int,
    webhook: str,
) -> HookRecord:
    settings = decode_settings(webhook) if webhook else None
    return HookRecord(token_hash, run, link, ref, token, schema, created_at, pending, settings)


def run_record(
    id: RunId,
    link: int,
    workflow: str,
    status: str,
    seq: int,
    time: float,
    epoch: int,
    owner: WorkerId | None,
    wake_at: float | None,
    crashes: int,
    created_at: float,
    ended_at: float | None,
    root: RunId,
    parent: str | None,
    tags: str,
    input_digest: str,
    reason: str,
    fingerprint: str,
) -> RunRecord:
    return RunRecord(
        id=id,
        link=link,
        workflow=workflow,
        status=RunStatus(status),
        seq=seq,
        time=time,
        epoch=epoch,
        owner=owner,
        wake_at=wake_at,
        crashes=crashes,
        created_at=created_at,
        ended_at=ended_at,
        root=root,
        parent=None if parent is None else _parents.decode(parent),
        tags=_tags.decode(tags),
        input_digest=input_digest,
        reason=reason,
        fingerprint=fingerprint,
    )
