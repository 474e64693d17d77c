# SPDX-License-Identifier: MIT
"""What the papers and their code state, one entry a recipe, written from the sources.

MM: MixMask's supplement and ImageNet code. UM: Un-Mix's CIFAR demo. HT: htdt/self-supervised.
PH: PatrickHua/SimSiam. MO: facebookresearch/moco. FS: facebookresearch/simsiam. GS: the SimCLR
paper and google-research/simclr. SL: solo-learn 1.0.6. SG: saliency-guided masking's code.
"""

from __future__ import annotations

from dataclasses import replace

from support.parts import (
    C10,
    C100_HT,
    C100_SL,
    MOMENTUM,
    NEAREST,
    PAPERS_LARS,
    POOLED,
    SIMSIAM_HEAD,
    SIMSIAM_PREDICTOR,
    SMALL,
    SOLO_KNN,
    SOLOS_LARS,
    STRONG,
    TINY,
    UNEQUAL,
    WEAK,
    htdt_views,
    mlp,
    moco_views,
    solo_views,
)
from support.published import (
    Source,
    by_epoch,
    constant,
    google_rate,
    half_cosine,
    htdt_rate,
    rising,
    warm_cosine,
)

__all__ = ["SOURCES"]

DALI = {"other": "DALI decodes and crops instead of Pillow"}
DEMO = Source(
    *("MM, UM", ("sgd", MOMENTUM), 5e-4, 512, 1000, 0, by_epoch(0.06, first=1)),
    *(SMALL, "Linear(512,128)", moco_views(32, 0.08, 0.0, **C10)),
    kwargs={"temperature": 0.1, "queue_size": 4096, "symmetric": True, "shuffle": True}
    | {"bn_splits": 8},
    tau=constant(0.99),
    knn=("projector", "cosine", 200, 0.1),
    differs={
        "knn": f"{NEAREST}votes at T 0.07; the demo's, un-augmented: mixmask-knn"
        " --feature_type projector --k 200 --temperature 0.1"
    },
    ours={"knn": ("projector", "cosine", 200, 0.07)},
)
MOCO = Source(
    *("MM, MO", ("sgd", MOMENTUM), 1e-4, 256, 200, 0, by_epoch(0.03)),
    *(("resnet50", "imagenet", 2, False), "Linear(2048,2048) ReLU Linear(2048,128)"),
    moco_views(224, 0.2, 0.5),
    kwargs={"temperature": 0.2, "queue_size": 65_536, "symmetric": False, "shuffle": True}
    | {"bn_splits": 1, "sync_batchnorm": False, "precision": "32"},
    tau=constant(0.999),
    differs=DALI,
)
PLUS = Source(
    *("SL", ("sgd", MOMENTUM), 1e-4, 256, 1000, 10 * 195, warm_cosine(0.3, 10, 3e-5)),
    *(("resnet18", "auto", 2, False), "Linear(512,2048) ReLU Linear(2048,256)"),
    solo_views(32, WEAK, **C100_SL),
    kwargs={"temperature": 0.2, "queue_size": 32_768, "precision": "16-mixed"}
    | {"sync_batchnorm": True},
    tau=rising(0.99, 0.999),
    differs={"kwargs": "no synchronised BatchNorm"},
    ours={
        "kwargs": {"temperature": 0.2, "queue_size": 32_768, "precision": "16-mixed"}
        | {"sync_batchnorm": False}
    },
)
HTDT = Source(
    *("MM, HT", ("adam", {}), 1e-6, 512, 1000, 500, htdt_rate(3e-3), SMALL),
    *(f"joint {mlp(512, 1024, 64)} BN", htdt_views(32, **C100_HT)),
    kwargs={"temperature": 0.5},
    knn=("backbone", "euclidean", 5, None),
    differs={
        "views": "solo-learn's statistics",
        "knn": f"{NEAREST}cosine, k 20, T 0.07; htdt's, un-augmented: mixmask-knn"
        " --distance_function euclidean --k 5, whose votes weigh 1 / distance (there all the same)",
    },
    ours={"views": htdt_views(32, **C100_SL), "knn": SOLO_KNN},
)
HTDT_BYOL = replace(
    HTDT,
    head=mlp(512, 1024, 64),
    predictor=mlp(64, 1024, 64),
    kwargs={},
    tau=lambda r: 1 - 0.01 * half_cosine(r.epoch / r.epochs),
    differs={**HTDT.differs, "tau": "tau moves every step instead of every epoch"},
    ours={**HTDT.ours, "tau": rising(0.99, 1.0)},
)
HUA = Source(
    *("MM, PH", ("sgd", MOMENTUM), 5e-4, 512, 1000, 10 * 97, warm_cosine(0.06, 10, lag=1), SMALL),
    *(f"{mlp(512, 2048, 2048)} BN", moco_views(32, 0.2, 0.0)),
    predictor=f"{mlp(2048, 512, 2048)} fixed rate",
    knn=("backbone", "cosine", 200, 0.1),
    differs={
        "rate": "every rate is used one step earlier than there, where it is set after each step:"
        " the very first step, the predictor's too, runs at the warm-up's rate 0 (there at the full"
        " one)",
        "predictor": "the predictor's first layer has no bias",
        "knn": f"{NEAREST}cosine, k 20, T 0.07; PatrickHua's, un-augmented: mixmask-knn --k 200"
        " --temperature 0.1, which does not enlarge images by 8/7 and crop them",
    },
    ours={
        "rate": warm_cosine(0.06, 10),
        "predictor": "Linear(2048,512)- BN ReLU Linear(512,2048) fixed rate",
        "knn": SOLO_KNN,
    },
)
SOLO = {"sync_batchnorm": True, "precision": "16-mixed"}
R18, R50 = ("resnet18", "auto", 2, False), ("resnet50", "imagenet", 2, False)
ZERO = ("resnet50", "imagenet", 2, True)
WARM = 10 * (126_689 // 256)

SOURCES: dict[tuple[str, str], Source] = {
    ("cifar", "mocov2"): DEMO,
    ("cifar", "mocov2plus"): PLUS,
    ("cifar", "simclr"): HTDT,
    ("cifar", "byol"): HTDT_BYOL,
    ("cifar", "simsiam"): HUA,
    # Stem, crops and statistics of MoCo on Tiny-ImageNet are in no source: ours, under "Choices".
    ("tiny-imagenet", "mocov2"): replace(
        DEMO, backbone=POOLED, views=moco_views(64, 0.08, 0.0, **TINY)
    ),
    ("tiny-imagenet", "mocov2plus"): replace(
        PLUS,
        warmup=10 * 390,
        views=solo_views(64, WEAK, **TINY),
        differs={**PLUS.differs, "backbone": "3x3 stem, padding 1 and pooling"},
        ours={**PLUS.ours, "backbone": POOLED},
    ),
    ("tiny-imagenet", "simclr"): replace(
        HTDT,
        rate=htdt_rate(2e-3),
        backbone=POOLED,
        head=f"joint {mlp(512, 1024, 128)} BN",
        views=htdt_views(64, **TINY),
        differs={"knn": HTDT.differs["knn"]},
        ours={"knn": SOLO_KNN},
    ),
    ("tiny-imagenet", "byol"): replace(
        HTDT_BYOL,
        rate=htdt_rate(2e-3),
        backbone=POOLED,
        head=mlp(512, 1024, 128),
        predictor=mlp(128, 1024, 128),
        views=htdt_views(64, **TINY),
        differs={k: HTDT_BYOL.differs[k] for k in ("tau", "knn")},
        ours={k: HTDT_BYOL.ours[k] for k in ("tau", "knn")},
    ),
    ("tiny-imagenet", "simsiam"): replace(
        HUA,
        warmup=10 * 195,
        backbone=POOLED,
        views=moco_views(64, 0.2, 0.5),
        differs={**HUA.differs, "other": "the paper has no such run", "blur": "Pillow's blur"},
    ),
    ("imagenet", "mocov2"): MOCO,
    ("imagenet", "mocov2plus"): replace(
        PLUS,
        weight_decay=3e-5,
        batch=128,
        epochs=400,
        warmup=10 * 10_009,
        rate=warm_cosine(0.15, 10, 3e-5),
        backbone=R50,
        head="Linear(2048,2048) ReLU Linear(2048,256)",
        views=solo_views(224, WEAK),
        kwargs={"temperature": 0.2, "queue_size": 65_536, **SOLO},
        differs={},
        ours={},
    ),
    ("imagenet", "simclr"): Source(
        *("GS", ("lars", PAPERS_LARS), 1e-6, 4096, 100, 10 * 312, google_rate(4.8, 10), ZERO),
        "joint Linear(2048,2048)- BN ReLU Linear(2048,128)- BN(no bias)",
        solo_views(224, STRONG, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        kwargs={"temperature": 0.1, "sync_batchnorm": True},
        differs={
            "views": "images have ImageNet's statistics taken off",
            "backbone's norms": "BatchNorm sees the views one by one",
            "sum": "the loss is the mean of both directions",
            "start": "PyTorch's initialisation",
            "rate": "full rate one step earlier",
            "decoder": "DALI decodes and crops instead of TensorFlow; Pillow's blur",
        },
        ours={"views": solo_views(224, STRONG), "rate": warm_cosine(4.8, 10)},
    ),
    ("imagenet", "byol"): Source(
        *("SL", ("lars", PAPERS_LARS), 1e-6, 2048, 100, 10 * 625),
        *(warm_cosine(3.6, 10, 16 * 3e-5), R50, mlp(2048, 4096, 256), UNEQUAL),
        kwargs=SOLO,
        predictor=mlp(256, 4096, 256),
        tau=rising(0.99, 1.0),
        differs={"batch": "4096 images and rate 7.2", "rate": "4096 images and rate 7.2"},
        ours={"batch": 4096, "warmup": 10 * 312, "rate": warm_cosine(7.2, 10, 16 * 3e-5)},
    ),
    ("imagenet", "simsiam"): Source(
        *("FS", ("sgd", MOMENTUM), 1e-4, 512, 100, 0, by_epoch(0.1), ZERO, SIMSIAM_HEAD),
        moco_views(224, 0.2, 0.5),
        kwargs={"sync_batchnorm": True, "precision": "32"},
        predictor=SIMSIAM_PREDICTOR,
        differs=DALI,
    ),
    ("imagenet-100", "mocov2"): replace(MOCO, tag="SG", batch=128, rate=by_epoch(0.015)),
    ("imagenet-100", "mocov2plus"): replace(
        PLUS,
        epochs=400,
        warmup=WARM,
        backbone=R18,
        views=solo_views(224, WEAK),
        kwargs={"temperature": 0.2, "queue_size": 65_536, **SOLO},
        differs={},
        ours={},
    ),
    ("imagenet-100", "simclr"): Source(
        *("SL", ("lars", SOLOS_LARS), 1e-4, 256, 400, WARM, warm_cosine(0.3, 10, 3e-5), R18),
        *("Linear(512,4096) ReLU Linear(4096,512)", solo_views(224, STRONG)),
        kwargs={"temperature": 0.2, **SOLO},
    ),
    ("imagenet-100", "byol"): Source(
        *("SL", ("lars", SOLOS_LARS), 1e-6, 256, 400, WARM, warm_cosine(0.5, 10, 3e-5), R18),
        *(mlp(512, 4096, 256), UNEQUAL),
        kwargs=SOLO,
        predictor=mlp(256, 8192, 256),
        tau=rising(0.99, 1.0),
    ),
    ("imagenet-100", "simsiam"): Source(
        *("SL", ("sgd", MOMENTUM), 1e-5, 256, 400, WARM, warm_cosine(0.5, 10, 3e-5), R18),
        *(SIMSIAM_HEAD.replace("Linear(2048", "Linear(512", 1), UNEQUAL),
        kwargs=SOLO,
        predictor=SIMSIAM_PREDICTOR,
    ),
}
