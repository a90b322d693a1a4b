#!/bin/bash
# Training on several machines under SLURM: one torchrun a machine, one process a GPU.
# Submit with: sbatch slurm.sh   (the same again goes on where a run was cut off)
#SBATCH --job-name=lungcli
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=08:00:00
# Two minutes before the time is up: the batch is ended, and the work saved.
#SBATCH --signal=TERM@120
#SBATCH --requeue
set -euo pipefail

# Data sets and runs: a folder that all machines see.
export LUNGCLI_HOME="${LUNGCLI_HOME:-$HOME/lungcli}"
export OMP_NUM_THREADS=$((SLURM_CPUS_PER_TASK / SLURM_GPUS_ON_NODE))
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

srun --kill-on-bad-exit=1 python -m torch.distributed.run \
  --nnodes "$SLURM_NNODES" \
  --nproc-per-node "$SLURM_GPUS_ON_NODE" \
  --max-restarts 3 \
  --rdzv-id "$SLURM_JOB_ID" \
  --rdzv-backend c10d \
  --rdzv-endpoint "$head:29500" \
  -m lungcli train --model resnet18 --data mine --batch 256 --device cuda --name together
