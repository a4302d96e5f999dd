#!/usr/bin/env bash
# Pocket's training on every GPU of this machine.
# usage: run.sh autoencoder MINUTES | decoder MINUTES | teacher MINUTES | student MINUTES | judge MINUTES | evaluate
#        run.sh all AUTOENCODER_MINUTES TEACHER_MINUTES STUDENT_MINUTES
#        run.sh style MINUTES              more of a style where a caption names one, from the shipped weights alone
#        run.sh resume TEACHER_MINUTES     a teacher from the shipped weights, whose autoencoder stays
#        run.sh finish STUDENT_MINUTES     student, with decoder and judge beside it, then the evaluation
# Reads pack/ and ../model/tokenizer, writes runs/. To go on from other weights set VAE_RESUME, TEACHER_RESUME or
# STUDENT_RESUME (files outside runs/); GUIDANCE, TEACHER_OPTIONS (of train_teacher.py), STUDENT_OPTIONS (of distill.py),
# STYLE_OPTIONS (of distill_style.py) and GPUS (how many take part) may be set, too. REHEARSAL=1 tries a command without a GPU: a few steps of each phase, three processes.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p runs
cpus=$(nproc --all)
export OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1 TRITON_CACHE_DIR="$PWD/runs/triton"
if [ -n "${REHEARSAL:-}" ]; then all_gpus=3 workers=1; else
  all_gpus=$(nvidia-smi -L | wc -l)
  workers=$(( (cpus - 2 * all_gpus - 2) / all_gpus ))
fi
gpus=${GPUS:-$all_gpus}
# With more than two GPUs the last one is for the judge while the others train the autoencoder or the student.
most=$(( all_gpus > 2 ? all_gpus - 1 : all_gpus ))
data=(--pack pack --tokenizer ../model/tokenizer/tokenizer.json)
guidance=${GUIDANCE:-3.5}

everywhere() { python3 -m torch.distributed.run --standalone --nproc-per-node "$gpus" "$@"; }
on_gpu() { CUDA_VISIBLE_DEVICES=$(( $1 % all_gpus )) python3 "${@:2}"; }
seconds() { python3 -c "print(max(0, 60 * $1 + $2))"; }
# Waits until a file exists, then the given seconds.
after() { until [ -e "$1" ]; do sleep 0.2; done; sleep "$2"; }
# Waits for all background jobs; the first that fails ends them all, so that none waits for its weights.
together() {
  while true; do wait -n && continue; status=$? && break; done
  (( status == 127 )) || exit "$status"
}
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT

case $1 in
  autoencoder)
    everywhere train_vae.py "${data[@]}" --out runs/vae.pt --minutes "$2" --workers "$workers" ${VAE_RESUME:+--resume "$VAE_RESUME"}
    ;;
  decoder)
    on_gpu $(( all_gpus - 1 )) train_vae.py "${data[@]}" --resume runs/vae.pt --decoder-only --rate 6e-4 --seed 41 --out runs/vae.pt --minutes "$2" --workers "$workers"
    ;;
  judge)
    on_gpu $(( all_gpus - 1 )) train_judge.py "${data[@]}" --out runs/judge.pt --minutes "$2" --workers $(( workers * 3 / 2 )) "${@:3}"
    ;;
  teacher)
    everywhere train_teacher.py "${data[@]}" --vae runs/vae.pt --out runs/teacher.pt --minutes "$2" --workers "$workers" ${TEACHER_RESUME:+--resume "$TEACHER_RESUME"} ${TEACHER_OPTIONS:-}
    ;;
  student)
    everywhere distill.py "${data[@]}" --vae runs/vae.pt --teacher runs/teacher.pt --out runs/student.pt --minutes "$2" --workers "$workers" --guidance "$guidance" ${STUDENT_RESUME:+--student "$STUDENT_RESUME"} ${STUDENT_OPTIONS:-}
    ;;
  evaluate)
    common=("${data[@]}" --runs runs --out runs --guidance "$guidance")
    on_gpu 0 evaluate.py score --variant teacher "${common[@]}" &
    on_gpu 1 evaluate.py score --variant student "${common[@]}" &
    on_gpu 2 evaluate.py score --variant shipped "${common[@]}" &
    on_gpu 3 evaluate.py real "${common[@]}" &
    on_gpu 1 evaluate.py sheets "${common[@]}" --workers $(( (cpus + 2) / 3 )) &
    together
    python3 evaluate.py table --runs runs
    ;;
  style)
    python3 from_shipped.py --model ../model --out shipped
    cp shipped/vae.pt runs/
    everywhere distill_style.py "${data[@]}" --student shipped/student.pt --out runs/student.pt --minutes "$2" --workers "$workers" ${STYLE_OPTIONS:-}
    ;;
  resume)
    rm -f runs/*.pt
    python3 from_shipped.py --model ../model --out shipped
    cp shipped/vae.pt runs/
    TEACHER_RESUME=shipped/student.pt "$0" teacher "$2"
    ;;
  finish)
    rm -f runs/student.pt runs/judge.pt
    "$0" judge "$2" &
    "$0" decoder "$(python3 -c "print(0.5 * $2)")" &
    GPUS=$most "$0" student "$2" &
    sleep "$(seconds "$2" -10)"
    "$0" evaluate &
    together
    ;;
  all)
    # Each phase starts a little before its turn, loads and waits for the weights of the one before; the decoder trains on beside the student.
    rm -f runs/*.pt
    GPUS=$most "$0" autoencoder "$2" &
    if (( most < all_gpus )); then
      "$0" judge "$2" --out runs/judge-first.pt --decay-share 0.1 &
    fi
    sleep "$(seconds "$2" -5)"
    "$0" teacher "$3" &
    after runs/vae.pt "$(seconds "$3" -15)"
    GPUS=$most "$0" student "$4" &
    after runs/teacher.pt 0
    "$0" decoder "$(python3 -c "print(0.75 * $4)")" &
    "$0" judge "$4" --resume runs/judge-first.pt &
    sleep "$(seconds "$4" -40)"
    "$0" evaluate &
    together
    ;;
esac
