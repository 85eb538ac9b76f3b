"""What a run needs from a person, and what to type for it."""

from dataclasses import dataclass

from tidegate.cli.watching import Watch
from tidegate.cli.wording import typed
from tidegate.engine.state import FORCED, Waiting

__all__ = ["Guidance", "guidance"]


@dataclass(frozen=True, slots=True)
class Guidance:
    """`commands`: what to type, and what that does."""

    label: str
    reason: str
    commands: tuple[tuple[str, str], ...] = ()


def guidance(watch: Watch, *, driven: bool) -> list[Guidance]:
    """`driven`: whether a process drives the run now."""
    state, folder, run = watch.state, watch.store.folder, watch.run
    resume = (typed(folder, "resume", run), "goes on")
    back = (typed(folder, "rollback", run), "goes back")
    match state.status:
        case "waiting":
            several = len(state.waits) > 1
            needs = [
                Guidance(
                    "evidence" if waiting.by_itself else "waits",
                    f"{gate}: {waiting.reason}",
                    (
                        (
                            typed(folder, "approve", run, *(["--gate", gate] if several else [])),
                            _meaning(gate, waiting),
                        ),
                    ),
                )
                for gate, waiting in state.waits.items()
            ]
        case "paused":
            force = (typed(folder, "rollback", run, "--force"), "goes back without Azure, once it is approved")
            needs = [Guidance("paused", state.reason, (resume, force if watch.writes_at_risk else back))]
        case "stopped" if state.final:
            return [Guidance("stopped", f"{state.reason}; {state.mend}")]
        case "stopped":
            return [Guidance("stopped", state.reason, (resume,) if state.decision else (resume, back))]
        case _:
            needs = []
    if not driven and state.ended is None:
        needs.append(Guidance("not driven", "no process drives this run now", (resume,)))
    return needs


def _meaning(gate: str, waiting: Waiting) -> str:
    if gate == FORCED:
        return "accepts the loss"
    return "goes on without more evidence" if waiting.by_itself else "approves"
