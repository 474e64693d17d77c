# SPDX-License-Identifier: MIT
"""A Slurm of its own on loopback: a controller and node daemons, everything in one folder."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

NODES = ("n1", "n2", "n3", "n4")
GPUS = 4  # a node, of which there is no more than the count
NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol")

CONFIG = """
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=6
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SlurmdTimeout=10
SlurmdParameters=config_overrides
KillWait=5
MinJobAge=600
MaxArraySize=200
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=1,sched_interval=5,bf_interval=5,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
{nodes}
PartitionName=main Nodes=n[1-2] Default=YES MaxTime=60 State=UP PriorityTier=1 GraceTime=5
PartitionName=urgent Nodes=n[1-2] MaxTime=60 State=UP PriorityTier=9
PartitionName=gpu Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=1
"""


def missing() -> str:
    """Why no Slurm can be started here; nothing where it can."""
    found = [name for name in NEEDED if shutil.which(name, path=_path()) is None]
    if found:
        return f"not installed: {', '.join(found)} (Debian: slurm-wlm, munge)"
    return "" if os.geteuid() == 0 else "daemons of Slurm are started as root"


class Cluster:
    """Started when made; `stop` ends every process of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("state", *(f"spool-{node}" for node in NODES)):
            (folder / name).mkdir(parents=True)
        folder.chmod(0o755)
        self._write()
        self.environment = {**os.environ, "PATH": _path(), "SLURM_CONF": str(folder / "slurm.conf")}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        try:
            self._munge()
            self._start("slurmctld", "-D")
            for node in NODES:
                self.start_node(node)
            self.until(self.idle, 60)
        except BaseException:
            self.stop()
            raise

    def call(self, *command: str) -> str:
        """What one of Slurm's commands prints."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False, timeout=60
        )
        return done.stdout + done.stderr

    def until(self, condition: Callable[[], object], seconds: float) -> None:
        """Waits for something to become true."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"{self.call('squeue')}\n{self.call('sinfo')}\n{self.logs()}")
            time.sleep(0.2)

    def idle(self) -> bool:
        """Whether every node waits for work."""
        states = self.call("sinfo", "-N", "-h", "-p", "gpu", "-o", "%T").split()
        return states == ["idle"] * len(NODES)

    def start_node(self, node: str) -> None:
        self._start("slurmd", "-D", "-N", node, name=node)

    def lose_node(self, node: str) -> None:
        """As by a power failure: its daemon, and all that runs on it."""
        daemon = self._daemons.pop(node)
        family = {daemon.pid}
        for proc in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if f"SLURMD_NODENAME={node}".encode() in (proc / "environ").read_bytes():
                    parent = int((proc / "stat").read_text().rpartition(")")[2].split()[1])
                    keeper = Path(f"/proc/{parent}/comm").read_text().startswith("slurmstepd")
                    family |= {int(proc.name), parent} if keeper else {int(proc.name)}
        for number in (signal.SIGSTOP, signal.SIGKILL):  # at once, so that none tells of another
            for pid in family:
                with suppress(OSError):
                    os.kill(pid, number)
        daemon.wait()

    def logs(self) -> str:
        """The ends of all logs."""
        files = sorted(self.folder.glob("*.log"))
        return "\n".join(f"== {file.name}\n{file.read_text()[-2000:]}" for file in files)

    def stop(self) -> None:
        with suppress(Exception):
            self.call("scancel", "--signal=KILL", "--full", "--user=root")
        for daemon in reversed(self._daemons.values()):
            daemon.terminate()
        for daemon in self._daemons.values():
            with suppress(subprocess.TimeoutExpired):
                daemon.wait(10)
            daemon.kill()

    def _write(self) -> None:
        host = socket.gethostname().partition(".")[0]
        cpus = 8  # more than there may be: what waits for a core makes no test
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={_free_port()} "
            f"CPUs={cpus} RealMemory=4000 Gres=gpu:a100:{GPUS} State=UNKNOWN"
            for node in NODES
        )
        text = CONFIG.format(folder=self.folder, host=host, controller=_free_port(), nodes=nodes)
        (self.folder / "slurm.conf").write_text(text)
        devices = [self.folder / f"gpu{number}" for number in range(GPUS)]
        for device in devices:
            os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))  # as /dev/null
        files = f"{self.folder}/gpu[0-{GPUS - 1}]"
        text = "".join(f"NodeName={n} Name=gpu Type=a100 File={files}\n" for n in NODES)
        (self.folder / "gres.conf").write_text(text)

    def _munge(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        place = self.folder
        self._start(
            *("munged", "--foreground", "--force", f"--socket={place}/munge.socket"),
            *(f"--key-file={key}", f"--pid-file={place}/munge.pid", "--num-threads=2"),
            *(f"--log-file={place}/munge.log", f"--seed-file={place}/munge.seed"),
        )
        self.until((place / "munge.socket").exists, 20)

    def _start(self, *command: str, name: str | None = None) -> None:
        log = (self.folder / f"{name or command[0]}.out.log").open("ab")
        environment = getattr(self, "environment", None)
        self._daemons[name or command[0]] = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, start_new_session=True
        )


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
