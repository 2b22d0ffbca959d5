#!/usr/bin/env bash
# Segments recordings on the nodes of a Slurm allocation, which are a cluster of Ray meanwhile:
#   sbatch --nodes=4 config/slurm.sh IN... OUT [OPTION...]
# IN, OUT and the environment that is active now are the same on all nodes. The same command goes on
# where one was ended. docs/cluster.md says more.
#SBATCH --job-name=segment_bag
#SBATCH --ntasks-per-node=1
# Ray ends whatever else of it runs on a node.
#SBATCH --exclusive
#SBATCH --open-mode=append
# The others do the work of a node that fails.
#SBATCH --no-kill
set -euo pipefail

# This runs on the first node. Jobs that follow one another may share it.
head=$(hostname -I | cut -d ' ' -f 1):$((20000 + SLURM_JOB_ID % 10000))
# Nobody else on the network may give work to the cluster, and this job has a token of its own.
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN
# Seconds. Nodes that read Python from a shared folder start slowly.
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300
export RAY_USAGE_STATS_ENABLED=0

srun --no-kill ray symmetric-run --address "$head" --min-nodes "$SLURM_JOB_NUM_NODES" \
  --num-cpus "$SLURM_CPUS_ON_NODE" --object-store-memory 200000000 \
  -- python -m csa_ros.tools.segment_bag "$@" --ray "$head"
