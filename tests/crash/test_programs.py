"""Each program crashes before and after each of its commits, and comes to the same end."""

from __future__ import annotations

import pytest

from outlive.testing.crashpoints import StoreKind, crash_everywhere, patient_options
from tests.servers.schemas import empty_postgres

from .programs import PROGRAMS, Program


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_it_survives_a_crash_at_every_commit(program: Program, kind: StoreKind) -> None:
    crash_everywhere(program.scene, store=kind, also=program.also, same_log=program.same_log, twice=program.twice)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_it_survives_though_it_is_evicted_at_every_await(program: Program) -> None:
    options = patient_options(replay_always=True, linger=0.0)
    crash_everywhere(program.scene, also=program.also, same_log=program.same_log, options=options)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_it_survives_a_crash_at_every_commit_on_postgres(program: Program, postgres_url: str) -> None:
    crash_everywhere(
        program.scene, store=empty_postgres(postgres_url), also=program.also, same_log=program.same_log, twice=5
    )
