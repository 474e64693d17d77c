# SPDX-License-Identifier: MIT
"""What each process of a job does: starts the command, hands signals on, tells how it ended."""

import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixmask_solo.config.files import read_json, write_json
from mixmask_solo.jobs.process import Outcome, Process, Relay
from mixmask_solo.jobs.records import beat_file, state_file
from mixmask_solo.jobs.variables import BEAT, RUN

_LOST = "the training processes lost each other"
_STALE = 15.0  # seconds after which a process that has not told of itself no longer runs


@dataclass
class Task:
    """One process of a job; made where the job is submitted, called where it runs.

    Attributes:
        command: the program to run, without the interpreter.
        folder: of the submission; all nodes see it.
        key: the job's in its submission.
        run: ends the name of the folder of a run that the command trains.
        foreign: the program does not know our signals.
        resumes: it goes on where it was when it is started again.
        after: the key of the job whose run ``{run}`` and ``{checkpoint}`` in the command mean.
    """

    command: list[str]
    folder: str
    key: str
    run: str
    max_requeues: int = 0
    requeue_lost: bool = False
    foreign: bool = False
    resumes: bool = True
    after: str | None = None

    def __call__(self) -> None:
        """Runs to the end; raises SystemExit with the command's status."""
        import submitit

        signal.signal(signal.SIGCONT, signal.SIG_DFL)  # submitit would tell of each
        place = submitit.JobEnvironment()
        rank, ranks = place.global_rank, place.num_tasks
        began = self._began(place.job_id) if rank == 0 else {}
        code, told, stopped = self._run(place)
        status, why = self._ended(code, told, stopped, rank, ranks)
        step = self._step() or began.get("step")
        if status == "requeued" and (reason := self._against(began, step)):
            status = "failed" if code < 0 else "interrupted"
            why += f"; not started again: {reason}"
        lost = not stopped and code != 128 + signal.SIGUSR1
        if status == "requeued" and (rank == 0 or lost):  # else rank zero decides for all
            Path(self.folder, f"requeue-{place.job_id}").touch()
        end = {"status": status, "code": code, "outcome": why, "step": step}
        self._tell_end(rank, began, end, told, stopped)
        print(f"mixmask-submit: job {place.job_id}: {status}: {why}", file=sys.stderr, flush=True)
        raise SystemExit(128 - code if code < 0 else code)

    def _against(self, began: dict[str, Any], step: int | None) -> str:
        """Why a job that could be started again is not."""
        if not self.resumes:
            return "it would begin anew; give it auto_resume.enabled=true"
        if _restarts() >= self.max_requeues:
            return f"max_requeues is {self.max_requeues}"
        known = began and not self.foreign  # others do not tell of their steps
        if _restarts() and known and began.get("step") == step:
            return "it made no step since it last was; give it more time"
        return ""

    def _step(self) -> int | None:
        step: int | None = read_json(beat_file(Path(self.folder), self.key, 0)).get("step")
        return step

    def _run(self, place: Any) -> tuple[int, Outcome, int]:
        """Exit status, what the command told, and the signal it was sent, or 0."""
        environment = {**os.environ, RUN: self.run}
        environment[BEAT] = str(beat_file(Path(self.folder), self.key, "{rank}"))
        if "SLURM_CPUS_PER_TASK" in os.environ:  # libraries would count those of the whole node
            environment.setdefault("OMP_NUM_THREADS", os.environ["SLURM_CPUS_PER_TASK"])
        if place.num_tasks > 1 and "MASTER_ADDR" not in os.environ:
            environment["MASTER_ADDR"] = _address(place)
        # A program of others may act on USR1 by itself: Lightning starts the job again, and goes
        # on from a file that all jobs of a folder share.
        stop = signal.SIGTERM if self.foreign else signal.SIGUSR1
        relayed = {
            signal.SIGINT: signal.SIGINT,
            signal.SIGTERM: signal.SIGTERM,
            signal.SIGUSR1: stop,
            signal.SIGUSR2: stop,
        }
        with Relay(relayed) as relay:
            code, told = relay.wait(Process([sys.executable, *self._command()], environment))
        return code, told, relay.received

    def _command(self) -> list[str]:
        """With the run of the job before this one in the place of its names."""
        if self.after is None:
            return self.command
        run = str(read_json(state_file(Path(self.folder), self.after)).get("directory", ""))
        return [_with_run(word, run, quoted=self._trains()) for word in self.command]

    def _ended(
        self, code: int, told: Outcome, stopped: int, rank: int, ranks: int
    ) -> tuple[str, str]:
        """``completed``, ``refused``, ``failed``, ``interrupted``, or ``requeued``; and why."""
        limit = (signal.SIGUSR1, signal.SIGUSR2)
        if code == 0:
            return "completed", told.text
        saved = code == 128 + signal.SIGUSR1 and told.directory
        unready = code == -signal.SIGUSR1 and self._trains()  # while it loaded libraries
        if saved or unready or (self.foreign and stopped in limit):
            return "requeued", told.text or "stopped before the time limit"
        if code == 2:
            return "refused", told.text
        if stopped:
            return "interrupted", told.text or f"stopped by {signal.Signals(stopped).name}"
        if code < 0 or _LOST in told.text:
            why = self._lost(code, told, rank) if ranks > 1 or code < 0 else told.text
            return ("requeued" if self.requeue_lost else "failed"), why
        return "failed", told.text

    def _trains(self) -> bool:
        kinds = ("pretrain", "linear", "finetune", "detect")
        return self.command[:2] in (["-m", f"mixmask_solo.cli.{kind}"] for kind in kinds)

    def _lost(self, code: int, told: Outcome, rank: int) -> str:
        """Which process is missing, where, and how far it was."""
        mine = read_json(beat_file(Path(self.folder), self.key, rank))
        if code < 0:
            name = signal.Signals(-code).name if -code in signal.valid_signals() else str(-code)
            hint = " (out of memory?)" if name == "SIGKILL" else ""
            return f"{_where(mine, rank)} was killed by {name}{hint}"
        files = Path(self.folder).glob(f"beat-{self.key}-*.json")
        beats = [beat for beat in map(read_json, files) if beat]
        silent = [beat for beat in beats if time.time() - beat["time"] > _STALE]
        slow = [beat for beat in beats if beat["progress"] < mine.get("progress", 0)]
        behind = silent or slow
        if not behind:
            return f"{_where(mine, rank)}: {told.text}"
        last = min(behind, key=lambda beat: (beat["progress"], beat["rank"]))
        return f"{_where(last, last['rank'])} did not answer; {told.text}"

    def _began(self, job: str) -> dict[str, Any]:
        folder = Path(self.folder)
        for left in (folder / f"requeue-{job}", *folder.glob(f"beat-{self.key}-*.json")):
            left.unlink(missing_ok=True)  # of an earlier attempt
        kept = {k: v for k, v in self._state().items() if k in ("directory", "step")}
        began = {"job": job, "host": socket.gethostname(), "began": time.time(), **kept}
        began["restarts"] = _restarts()
        self._tell({"status": "running", **began})
        return began

    def _tell_end(
        self, rank: int, began: dict[str, Any], end: dict[str, Any], told: Outcome, stopped: int
    ) -> None:
        """Rank zero speaks for all, but for one that the others ended because of."""
        end = {**end, "rank": rank, "ended": time.time()}
        if told.directory:
            end["directory"] = told.directory
        if rank == 0:
            cause = self._state()
            if not (cause.get("rank") and end["code"]):
                self._tell({**began, **end})
        elif end["status"] in ("failed", "refused") or (end["code"] < 0 and not stopped):
            self._tell({**self._state(), **end})

    def _state(self) -> dict[str, Any]:
        return read_json(state_file(Path(self.folder), self.key))

    def _tell(self, content: dict[str, Any]) -> None:
        write_json(state_file(Path(self.folder), self.key), content)


