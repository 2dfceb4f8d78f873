"""What the front door needs of a store: webhooks and their answers, streams, API keys."""

from __future__ import annotations

from msgspec import structs

from outlive.model import events as ev
from outlive.model.entries import Accepted, Answered, AnswerRequest, Fenced, Refused, Respond, Terminate, WriteStream
from outlive.model.events import Payload
from outlive.model.ids import RunId, TokenHash
from outlive.model.records import KeyRecord
from outlive.model.streams import Chunk, Piece, Reset, Voided, Written, decode_reset
from outlive.model.webhooks import GONE, Answer, RequestHead, WebhookSettings, decode_answer
from outlive.testing.conformance.ends import CONTINUED, next_link
from outlive.testing.conformance.world import W1, W2, World, WorldFixtures, completed, hook, step

R1 = RunId("r1")
YES = Answer(200, (("x-a", "b"),), b"yes")
NO = Answer(403, (), b"no")


def webhook(token: str = "t1", ref: int = 1) -> ev.HookCreated:  # noqa: S107 - opens nothing
    return ev.HookCreated(ref=ref, token_hash=TokenHash(token), webhook=WebhookSettings(base_url="https://example.com"))


def request(id: str, *, manual: bool = True) -> Payload:
    return Payload.of("text/plain", b"hello", RequestHead(id=id, method="POST", query="", headers=(), manual=manual))


def call(world: World, id: str, token: str = "t1", **fields: object) -> Accepted | Refused:  # noqa: S107
    """A request to a webhook."""
    return world.send_payload(token, request(id), webhook=True, **fields)


def values(*texts: str) -> tuple[Piece, ...]:
    return tuple(("value", text.encode()) for text in texts)


def read(world: World, stream: str = "s", start: int = 0, limit: int = 100, run: str = "r1") -> list[Chunk]:
    return world.do(world.store.chunks(RunId(run), stream, start=start, limit=limit))


def told(chunks: list[Chunk]) -> list[tuple[int, str, str]]:
    return [(chunk.index, chunk.kind, "" if chunk.kind == "reset" else chunk.data.decode()) for chunk in chunks]


