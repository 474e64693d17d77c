# SPDX-License-Identifier: MIT
"""Kills a run over and over and damages its checkpoints: nothing may come out differently.

    python benchmarks/soak.py --out benchmarks/results/soak-cpu.json

One pretraining run on digits goes through undisturbed. A second one of the same configuration is
sent signals at random moments, a part of the SIGKILLs while a checkpoint is being written, and is
started again with ``auto_resume`` until it is done. Its weights, ``metrics.csv`` and what
``result.json`` tells of the training have to equal the first one's, every ending has to be the
right one, and neither may leave a stray file. Then single bits of a checkpoint are flipped and its
end cut off: every such file has to be refused. Exit status 1 where anything differs.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from conditions import conditions, save

from mixmask_solo.config import ConfigError
from mixmask_solo.config.files import read_json
from mixmask_solo.records.checkpoints import LAST, read_checkpoint
from mixmask_solo.records.registry.record import METRICS, RESULT

RECIPES = Path(__file__).parents[1] / "scripts" / "pretrain" / "digits"
POLITE = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
PATIENCE = 240.0  # seconds that a start, or an ending, may take
# What has to be the same; time, place and pieces cannot be.
SAME = ("status", "metrics", "metrics_epoch", "earlier_metrics", "epochs", "steps", "data", "seed")


def command(folder: Path, epochs: int) -> list[str]:
    """A run of short epochs with workers, k-NN and mixtures that draw."""
    return [
        *(sys.executable, "-m", "mixmask_solo.cli.pretrain"),
        *("--config-path", str(RECIPES), "--config-name", "simclr_mixmask"),
        *("auto_resume.enabled=true", f"checkpoint.dir={folder}", f"max_epochs={epochs}"),
        *("accelerator=cpu", "optimizer.batch_size=32", "limit_train_batches=8"),
        *("limit_val_batches=2", "data.num_workers=1", "++log_every_n_steps=1"),
        *("checkpoint.frequency=3", "++method_kwargs.mixmask.per_sample=true"),
        *("method_kwargs.proj_hidden_dim=64", "++method_kwargs.mixmask.partner=random"),
    ]


def the_run(folder: Path) -> Path | None:
    """The one run's folder, once there is one."""
    found = [p.parent for p in folder.glob(f"*/*/{RESULT}")]
    if len(found) > 1:
        raise SystemExit(f"soak: {len(found)} runs in {folder}, not 1: {found}")
    return found[0] if found else None