_BEFORE = "/run-of-the-job-before"


def as_path(word: str) -> str:
    """``{run}`` and ``{checkpoint}`` as paths, which configurations can be composed with."""
    return word.replace("{checkpoint}", f"{_BEFORE}/last.ckpt").replace("{run}", _BEFORE)


def _with_run(word: str, run: str, *, quoted: bool) -> str:
    """The run's folder in the place of its names; ``quoted`` as the value of an override."""
    made = as_path(word).replace(_BEFORE, run)
    key, equals, value = made.partition("=")
    if made == word or not quoted or not equals or word.startswith("-"):
        return made
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{key}="{escaped}"'


def _restarts() -> int:
    """How often Slurm has started this job again."""
    return int(os.environ.get("SLURM_RESTART_COUNT", 0))


def _address(place: Any) -> str:
    """Of the first node, for the processes to meet: by its name, or where Slurm reaches it."""
    if place.num_nodes == 1:
        return "127.0.0.1"
    name = str(place.hostnames[0])
    try:
        socket.getaddrinfo(name, None)
    except OSError:
        return os.environ.get("SLURM_LAUNCH_NODE_IPADDR", name)
    return name


def _where(beat: dict[str, Any], rank: int) -> str:
    host = beat.get("host", socket.gethostname())
    step = f" after step {beat['step']}" if beat else " before its first step"
    return f"rank {rank} on {host}{step}"
