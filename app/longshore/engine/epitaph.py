"""How the attempt of a process that is gone ended: from what was ordered, what it said last, and how the process went."""

import signal

from longshore.engine.process import Exit
from longshore.engine.reports import Done
from longshore.job.status import Outcome, Reason


def epitaph(
    stop: tuple[str, str, str] | None, done: Done | None, exit_: Exit, command: bool, out_of_memory: bool
) -> Done:
    """The end; ``stop`` is outcome, reason and message of who ordered it, ``out_of_memory`` of the whole container."""
    if stop is not None:
        outcome, reason, message = stop
        return Done(Outcome(outcome), reason, reason, message, done.traceback if done else "")
    if exit_.code == 0 and command:
        return Done(Outcome.SUCCEEDED, exit_code=0, result=b"null")
    if out_of_memory:
        text = "the kernel killed its process: the worker's container was out of memory"
        why = Reason.CONTAINER_OUT_OF_MEMORY
        return Done(Outcome.OOM, why, why, text, exit_code=exit_.code)
    if exit_.code == -signal.SIGKILL:
        text = "its process was killed by somebody else: the machine's kernel short of memory, or a person"
        return Done(Outcome.LOST, Reason.SLOT_KILLED, Reason.SLOT_KILLED, text, exit_code=exit_.code)
    if exit_.signal_name:
        text = f"its process was ended by {exit_.signal_name}"
        return Done(Outcome.FAILED, Reason.SIGNALLED, exit_.signal_name, text, exit_code=exit_.code)
    text = f"its process exited with status {exit_.code}"
    return Done(Outcome.FAILED, Reason.EXITED, Reason.EXITED, text, exit_code=exit_.code)
