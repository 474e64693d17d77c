# SPDX-License-Identifier: MIT
"""Environment variables by which a job, or a user, talks to the command in it."""

REPORT = "MIXMASK_SOLO_REPORT"  # the file that tells how the command ended
RUN = "MIXMASK_SOLO_RUN"  # ends the name of the run's folder, where a run of that name goes on
OVERRIDES = "MIXMASK_SOLO_OVERRIDES"  # ``key=value ...`` behind those of every Hydra command
DEADLINE = "MIXMASK_SOLO_DEADLINE"  # when the job will be ended, seconds since 1970
AGAIN = "MIXMASK_SOLO_AGAIN"  # how to resume, where whoever started the command knows better
BEAT = "MIXMASK_SOLO_BEAT"  # the file in which each process says how far it is, by its {rank}