def started(process: subprocess.Popen[str], folder: Path) -> Path:
    """Waits until this process trains."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        run = the_run(folder)
        record = read_json(run / RESULT) if run else {}
        if run and (record.get("process") or {}).get("pid") == process.pid:
            return run
        time.sleep(0.02)
    _, err = process.communicate(timeout=PATIENCE)
    raise SystemExit(f"soak: the run did not start (status {process.returncode}):\n{err}")


def disturb(
    number: signal.Signals, while_writing: bool, wait: float, epochs: int, folder: Path
) -> dict[str, Any]:
    """Starts the run, sends it a signal, and tells how it ended."""
    process = subprocess.Popen(
        command(folder, epochs), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    run = started(process, folder)
    time.sleep(wait)
    seen = False
    deadline = time.monotonic() + 30.0
    while while_writing and not seen and time.monotonic() < deadline and process.poll() is None:
        seen = any(run.glob(f".{LAST}.*.tmp"))
    over = process.poll() is not None
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE)
    status = read_json(run / RESULT).get("status")
    expected = (-9, "running") if number == signal.SIGKILL else (128 + number, "interrupted")
    problems = []
    if over:
        problems.append(f"the run was over before the signal (status {process.returncode})")
    elif (process.returncode, status) != expected:
        problems.append(f"ended with {process.returncode}, {status}; expected {expected}")
    if "Traceback" in err and number != signal.SIGKILL:  # workers may miss who was killed
        problems.append(f"a traceback: {err[-2000:]}")
    steps = read_json(run / RESULT).get("steps")
    print(
        f"{number.name:8} {'in a checkpoint' if seen else f'after {wait:4.1f} s':16}"
        f"-> {process.returncode}, {status}, step {steps} {'; '.join(problems)}",
        flush=True,
    )
    return {
        "signal": number.name,
        "while_writing": seen,
        "seconds": round(wait, 2),
        "exit_status": process.returncode,
        "status": status,
        "problems": problems,
    }


def finished(folder: Path, epochs: int) -> Path:
    """Runs to the end."""
    done = subprocess.run(
        command(folder, epochs), capture_output=True, text=True, timeout=3600, check=False
    )
    run = the_run(folder)
    if done.returncode != 0 or run is None:
        raise SystemExit(f"soak: the run failed with status {done.returncode}:\n{done.stderr}")
    return run


def differences(straight: Path, disturbed: Path) -> list[str]:
    """What is not the same at the end of both runs."""
    found = []
    a, b = (read_checkpoint(run / LAST) for run in (straight, disturbed))
    weights, others = a["state_dict"], b["state_dict"]
    if weights.keys() != others.keys():
        found.append("names of weights")
    found += [f"weights {k}" for k in weights if not torch.equal(weights[k], others[k])]
    if a["lr_schedulers"] != b["lr_schedulers"]:
        found.append("schedule")
    one, other = (read_json(run / RESULT) for run in (straight, disturbed))
    found += [f"{RESULT}: {key}" for key in SAME if one.get(key) != other.get(key)]
    if (straight / METRICS).read_bytes() != (disturbed / METRICS).read_bytes():
        found.append(METRICS)
    names = [sorted(p.name for p in run.iterdir()) for run in (straight, disturbed)]
    if names[0] != names[1]:
        found.append(f"files: {sorted(set(names[0]) ^ set(names[1]))}")
    return found


def damaged(path: Path, flips: int, cuts: int, rng: random.Random) -> dict[str, int]:
    """How many files with one flipped bit, and how many without their end, were accepted."""
    whole = path.read_bytes()
    accepted = {"flipped": 0, "cut": 0}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / LAST
        for kind, count in (("flipped", flips), ("cut", cuts)):
            for _ in range(count):
                content = bytearray(whole)
                if kind == "flipped":
                    content[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
                else:
                    del content[rng.randrange(len(whole)) :]
                file.write_bytes(content)
                try:
                    read_checkpoint(file)
                except ConfigError:
                    continue
                accepted[kind] += 1
    return accepted


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20, help="SIGKILLs (default 20)")
    parser.add_argument("--polite", type=int, default=2, help="of each other signal (default 2)")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--flips", type=int, default=150)
    parser.add_argument("--cuts", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON to write")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    plan = [signal.SIGKILL] * args.kills + list(POLITE) * args.polite
    rng.shuffle(plan)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        start = time.perf_counter()
        straight = finished(Path(folder) / "straight", args.epochs)
        seconds = read_json(straight / RESULT)["pieces"][0]["train_seconds"]
        epoch = seconds / args.epochs
        print(f"undisturbed: {seconds:.0f} s of training, {epoch:.2f} s an epoch", flush=True)
        disturbed, endings, kills = Path(folder) / "disturbed", [], 0
        for number in plan:
            kills += number == signal.SIGKILL
            writing = number == signal.SIGKILL and kills % 4 == 0
            wait = rng.uniform(0, 3 * epoch)
            endings.append(disturb(number, writing, wait, args.epochs, disturbed))
        run = finished(disturbed, args.epochs)
        differ = differences(straight, run)
        pieces = len(read_json(run / RESULT)["pieces"])
        accepted = damaged(run / LAST, args.flips, args.cuts, rng)
        took = time.perf_counter() - start
    problems = [p for ending in endings for p in ending["problems"]]
    problems += [f"differs: {d}" for d in differ]
    problems += [f"{count} {kind} files accepted" for kind, count in accepted.items() if count]
    sent = sum(e["while_writing"] for e in endings)
    print(
        f"{len(endings)} signals ({sent} while a checkpoint was written), {pieces} pieces, "
        f"{args.flips} flipped bits, {args.cuts} cut files, {took:.0f} s: "
        f"{'as it should' if not problems else '; '.join(problems)}"
    )
    if args.out:
        save(
            args.out,
            {
                "conditions": conditions(),
                "arguments": {k: v for k, v in vars(args).items() if k != "out"},
                "seconds": round(took, 1),
                "epoch_seconds": round(epoch, 3),
                "endings": endings,
                "pieces": pieces,
                "differences": differ,
                "accepted": accepted,
                "problems": problems,
            },
        )
    raise SystemExit(1 if problems else 0)


if __name__ == "__main__":
    main()
