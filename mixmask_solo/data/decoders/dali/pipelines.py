# SPDX-License-Identifier: MIT
"""NVIDIA DALI and its pipelines: an optional extra, and large, so imported where it is needed."""

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import torch

from mixmask_solo.config import ConfigError
from mixmask_solo.data.batched.views import View
from mixmask_solo.data.decoders.dali.forks import owned

# Pillow ignores EXIF too; fancy upsampling is libjpeg's default, and so Pillow's
_AS_PILLOW = {"adjust_orientation": False, "jpeg_fancy_upsampling": True}


def library() -> Any:
    """The package ``nvidia.dali``, with those of its modules that are used here.

    Raises:
        ConfigError: where it is not installed, or cannot be loaded.
    """
    try:
        for module in ("fn", "types", "pipeline"):
            importlib.import_module(f"nvidia.dali.{module}")
        return importlib.import_module("nvidia.dali")
    except (ImportError, OSError) as error:
        raise ConfigError(
            f"data.format is 'dali', but NVIDIA DALI cannot be imported ({error}): "
            "pip install '.[dali]' in the checkout, or choose another data.format"
        ) from None


def parts(batch_size: int) -> Any:
    """Decodes on the CPU the part of each image from ``start`` to ``end``, (n, 2) int32 each."""
    dali = library()

    def outputs(encoded: Any) -> list[Any]:
        start, end = (_numbers(dali, name, dali.types.INT32) for name in ("start", "end"))
        corners = {"start": start, "end": end, "axis_names": "HW"}
        kind = {"device": "cpu", "output_type": dali.types.RGB}
        return [dali.fn.decoders.image_slice(encoded, **corners, **kind, **_AS_PILLOW)]

    options = {"num_threads": 1, "device_id": None, "exec_pipelined": False, "exec_async": False}
    return _built(dali, outputs, batch_size=batch_size, **options)


def crops(
    views: Sequence[View], batch_size: int, threads: int, device: torch.device, hw_load: float
) -> Any:
    """Decodes images and resizes the window ``start<v>`` to ``end<v>``, (n, 2) float32, of view v.

    Outputs are (n, size, size, 3) uint8 on the device.
    """
    dali = library()
    kinds = {"bicubic": dali.types.INTERP_CUBIC, "bilinear": dali.types.INTERP_LINEAR}
    on_gpu = device.type == "cuda"

    def outputs(encoded: Any) -> list[Any]:
        kind = {"device": "mixed", "hw_decoder_load": hw_load} if on_gpu else {"device": "cpu"}
        images = dali.fn.decoders.image(encoded, output_type=dali.types.RGB, **kind, **_AS_PILLOW)
        return [
            dali.fn.resize(
                images,
                size=(view.size, view.size),
                roi_start=_numbers(dali, f"start{number}", dali.types.FLOAT),
                roi_end=_numbers(dali, f"end{number}", dali.types.FLOAT),
                interp_type=kinds[view.kernel],
                antialias=True,
                dtype=dali.types.UINT8,
            )
            for number, view in enumerate(views)
        ]

    options = {"num_threads": threads, "device_id": device.index if on_gpu else None}
    return _built(dali, outputs, batch_size=batch_size, exec_dynamic=True, **options)


def _built(dali: Any, outputs: Callable[[Any], list[Any]], **options: Any) -> Any:
    """A pipeline that is fed with files as ``encoded``."""
    pipeline = dali.pipeline.Pipeline(prefetch_queue_depth=1, **options)
    with pipeline:
        pipeline.set_outputs(*outputs(_numbers(dali, "encoded", dali.types.UINT8)))
    pipeline.build()
    return owned(pipeline)


def _numbers(dali: Any, name: str, kind: Any) -> Any:
    return dali.fn.external_source(name=name, dtype=kind, ndim=1)
