#!/usr/bin/env bash
# A run on nodes that Slurm gives: Ray's head on the first, workers on the others, the run on the head.
#   sbatch slurm.sh configs/smollm2_cpu.toml run_dir=/data/runs/first model.path=/data/models/smollm2-135m-instruct
# PROJECT (this project's folder) and VENV (its environment) must be seen by all nodes, run_dir and models by the first.
#SBATCH --job-name=k2rl
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=1
#SBATCH --time=08:00:00
#SBATCH --signal=B:INT@300
set -euo pipefail
PROJECT=${PROJECT:-$SLURM_SUBMIT_DIR} VENV=${VENV:-$PROJECT/.venv} PORT=${PORT:-6379}
export PATH=$VENV/bin:$PATH RAY_AUTH_MODE=token
ray get-auth-token --generate >/dev/null # ~/.ray/auth_token: homes are shared between nodes

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
address=$(srun --nodes=1 --ntasks=1 -w "$head" hostname --ip-address | awk '{print $1}')
srun --nodes=1 --ntasks=1 -w "$head" ray start --head --block --node-ip-address="$address" --port="$PORT" \
    --num-cpus="$SLURM_CPUS_PER_TASK" &
for node in "${nodes[@]:1}"; do
    srun --nodes=1 --ntasks=1 -w "$node" ray start --block --address="$address:$PORT" \
        --num-cpus="$SLURM_CPUS_PER_TASK" &
done
for _ in $(seq 60); do # until all nodes are there
    [ "$(ray list nodes --address "$address:$PORT" --format=json 2>/dev/null | grep -c '"ALIVE"')" -ge "${#nodes[@]}" ] && break
    sleep 5
done

cd "$PROJECT"
# In the background, so that Slurm's INT, five minutes before the end, reaches the run: it stops with a checkpoint.
RAY_ADDRESS=$address:$PORT python -m rl.train "$@" cluster.cpus_per_bundle="$SLURM_CPUS_PER_TASK" &
run=$!
trap 'kill -INT "$run"' INT
wait "$run" || wait "$run"
