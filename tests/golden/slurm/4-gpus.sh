#!/bin/bash

# Parameters
#SBATCH --array=0-2%3
#SBATCH --cpus-per-task=4
#SBATCH --gpus-per-node=4
#SBATCH --job-name=simclr_mixmask
#SBATCH --mem=61440M
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
#SBATCH --open-mode=append
#SBATCH --output=/shared/jobs/one/%A_%a_0_log.out
#SBATCH --requeue
#SBATCH --signal=USR1@120
#SBATCH --time=2-00:00:00

# setup
job="${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"
end="$(SLURM_TIME_FORMAT=standard squeue -h -j "$job" -o %e)"
export MIXMASK_SOLO_DEADLINE="$(date -d "$end" +%s 2> /dev/null)"

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output /shared/jobs/one/%A_%a_%t_log.out --kill-on-bad-exit=1 --cpus-per-task=4 python3 -u -m submitit.core._submit /shared/jobs/one


# teardown
status=$?
preempted=$(scontrol show job "$job" | grep -c 'PreemptTime=[0-9]')
if [ "$status" -ne 0 ] && [ "$status" -ne 2 ] && [ "$preempted" -ne 0 ]; then
    [ "${SLURM_RESTART_COUNT:-0}" -lt 20 ] && touch /shared/jobs/one/"requeue-$job"
fi
if [ -e /shared/jobs/one/"requeue-$job" ]; then
    rm -f /shared/jobs/one/"requeue-$job"
    scontrol requeue "$job"
fi
exit $status