#!/usr/bin/env bash
# One phase of Pocket's training on every GPU of this machine.
# usage: run.sh check MINUTES | autoencoder MINUTES | teacher MINUTES | student MINUTES | evaluate
# Reads pack/ and ../model/tokenizer, writes runs/.
set -euo pipefail
cd "$(dirname "$0")"
export OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1 TORCHINDUCTOR_CACHE_DIR="$PWD/runs/inductor" TRITON_CACHE_DIR="$PWD/runs/triton"
gpus=$(nvidia-smi -L | wc -l)
workers=$(( ($(nproc) - 4) / gpus ))
data=(--pack pack --tokenizer ../model/tokenizer/tokenizer.json)
guidance=${GUIDANCE:-3.0}
mkdir -p runs

everywhere() { python3 -m torch.distributed.run --standalone --nproc-per-node "$@"; }
on_gpu() { CUDA_VISIBLE_DEVICES=$(( $1 % gpus )) python3 "${@:2}"; }

case $1 in
  check) # every script for a minute on random weights: compiles what the real phases compile
    mkdir -p runs/check
    python3 - <<'PY'
from pocket.flow import Denoiser
from pocket.models.vae import VAE_CONFIG, AutoencoderKL
from pocket.runtime import save
save({"config": VAE_CONFIG, "weights": AutoencoderKL().half().state_dict()}, "runs/check/vae.pt")
save(Denoiser().half().state_dict(), "runs/check/teacher.pt")
PY
    on_gpu 0 train_vae.py "${data[@]}" --out runs/check/vae2.pt --minutes "$2" --workers "$workers" 2>&1 | sed 's/^/vae /' &
    on_gpu 1 train_teacher.py "${data[@]}" --vae runs/check/vae.pt --out runs/check/teacher2.pt --minutes "$2" --workers "$workers" 2>&1 | sed 's/^/teacher /' &
    on_gpu 2 distill.py "${data[@]}" --vae runs/check/vae.pt --teacher runs/check/teacher.pt --out runs/check/student.pt --minutes "$2" --workers "$workers" 2>&1 | sed 's/^/student /' &
    on_gpu 3 train_judge.py "${data[@]}" --out runs/check/judge.pt --minutes "$2" --workers "$workers" 2>&1 | sed 's/^/judge /' &
    wait
    on_gpu 0 evaluate.py score --variant teacher "${data[@]}" --runs runs/check --out runs/check --every 8 2>&1 | tail -5 &
    on_gpu 1 evaluate.py score --variant shipped "${data[@]}" --runs runs/check --out runs/check --every 8 2>&1 | tail -5 &
    on_gpu 2 evaluate.py sheets "${data[@]}" --runs runs/check --out runs/check --every 12 --pool 256 --workers "$workers" 2>&1 | tail -5 &
    on_gpu 3 evaluate.py real "${data[@]}" --runs runs/check --out runs/check --every 10 2>&1 | tail -5 &
    wait
    python3 evaluate.py table --runs runs/check
    ;;
  autoencoder) # and the judge, on the last GPU
    trainers=$(( gpus > 1 ? gpus - 1 : 1 ))
    on_gpu $(( gpus - 1 )) train_judge.py "${data[@]}" --out runs/judge.pt --minutes "$2" --workers $(( workers + 4 )) 2>&1 | sed 's/^/judge /' &
    everywhere "$trainers" train_vae.py "${data[@]}" --out runs/vae.pt --minutes "$2" --workers $(( workers - 2 ))
    wait
    ;;
  teacher)
    everywhere "$gpus" train_teacher.py "${data[@]}" --vae runs/vae.pt --out runs/teacher.pt --minutes "$2" --workers "$workers"
    ;;
  student)
    everywhere "$gpus" distill.py "${data[@]}" --vae runs/vae.pt --teacher runs/teacher.pt --out runs/student.pt --minutes "$2" --workers "$workers" --guidance "$guidance"
    ;;
  evaluate)
    common=("${data[@]}" --runs runs --out runs --guidance "$guidance")
    on_gpu 0 evaluate.py score --variant teacher "${common[@]}" &
    on_gpu 1 evaluate.py score --variant student "${common[@]}" &
    on_gpu 2 evaluate.py score --variant shipped "${common[@]}" &
    on_gpu 2 evaluate.py real "${common[@]}" &
    on_gpu 3 evaluate.py sheets "${common[@]}" --workers $(( workers * 2 )) &
    wait
    python3 evaluate.py table --runs runs
    ;;
esac
