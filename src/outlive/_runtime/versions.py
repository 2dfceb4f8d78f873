"""What a run records of the code that began it."""

from __future__ import annotations

import functools
import hashlib
import secrets
import sys
from typing import Final

from msgspec import Raw

from outlive._core.machine import NeverIdle
from outlive._core.signals import Discarded, Diverged, Undecodable
from outlive.model.entries import NewRun
from outlive.model.events import Parent
from outlive.model.ids import RunId
from outlive.model.steps import DEFAULT_QUEUE

ENGINE: Final = 1
"""Version of the engine's behaviour; a newer engine keeps the older ones of its major (R23)."""

PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"

PARKS: Final = (Diverged, Undecodable, NeverIdle, Discarded)
"""What stops a replay and parks the run."""


@functools.cache
def hash_seed() -> str:
    """Tells apart processes in which string sets iterate in another order (R22); gives nothing of the seed away."""
    return hashlib.blake2b(repr(hash("outlive")).encode(), digest_size=4).hexdigest()


def fingerprint(code: str) -> str:
    """Of the code, the engine and the Python that run here; begins with the Python and a dash."""
    mark = hashlib.blake2b(f"{ENGINE}/{PYTHON}/{hash_seed()}/{code}".encode(), digest_size=16).hexdigest()
    return f"{PYTHON}-{mark}"


def new_run(
    *,
    id: RunId,
    workflow: str,
    input: Raw,
    digest: str,
    tags: tuple[str, ...] = (),
    parent: Parent | None = None,
    root: RunId | None = None,
    claim: bool = False,
    queue: str = DEFAULT_QUEUE,
) -> NewRun:
    """A run to be created, with a fresh seed."""
    return NewRun(
        id=id,
        workflow=workflow,
        input=input,
        input_digest=digest,
        seed=secrets.token_hex(32),
        engine=ENGINE,
        python=PYTHON,
        hash_seed=hash_seed(),
        tags=tags,
        parent=parent,
        root=root,
        claim=claim,
        queue=queue,
    )
