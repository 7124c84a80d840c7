#!/usr/bin/env bash
# Compare models that are fine-tuned on 1,000 records of several selections, on a machine with a GPU.
#
#     bash benchmarks/evaluate_gpu.sh MODEL POOL TEST FOLDER
#
# MODEL is a name on the hub or a folder, POOL and TEST are files with outputs, and FOLDER gets the
# results. It needs `pip install -c constraints.txt -e '.[train]'`, changes params.yaml, and can be
# rerun after being stopped: finished selections and models are kept. The selections need no key.
# MINUTES limits the evaluation, which comes last (10 if not set).
set -euo pipefail
model=$1 pool=$2 test=$3 folder=$4
takes="take_first: {choose.objective: ranks, llm_select.take: first}"
takes+=", take_middle: {choose.objective: ranks, llm_select.take: middle}"
takes+=", take_last: {choose.objective: ranks, llm_select.take: last}"
settings=(
  -S "evaluate.model=$model" -S "evaluate.test=$test" -S evaluate.n_test=500
  -S "evaluate.arms=[random, selection, medoids, longest, take_first, take_middle, take_last, untrained]"
  -S evaluate.n_seeds=3 -S evaluate.epochs=1 -S evaluate.n_answers=16 -S evaluate.max_new_tokens=128
)

selectllm run -S "ingest.source=$pool" -S "ingest.decontaminate=$test" -S llm_select.budget=1000 \
  -S "baseline.methods=[random, medoids, longest]" -S "compare={$takes}"
selectllm compare
mkdir -p "$folder"
selectllm evaluate --plan "${settings[@]}" | tee "$folder/plan.txt"
timeout --signal=INT "${MINUTES:-10}m" selectllm evaluate "${settings[@]}" | tee "$folder/result.txt"
cp -r data/evaluate/. "$folder/"
nvidia-smi > "$folder/gpu.txt" || true