class FrontConformance(WorldFixtures):
    # --- webhooks ---

    def test_only_a_webhook_takes_what_came_to_a_url(self, world: World) -> None:
        world.start("r1")
        world.append("r1", hook("named", 1, named=True), webhook("t1", 2))
        assert call(world, "q1", "named") == Refused("not_found")
        assert isinstance(call(world, "q2"), Accepted)

    def test_settings_and_requests_come_back_as_they_were(self, world: World) -> None:
        world.start("r1")
        world.append("r1", webhook())
        record = world.do(world.store.hook(TokenHash("t1")))
        assert record is not None and record.webhook == WebhookSettings(base_url="https://example.com")
        call(world, "q1")
        [recorded] = world.append("r1", take=True).events
        assert isinstance(recorded.event, ev.HookReceived) and recorded.event.payload == request("q1")

    def test_d2_what_has_ended_is_told_from_what_never_was(self, world: World) -> None:
        world.start("r1")
        world.append("r1", webhook("t1", 1), webhook("t2", 2), hook("t3", 3))
        world.append("r1", ev.HookDisposed(ref=1))
        assert call(world, "q1") == Refused("ended")
        assert isinstance(call(world, "q2", "t2"), Accepted)
        world.append("r1", completed())
        assert [world.do(world.store.ended_hook(TokenHash(token))) for token in ("t1", "t2", "t3", "t4")] == [
            True,
            True,
            False,
            False,
        ]
        assert [call(world, "q", token) for token in ("t2", "t3", "t4")] == [
            Refused("ended"),
            Refused("not_found"),
            Refused("not_found"),
        ]

    def test_it_ends_with_its_link_and_with_a_terminated_run(self, world: World) -> None:
        world.start("r1", "r2")
        world.append("r1", webhook("t1"))
        world.append("r2", webhook("t2"))
        world.append("r1", CONTINUED, **next_link())
        world.one(Terminate(run=RunId("r2"), reason=""))
        assert [call(world, "q", token) for token in ("t1", "t2")] == [
            Refused("ended"),
            Refused("ended"),
        ]

    def test_d8_a_key_gives_the_first_answer_again(self, world: World) -> None:
        world.start("r1")
        world.append("r1", webhook())
        first = call(world, "q1", key="k", reply="static")
        again = call(world, "q2", key="k", reply="other")
        assert isinstance(first, Accepted) and not first.repeated
        assert isinstance(again, Accepted) and (again.repeated, again.reply) == (True, "static")
        world.append("r1", completed(), take=True)
        late = call(world, "q3", key="k")
        assert isinstance(late, Accepted) and (late.repeated, late.reply) == (True, "static")

    def test_a_key_is_kept_for_a_day_and_not_for_ever(self, world: World) -> None:
        world.start("r1")
        world.append("r1", webhook())
        call(world, "q1", key="k")
        world.clock.advance(23 * 3_600)
        world.do(world.store.prune(ended_before=world.clock.now(), limit=10))
        assert call(world, "q2", key="k") == Accepted(run=R1, link=1, owner=W1, repeated=True)
        world.clock.advance(30 * 86_400)
        world.do(world.store.prune(ended_before=world.clock.now(), limit=10))
        assert call(world, "q3", key="k") == Accepted(run=R1, link=1, owner=W1)

    # --- answers ---

    def test_the_first_answer_is_the_answer(self, world: World) -> None:
        world.start("r1")
        world.append("r1", webhook())
        call(world, "q1")
        assert world.do(world.store.answer("q1")) is None
        committed = world.append("r1", Respond(2, "d", "q1", YES), take=True)
        assert committed.answered == ("q1",)
        assert world.one(AnswerRequest("q1", NO), worker=None) == Answered(first=False)
        assert world.one(AnswerRequest("q1", YES), worker=None) == Answered(first=True), "the same again is no other"
        kept = world.do(world.store.answer("q1"))
        assert kept is not None and decode_answer(kept) == YES

    def test_a_step_answers_from_outside_the_log(self, world: World) -> None:
        world.start("r1")
        world.append("r1", webhook())
        call(world, "q1")
        assert world.one(AnswerRequest("q1", NO), worker=None) == Answered(first=True)
        [recorded] = [r for r in world.append("r1", Respond(2, "d", "q1", YES)).events if r.event.ref == 2]
        assert isinstance(recorded.event, ev.CallCompleted) and bytes(recorded.event.result) == b"false"

    def test_who_waits_as_the_run_ends_waits_no_more(self, world: World) -> None:
        world.start("r1", "r2")
        world.append("r1", webhook("t1"))
        world.append("r2", webhook("t2"))
        call(world, "q1")
        call(world, "q2", "t2")
        committed = world.append("r1", completed(), take=True)
        world.one(Terminate(run=RunId("r2"), reason=""))
        assert "q1" in committed.answered
        assert [world.do(world.store.answer(id)) for id in ("q1", "q2")] == [GONE, GONE]
        assert world.one(AnswerRequest("q1", YES), worker=None) == Answered(first=False)

    # --- streams ---

    def test_chunks_are_numbered_by_stream_and_read_from_anywhere(self, world: World) -> None:
        world.start("r1")
        world.append("r1", streams=(Written("s", 1, values("a", "b")), Written("other", 2, values("x"))))
        world.append("r1", streams=(Written("s", 1, (("bytes", b"c"),)),))
        assert told(read(world)) == [(0, "value", "a"), (1, "value", "b"), (2, "bytes", "c")]
        assert told(read(world, start=1, limit=1)) == [(1, "value", "b")]
        assert told(read(world, "other")) == [(0, "value", "x")]
        assert read(world, "none") == [] and read(world, start=3) == []

    def test_d_a_fenced_commit_writes_no_chunk(self, world: World) -> None:
        world.start("r1")
        stale = world.entry("r1", streams=(Written("s", 1, values("a")),), epoch=9)
        assert world.one(stale) == Fenced()
        world.join(W2)
        assert world.one(world.entry("r1", streams=(Written("s", 1, values("a")),)), worker=W2) == Fenced()
        assert read(world) == []

    def test_what_an_attempt_wrote_is_void_and_said_to_be(self, world: World) -> None:
        world.start("r1")
        world.append("r1", streams=(Written("s", 1, values("a")), Written("s", 2, values("other step"))))
        world.append("r1", streams=(Voided(1), Written("s", 1, values("b"))))
        chunks = read(world)
        assert told(chunks) == [(1, "value", "other step"), (2, "reset", ""), (3, "value", "b")]
        assert decode_reset(chunks[1].data) == Reset(since=0, link=1, ref=1)

    def test_voiding_what_was_never_written_says_nothing(self, world: World) -> None:
        world.start("r1")
        world.append("r1", streams=(Voided(1), Written("s", 1, values("a"))))
        assert told(read(world)) == [(0, "value", "a")]

    def test_a_body_writes_with_an_event(self, world: World) -> None:
        world.start("r1")
        committed = world.append("r1", WriteStream(4, "d", "s", ("value", b"1")))
        assert committed.wrote
        assert [ev.kind_of(r.event) for r in committed.events] == ["call_completed"]
        assert [(chunk.ref, chunk.data) for chunk in read(world)] == [(4, b"1")]

    def test_streams_tell_of_themselves(self, world: World) -> None:
        world.start("r1")
        assert world.do(world.store.streams(R1)) == []
        assert world.do(world.store.stream(R1, "s")) is None
        begun = world.clock.now()
        world.append("r1", streams=(Written("s", 1, values("a", "b")), Written("b", 1, values("x"))))
        world.clock.advance(5)
        world.append("r1", streams=(Written("s", 1, (("close", b""),)),))
        first, second = world.do(world.store.streams(R1))
        assert (first.name, first.length, first.closed) == ("b", 1, False)
        assert (second.name, second.length, second.closed) == ("s", 3, True)
        assert (second.first_at, second.last_at) == (begun, begun + 5)
        assert world.do(world.store.stream(R1, "s")) == second

    def test_the_last_values_are_counted_without_what_is_void(self, world: World) -> None:
        world.start("r1")
        world.append("r1", streams=(Written("s", 1, values("a", "b")), Written("s", 2, values("c", "d", "e"))))
        world.append("r1", streams=(Voided(1),))
        tails = [world.do(world.store.stream_tail(R1, "s", count)) for count in (1, 2, 3)]
        assert [told(read(world, start=start))[0][2] for start in tails] == ["e", "d", "c"]
        assert told(read(world, start=world.do(world.store.stream_tail(R1, "s", 99))))[0][2] == "c"
        assert world.do(world.store.stream_tail(R1, "none", 3)) == 0

    def test_streams_go_on_with_the_chain(self, world: World) -> None:
        world.start("r1")
        world.append("r1", streams=(Written("s", 1, values("a")),))
        world.append("r1", CONTINUED, **next_link())
        world.append("r1", streams=(Voided(1), Written("s", 1, values("b"))))
        assert [(chunk.index, chunk.link, chunk.data) for chunk in read(world)] == [(0, 1, b"a"), (1, 2, b"b")]

    # --- open hooks of all runs ---

    def test_open_hooks_come_in_pages_newest_runs_first(self, world: World) -> None:
        world.start("r1", "r2", "r3")
        world.append("r1", hook("t1", 1))
        world.append("r2", hook("t2", 1), webhook("t3", 7))
        world.append("r3", hook("t4", 1))
        world.append("r3", completed())
        seen: list[tuple[str, int]] = []
        before = None
        while page := world.do(world.store.open_hooks(before=before, limit=2)):
            seen += [(record.run, record.ref) for record in page]
            before = page[-1].run, page[-1].ref
        assert seen == [("r2", 7), ("r2", 1), ("r1", 1)]

    # --- keys ---

    def test_s2_a_key_is_found_by_its_hash_until_it_is_revoked(self, world: World) -> None:
        ci = KeyRecord(id="1", hash="h1", name="ci", role="operator", created_at=1.0)
        board = KeyRecord(id="2", hash="h2", name="board", role="viewer", created_at=2.0, expires_at=9.0)
        for key in (ci, board):
            world.do(world.store.add_api_key(key))
        assert world.do(world.store.api_keys()) == [ci, board]
        assert [world.do(world.store.api_key(hashed)) for hashed in ("h1", "h2", "h3", "")] == [ci, board, None, None]
        world.do(world.store.use_api_key("2", now=5.0))
        assert world.do(world.store.api_key("h2")) == structs.replace(board, used_at=5.0)
        assert world.do(world.store.revoke_api_key("1"))
        assert not world.do(world.store.revoke_api_key("1"))
        assert world.do(world.store.api_key("h1")) is None
        assert [key.id for key in world.do(world.store.api_keys())] == ["2"]

    # --- pruning ---

    def test_all_of_a_run_is_pruned(self, world: World) -> None:
        world.start("r1", "r2")
        for run, token in (("r1", "t1"), ("r2", "t2")):
            world.append(run, webhook(token), step(2), streams=(Written("s", 2, values("a")),))
            call(world, f"q-{run}", token, key="k", reply="static")
        world.append("r1", completed(), take=True)
        world.clock.advance(100)
        assert world.do(world.store.prune(ended_before=world.clock.now(), limit=10)) == 1
        assert read(world) == [] and world.do(world.store.streams(R1)) == []
        assert world.do(world.store.ended_hook(TokenHash("t1"))) is False
        assert call(world, "q9", "t1", key="k") == Refused("not_found")
        assert told(read(world, run="r2")) == [(0, "value", "a")], "what others wrote stays"
        assert world.do(world.store.answer("q-r2")) is None
