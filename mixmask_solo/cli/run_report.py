# SPDX-License-Identifier: MIT
"""The report that a run leaves in its own folder (``report: true``)."""

import logging
from pathlib import Path

log = logging.getLogger(__name__)
REPORT = "report.html"


def write_report(folder: Path) -> None:
    """Writes the page of the run in ``folder``, which has ended.

    Whatever goes wrong is a warning: the run has its status. One that was interrupted may have
    seconds left, so its page goes without pictures.
    """
    try:
        from mixmask_solo.report.page.data import read
        from mixmask_solo.report.page.render import Samples, page, write
        from mixmask_solo.report.page.samples import samples

        runs = read([folder])
        stopped = runs[0].record.state() == "interrupted"
        later = Samples("", note="Left out when a run is interrupted; mixmask-report draws them.")
        write(folder / REPORT, page(runs, draw=lambda r: later if stopped else samples(r)))
    except BaseException as error:  # a second Ctrl-C, too, which ends this alone
        told = " ".join(str(error).split()) or type(error).__name__
        log.warning("%s was not written: %s; mixmask-report writes it", folder / REPORT, told)
