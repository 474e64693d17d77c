# SPDX-License-Identifier: MIT
"""The data sets that representations are transferred to, opened by their names."""

import os
from pathlib import Path

from filelock import FileLock

from mixmask_solo.config import ConfigError
from mixmask_solo.config.datasets import info
from mixmask_solo.data.sources.base import Request
from mixmask_solo.data.sources.benchmark_files import BENCHMARKS, Benchmark, Listed, Part
from mixmask_solo.data.sources.folder import FolderSource


def read_benchmark(request: Request) -> FolderSource:
    """One split: what the benchmark trains on, validation images included, or its test images.

    Raises:
        ConfigError: where the folder does not hold it, or not in the layout that is known.
    """
    folder = request.path and Path(request.path).expanduser()
    if not folder:
        raise ConfigError(f"{request.key} is missing: give the folder of {request.dataset}")
    benchmark, part = BENCHMARKS[request.dataset], _part(request)
    try:
        listed = _open(benchmark, folder, part, request)
    except (RuntimeError, OSError) as error:
        raise _missing(benchmark, request, error) from None
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise request.wrong(
            f"its lists of {request.dataset} cannot be understood "
            f"({type(error).__name__}: {error}); it needs {benchmark.needs}"
        ) from error
    if not listed.files:
        raise request.wrong(f"no {part} image of {request.dataset} in it")
    if request.classes and list(request.classes) != list(listed.classes):
        raise request.wrong(f"its {part} images have other classes than its training images")
    paths = [os.path.relpath(file, folder) for file in listed.files]
    return FolderSource(folder, paths, listed.labels, listed.classes)


def _part(request: Request) -> Part:
    return "train" if request.training else "test"


def _open(benchmark: Benchmark, folder: Path, part: Part, request: Request) -> Listed:
    if not request.download:
        if not folder.is_dir():
            raise FileNotFoundError("no such folder")
        return benchmark.files(folder, part, False)
    folder.mkdir(parents=True, exist_ok=True)
    # several training processes may come here at once: one fetches, the others wait
    with FileLock(folder / f".{request.dataset}.lock"):
        return benchmark.files(folder, part, True)


def _missing(benchmark: Benchmark, request: Request, error: Exception) -> ConfigError:
    if request.download:
        return request.wrong(f"the download failed: {' '.join(str(error).split())}")
    told = str(error) if isinstance(error, FileNotFoundError) and not error.errno else ""
    fetched = ", or set data.download=true"
    hint = (
        fetched
        if info(request.dataset).downloads
        else " (its authors have it; torchvision fetches it not)"
    )
    what = told or f"{request.dataset} is not there (or not whole)"
    return request.wrong(f"{what}: put {benchmark.needs} into it{hint}")
