"""``outlive demo birthday``: a card whose guests answer by opening a link, over real HTTP."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from outlive.cli import exits
from outlive.cli.demo.story import LOOK, PATIENCE, Story, end, must_live
from outlive.cli.serving import STARTUP_TOKEN, needs_server
from outlive.engine import Engine
from outlive.model import events as ev
from outlive.model.ids import RunId
from outlive.views import view

if TYPE_CHECKING:
    import httpx2

GUESTS: Final = ("Ben", "Cleo", "Dora", "Eve")
WISHES: Final = {"Ben": "Many happy returns!", "Cleo": "So sorry to miss it", "Dora": "I bring the cake"}
"""Eve never answers."""
PROGRAM: Final = "outlive.cli.demo.birthday_program"


class Birthday(Story):
    """Its server is killed at the moment when an answer was acknowledged, and with another still to come."""

    run: ClassVar[RunId] = RunId("card-for-ada")
    steps: ClassVar[tuple[str, ...]] = (
        "write_verse",
        "draw_card",
        *(f"invite {guest}" for guest in GUESTS),
        *(f"note {guest}" for guest in WISHES),
        "send_card",
    )

    async def play(self) -> int:
        needs_server()
        import httpx2

        from outlive.http.serving import listen

        with listen("127.0.0.1", 0) as free:
            port = free.getsockname()[1]
        self.say("A birthday card is written and drawn, and four guests are invited, each by a link of their own.")
        self.say("In thirty days it goes out with the wishes that have come in. Each step writes lines into a ledger.")
        async with (
            Engine(self.url, worker=False) as engine,
            httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=PATIENCE) as client,
        ):
            return await _Party(self, engine, client, port).play()

    def called(self, event: ev.StepCompleted) -> str:
        match super().called(event), view(event.result):
            case "invite", {"guest": str() as guest}:
                return f"invite {guest}"
            case "note_answer", str() as noted:
                return f"note {noted.partition(':')[0]}"
            case name, _:
                return name


class _Party:
    """One telling."""

    def __init__(self, story: Birthday, engine: Engine, client: httpx2.AsyncClient, port: int) -> None:
        self._story = story
        self._engine = engine
        self._client = client
        self._port = port
        self._token = secrets.token_urlsafe(32)

    async def play(self) -> int:
        story = self._story
        story.head("1", "A server; a client starts the card over HTTP")
        first = await self._serve()
        try:
            recorded, links = await self._first_life(first)
        finally:
            await end(first)
        story.head("2", "The same command again, in a new process at the same address")
        second = await self._serve()
        try:
            await self._second_life(second, recorded, links)
        finally:
            await end(second)
        return story.verdict(first.pid, second.pid, recorded)

    async def _first_life(self, server: asyncio.subprocess.Process) -> tuple[set[str], dict[str, str]]:
        story = self._story
        await self._start()
        made = {"write_verse", "draw_card", *(f"invite {guest}" for guest in GUESTS)}
        await story.recorded(self._engine, server, at_least=made)
        links = await self._links()
        await self._opens("Ben", links, "opens the link")
        recorded = await story.recorded(self._engine, server, at_least={*made, "note Ben"})
        await self._opens("Cleo", links, "opens hers, is thanked, and the power goes")
        await story.kill(server)
        story.say(f"    In the log: {story.names(recorded)}.")
        story.say("    Cleo was thanked, so her wish is kept as well.")
        return recorded, links

    async def _second_life(self, server: asyncio.subprocess.Process, recorded: set[str], links: dict[str, str]) -> None:
        story = self._story
        await story.until(server, lambda: "note Cleo" in story.done())
        story.say(f"    {story.names(recorded)} did not run again: their results came from the log.")
        await self._opens("Dora", links, "opens the link that the first process gave her, and once more by mistake")
        await self._opens("Dora", links, "")
        await story.recorded(self._engine, server, at_least={f"note {guest}" for guest in WISHES})

        story.head("3", "Thirty days later; Eve never answered")
        story.say("    " + story.paint(f"outlive wake {story.run}", "bold"))
        card = self._engine.get_run(story.run)
        await card.wake_up()
        sent = cast("str", await card.result(timeout=PATIENCE))
        story.tell()
        for line in sent.splitlines():
            story.say(f"    | {line}")

    async def _serve(self) -> asyncio.subprocess.Process:
        command = ("serve", PROGRAM, "--port", str(self._port))
        self._story.say(f"    outlive {' '.join(command)}")
        server = await self._story.spawn(*command, quiet=True, **{STARTUP_TOKEN: self._token})
        try:
            await self._answering(server)
        except BaseException:
            await end(server)
            raise
        return server

    async def _answering(self, server: asyncio.subprocess.Process) -> None:
        import httpx2

        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    if (await self._client.get("/healthz")).status_code == 200:
                        return
                except httpx2.TransportError:
                    must_live(server)
                await asyncio.sleep(LOOK)

    async def _start(self) -> None:
        order: dict[str, Any] = {
            "workflow": f"{PROGRAM}:birthday_card",
            "args": ["Ada", list(GUESTS)],
            "run_id": self._story.run,
        }
        headers = {"authorization": f"Bearer {self._token}"}
        answer = await self._client.post("/api/v1/runs", json=order, headers=headers)
        self._expect(answer, 201)
        self._story.say(f"    POST /api/v1/runs: {answer.status_code}")

    async def _links(self) -> dict[str, str]:
        """As the guests find them in their letters."""
        log = await self._engine.store.log(self._story.run, 1)
        results = [view(r.event.result, tokens=True) for r in log if isinstance(r.event, ev.StepCompleted)]
        letters = [cast("dict[str, str]", result) for result in results if isinstance(result, dict)]
        return {letter["guest"]: letter["link"] for letter in letters}

    async def _opens(self, guest: str, links: dict[str, str], how: str) -> None:
        answer = await self._client.get(links[guest], params={"wish": WISHES[guest]})
        self._expect(answer, 200)
        if how:
            self._story.say(f"    {guest} {how}: GET .../webhook/<token>?wish=...: {answer.status_code}")

    def _expect(self, answer: httpx2.Response, status: int) -> None:
        if answer.status_code != status:
            raise exits.Complaint(f"the server answered {answer.status_code}: {answer.text}", exits.FAILED)
