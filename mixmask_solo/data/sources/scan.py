# SPDX-License-Identifier: MIT
"""What lies in a folder: sub-folders, image files, and what is taken for neither."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

# torchvision's list, and .gif, .jfif and .avif, which it passes over in silence
IMAGE_SUFFIXES: tuple[str, ...] = (
    *(".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif", ".jfif"),
    *((".avif",) if find_spec("PIL._avif") else ()),
)

# what systems and programs leave in folders without being asked
_LEFT = ("__macosx", "@eadir", "thumbs.db", "desktop.ini", "$recycle.bin", "lost+found")


class Contents(NamedTuple):
    """What lies directly in a folder, names sorted."""

    folders: list[str]
    images: list[str]  # links that lead nowhere are among them, as damaged images
    passed_over: Counter[str]  # kinds of what is neither


def hidden(name: str, *, folder: bool = False) -> bool:
    """Whether a file of this name is never an image, or a folder never a class.

    A dot hides folders. Of files it hides those alone that are no images by their suffix, and
    macOS's ``._x.jpg``, which hold what else is known about ``x.jpg``.
    """
    return name.lower() in _LEFT or name.startswith("." if folder else "._")


def is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES) and name.rfind(".") > 0 and not hidden(name)


def look(folder: str | Path, above: tuple[str, ...] = ()) -> Contents:
    """Lists one folder; nothing in it is opened.

    Links back to a folder ``above``, of which these are the real paths, are passed over.
    """
    found: dict[str, list[str]] = defaultdict(list)
    chain = (*above, os.path.realpath(folder))
    with os.scandir(folder) as entries:
        for entry in entries:
            found[_kind(entry, chain)].append(entry.name)
    folders, images = (sorted(found.pop(kind, [])) for kind in ("folder", "image"))
    return Contents(folders, images, Counter({kind: len(names) for kind, names in found.items()}))


def walk(folder: str | Path, above: tuple[str, ...] = ()) -> Iterator[tuple[str, Contents]]:
    """All folders at any depth, by their path relative to ``folder``, which is ``""`` itself."""
    rest = [("", above)]
    while rest:
        below, above = rest.pop()
        place = os.path.join(folder, below)
        here = look(place, above)
        yield below, here
        above = (*above, os.path.realpath(place))
        rest += [(os.path.join(below, name), above) for name in here.folders]


def images_below(
    folder: str | Path, passed_over: Counter[str], above: tuple[str, ...] = ()
) -> list[str]:
    """Paths of all images below ``folder``, in torchvision's order; counts everything else."""
    found = []
    for below, here in sorted(walk(folder, above), key=lambda pair: pair[0]):
        found += [os.path.join(below, file) for file in here.images]
        passed_over.update(here.passed_over)
    return found


def _kind(entry: os.DirEntry[str], chain: tuple[str, ...]) -> str:
    try:
        is_file, is_folder = entry.is_file(), entry.is_dir()
    except OSError:  # a link to itself
        is_file = is_folder = False
    leads_nowhere = entry.is_symlink() and not os.path.exists(entry.path)
    if is_file or leads_nowhere:
        return _kind_of_file(entry.name)
    if not is_folder:
        return "pipes, sockets, devices"
    if hidden(entry.name, folder=True):
        return "hidden folders"
    leads_back = entry.is_symlink() and _leads_back(entry.path, chain)
    return "links to a folder above them" if leads_back else "folder"


def _kind_of_file(name: str) -> str:
    if is_image(name):
        return "image"
    if name.lower() in _LEFT or name.startswith("."):
        return "hidden files"
    return os.path.splitext(name)[1].lower() or "(no suffix)"


def _leads_back(link: str, chain: tuple[str, ...]) -> bool:
    target = os.path.realpath(link)
    return any(place == target or place.startswith(target.rstrip("/") + "/") for place in chain)
