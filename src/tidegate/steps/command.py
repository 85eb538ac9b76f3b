"""A program of the operator's own, with a check that tells whether its effect is there."""

import asyncio
from collections.abc import Sequence

from tidegate.errors import CheckFailed, Refused
from tidegate.runbook.step import Action, Context, Finding, NoFacts, Step

__all__ = ["Command"]

SHOWN = 400
"""Characters of a failed program's output that are repeated."""


class Command(Step[NoFacts]):
    """`argv`, `checked_by` and `take_back` are argument lists; no shell stands between."""

    uses: str = "command"
    argv: list[str]
    checked_by: list[str]
    take_back: list[str] | None = None
    timeout: float

    @property
    def facts_type(self) -> type[NoFacts]:
        return NoFacts

    async def read(self, context: Context) -> NoFacts:
        return NoFacts()

    def plan(self, facts: NoFacts) -> Sequence[Action]:
        undo = " ".join(self.take_back) if self.take_back else None
        return [Action(verb="run", target=self.argv[0], detail=" ".join(self.argv), undo=undo)]

    async def apply(self, context: Context, facts: NoFacts) -> None:
        await self._must(self.argv)

    async def check(self, context: Context, facts: NoFacts) -> Sequence[Finding]:
        code, output = await self._run(self.checked_by)
        verdict = {0: "pass", 1: "fail"}.get(code, "inconclusive")
        message = f"{' '.join(self.checked_by)} exits {code}" + (f": {output}" if output and code else "")
        return [Finding.model_validate({"check": self.name, "verdict": verdict, "message": message})]

    async def undo(self, context: Context, facts: NoFacts) -> None:
        if self.take_back:
            await self._must(self.take_back)

    async def _must(self, argv: list[str]) -> None:
        code, output = await self._run(argv)
        if code:
            raise CheckFailed(f"exits {code}: {output}", where=" ".join(argv))

    async def _run(self, argv: list[str]) -> tuple[int, str]:
        """Exit code and the end of what it printed. The program ends with the step."""
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
        except OSError as error:
            raise Refused(f"it can't be started: {error.strerror}", where=argv[0], mend="check the path") from None
        try:
            async with asyncio.timeout(self.timeout):
                output, _ = await process.communicate()
        except TimeoutError:
            raise CheckFailed(f"it ran for more than {self.timeout:g} s", where=" ".join(argv)) from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return process.returncode or 0, output.decode(errors="replace").strip()[-SHOWN:]
