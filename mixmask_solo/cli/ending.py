# SPDX-License-Identifier: MIT
"""What a command lets be heard, and how it ends when it does not end well: one line, the right
status, nothing lost."""

import logging
import os
import select
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from mixmask_solo.cli.collecting import uncollected
from mixmask_solo.cli.compose import resume_command
from mixmask_solo.cli.faults import Terminated, explain
from mixmask_solo.cli.ranks import dismiss, orphaned, rank, watch
from mixmask_solo.jobs.variables import AGAIN

_HARMLESS = (
    r".*does not have many workers.*",  # decided by data.num_workers
    r"This DataLoader will create \d+ worker processes.*",  # so is this
    r"The number of training batches .* is smaller than the logging interval.*",
    r"Found \d+ module\(s\) in eval mode.*",  # frozen and momentum networks, on purpose
    r".*Experiment logs directory .* exists.*",  # a resumed run goes on in its own folder
    r"The `srun` command is available on your system but is not used.*",  # on a login node
    r".*isinstance\(treespec, LeafSpec\).*",
)


class Failure(SystemExit):
    """The end of a command that said why; ``directory`` is the run's folder, where it is known."""

    def __init__(self, line: str, status: int, directory: str = "") -> None:
        super().__init__(status)
        self.line = line
        self.directory = directory


def complain(command: str, message: str) -> str:
    """Prints one line on stderr, with the rank where that is not zero; returns the message."""
    line = " ".join(part.strip() for part in message.strip().split("\n"))
    who = f"{command} (rank {rank()})" if rank() else command
    print(f"{who}: {line}", file=sys.stderr, flush=True)
    return line


def fail(command: str, message: str, code: int = 2) -> NoReturn:
    """Prints one line on stderr and exits."""
    raise Failure(complain(command, message), code)


@contextmanager
def one_line(
    command: str, folder: str | Path | None = None, *, training: bool = False
) -> Iterator[None]:
    """Ends a command that writes to ``folder`` with one line for what user or machine caused.

    Without a word where nobody reads what it prints any more, as behind ``| head``.

    Args:
        training: whether SIGTERM is left to the run, which saves, and before that to the system,
            by whose status the other processes of a training know what became of this one.
    """
    try:
        with nullcontext() if training else _cleaned_up():
            yield
        sys.stdout.flush()
    except SystemExit as stop:
        cause = stop.__context__
        if isinstance(cause, KeyboardInterrupt) and not isinstance(stop, Failure):
            fail(command, "interrupted (SIGINT)", 130)  # the trainer makes status 1 of it
        raise
    except BaseException as error:
        if isinstance(error, BrokenPipeError) and _unread():
            # what is still buffered goes nowhere, or Python complains of it at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(128 + signal.SIGPIPE) from None
        fault = explain(error, folder)
        if fault is None:
            raise
        if fault.shared and rank() > 0 and not orphaned():
            raise Failure(fault.line, fault.status) from None
        fail(command, fault.line, fault.status)


@contextmanager
def _cleaned_up() -> Iterator[None]:
    """Whatever was begun is taken away at SIGTERM, too; a second one ends the process at once."""

    def end(number: int, frame: FrameType | None) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Terminated

    ours = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if not ours or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _unread() -> bool:
    """Whether standard output is a pipe that its reader has closed."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except (OSError, ValueError):
        return False


@contextmanager
def loading(command: str) -> Iterator[None]:
    """While libraries are imported a signal ends the process at once; then messages are set up.

    Libraries catch what interrupts them and go on half loaded, to fail or crash elsewhere.
    """

    def end(number: int, frame: FrameType | None) -> None:
        try:
            complain(command, f"interrupted ({signal.Signals(number).name})")
        finally:
            os._exit(128 + number)

    # SIGTERM only where it was taken in a command's beginning, see one_line
    mine = callable(signal.getsignal(signal.SIGTERM))
    numbers = [signal.SIGINT, signal.SIGTERM] if mine else [signal.SIGINT]
    before = {n: signal.getsignal(n) for n in numbers}
    before = {n: handler for n, handler in before.items() if handler is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, end)
    try:
        with uncollected():
            yield
            quiet()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Stderr(logging.StreamHandler[Any]):
    """Shows each of our messages once: not where the root logger shows it, or each rank has it."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)
        self.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))

    @property
    def stream(self) -> Any:
        """Looked up each time: a progress bar stands in for stderr while it is shown."""
        return sys.stderr

    def filter(self, record: logging.LogRecord) -> bool:
        if rank() > 0 and record.levelno < logging.ERROR:
            return False
        consoles, handlers = (sys.stdout, sys.stderr), logging.getLogger().handlers
        shown = any(getattr(handler, "stream", None) in consoles for handler in handlers)
        return not shown


def quiet() -> None:
    """Sets up logging for a command, after Hydra has (the recipes tell it to disable all)."""
    import lightning.fabric  # sets its loggers' levels when imported, so it has to come first
    import lightning.pytorch  # noqa: F401

    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in _HARMLESS:
        warnings.filterwarnings("ignore", message=message)
    ours = logging.getLogger("mixmask_solo")
    ours.setLevel(logging.INFO)
    for name, logger in logging.Logger.manager.loggerDict.items():
        if name.startswith(ours.name) and isinstance(logger, logging.Logger):
            logger.disabled = False
    if not any(isinstance(handler, _Stderr) for handler in ours.handlers):
        ours.addHandler(_Stderr())


def supervise(
    command: str,
    run: Callable[[], dict[str, Any]],
    *,
    again: str = "",
    folder: str | Path | None = None,
) -> dict[str, Any]:
    """The result of a training that writes to ``folder``.

    ``again`` says how to resume; by default a command to paste.

    Raises Failure, its line printed, with status 128 + signal where the run was interrupted, 2 for
    what the user has to change, 1 for what else can happen without a bug.
    """
    from mixmask_solo.runs.interrupt import Interrupted
    from mixmask_solo.runs.readback import NonFiniteLoss

    watch(lambda what: _die(command, what))
    before, threading.excepthook = threading.excepthook, _in_thread
    try:
        with one_line(command, folder, training=True):
            try:
                return run()
            except NonFiniteLoss as error:
                fail(command, str(error), 1)
            except Interrupted as stop:
                raise _interrupted(command, stop, again) from None
    except BaseException:
        dismiss()
        raise
    finally:
        threading.excepthook = before


def _interrupted(command: str, stop: Any, again: str) -> Failure:
    number = signal.Signals(stop.signum)
    reason = "there is no checkpoint yet" if stop.saving else "checkpoint.enabled is false"
    saved, how, folder = f"nothing was saved: {reason}", "", ""
    if stop.checkpoint is not None:
        saved, folder = f"saved {stop.checkpoint}", str(Path(stop.checkpoint).parent)
        if not stop.saved:
            saved = f"stopped at once, the newest checkpoint is {stop.checkpoint}"
        again = again or os.environ.get(AGAIN, "")
        how = again or resume_command(command, sys.argv[1:], stop.checkpoint)
    if rank() == 0:  # all ranks stop together
        complain(command, f"interrupted ({number.name}); {saved}{how and f'; to resume: {how}'}")
    return Failure(saved, 128 + number, folder)


def _die(command: str, what: str) -> None:
    complain(command, f"the training processes lost each other: {what}")
    os._exit(1)  # the main thread waits for them, and cannot be woken


def _in_thread(args: threading.ExceptHookArgs) -> None:
    writer = type(args.thread).__module__.startswith("tensorboard.")
    if not (writer and isinstance(args.exc_value, OSError)):  # that comes again in the main thread
        threading.__excepthook__(args)
