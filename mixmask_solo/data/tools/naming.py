# SPDX-License-Identifier: MIT
"""What an image is called in a storage of another kind."""

import itertools
import os

from mixmask_solo.data.sources import Source
from mixmask_solo.data.sources.class_folders import escaped, folder_name
from mixmask_solo.data.sources.scan import is_image
from mixmask_solo.data.sources.splits import split_word

_LONGEST, _LONGEST_PART = 1000, 230  # a part of a path has at most 255 bytes, numbers included
_MAGIC = {
    b"\x89PNG": ".png",
    b"GIF8": ".gif",
    b"BM": ".bmp",
    b"RIFF": ".webp",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
}


class Names:
    """The path of each image of a source: ``class/file``, or ``file`` without labels.

    Storages keep the path an image was found at; where they do not, its number serves.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.folders = [folder_name(name) for name in source.classes]
        self._files: dict[str, int] = {}
        self._parents = set(self.folders)

    def path(self, index: int) -> str:
        """A relative path of slashes that is this image's alone, and leads to no hidden place.

        No file stands where another image wants a folder.
        """
        top, below = self._parts(index)
        *folders, file = below
        choices = itertools.chain(
            [[*top, *folders, file], [*top, *folders, f"{index:08d}_{file}"]],
            ([*top, f"{index:08d}_{attempt}_{file}"] for attempt in itertools.count()),
        )
        for parts in choices:
            path = "/".join(parts)
            above = list(itertools.accumulate(parts[:-1], "{}/{}".format))
            taken = self._files.get(path, index) != index or path in self._parents
            if not taken and not any(folder in self._files for folder in above):
                break
        self._files[path] = index
        self._parents.update(above)
        return path

    def _parts(self, index: int) -> tuple[list[str], list[str]]:
        """The folder of the class, if there is one, and what stands below it."""
        stored = (self.source.path(index) or "").split("/")
        below = [part for part in stored if part not in ("", ".", "..")]
        label, top = self.source.label(index), []
        if label >= 0 and self.source.classes:
            top = [self.folders[label]]
            below = below[below.index(top[0]) + 1 :] if top[0] in below[:-1] else below[-1:]
        below = [escaped(part, folder=part is not below[-1]) for part in below]
        # too long for a file system, or a folder that would be a split beside the list of none
        if (not top and split_word("".join(below[:1]))) or len("/".join(below)) > _LONGEST:
            below = below[-1:]
        suffix = "" if below and is_image(below[-1]) else self._suffix(index)
        if not below or any(len(os.fsencode(part)) > _LONGEST_PART for part in below):
            below = [f"{index:08d}{suffix or os.path.splitext(below[-1])[1]}"]
        elif suffix:
            below[-1] += suffix
        return top, below

    def _suffix(self, index: int) -> str:
        stored = self.source.encoded(index)
        head = b"" if stored is None else stored[:12].tobytes()
        if head[4:] in (b"ftypavif", b"ftypavis"):
            return ".avif"
        return next((suffix for magic, suffix in _MAGIC.items() if head.startswith(magic)), ".jpg")
