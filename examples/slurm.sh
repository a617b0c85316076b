#!/usr/bin/env bash
# Train on several machines of a SLURM cluster, one process a GPU:
#
#     sbatch examples/slurm.sh ROOT [RECIPE [FOLDER]]
#
# A job that is preempted, loses a machine or reaches its time is queued again, and the same command goes on with
# the unfinished run in FOLDER from its last checkpoint, one epoch back at most. FOLDER must be one that all
# machines share; docs/distributed.md tells the rest.
#SBATCH --job-name=eac
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.out
#SBATCH --signal=B:USR1@180
set -euo pipefail

root=${1:?the folder of faces: sbatch examples/slurm.sh ROOT [RECIPE [FOLDER]]}
recipe=${2:-eac_mobilefacenet}
folder=${3:-runs/slurm}

# A virtual environment made by `make install` on a disk that all machines share.
if [[ -f .venv/bin/activate ]]; then
    source .venv/bin/activate
fi

export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}  # else each process takes every core of its machine
export NCCL_DEBUG=${NCCL_DEBUG:-WARN}             # INFO says which network it found
export PYTHONFAULTHANDLER=1                       # a crash in C says where
# export NCCL_SOCKET_IFNAME=ib0                   # where a machine has several networks: theirs in common
# export TMPDIR=/local/scratch                    # a local disk for pictures that do not fit into memory

# Three minutes before the end of its time the batch shell alone is told (B:), and has the job queued again.
trap 'scontrol requeue "$SLURM_JOB_ID" || echo "Not queued again: submit the same command to go on." >&2' USR1

# --kill-on-bad-exit: where one process cannot even start, SLURM ends the others.
srun --kill-on-bad-exit=1 eac fit -c "$recipe" --data.root "$root" \
    --trainer.default_root_dir "$folder" --trainer.accelerator gpu --trainer.strategy ddp \
    --trainer.num_nodes "$SLURM_NNODES" --trainer.devices "$SLURM_NTASKS_PER_NODE" \
    --trainer.enable_progress_bar false &
step=$!
while kill -0 "$step" 2>/dev/null; do  # a signal ends the waiting, not the step
    wait "$step" || true
done
wait "$step"
