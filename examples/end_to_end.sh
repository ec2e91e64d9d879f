#!/usr/bin/env bash
# From a folder of documents to preference pairs, a model that LOGO tuned on them, and its evaluation before and after:
# on the small model of examples/data/retrieval, which looks up facts such as {dako=48213} in texts of 512 tokens, in
# minutes on the CPU. The pairs are the model's own answers: from the chunk of a speech that holds the fact, and from
# others. Killed, the same command goes on. Usage: bash examples/end_to_end.sh [FOLDER FOR THE RESULTS [host|cuda]]
set -euo pipefail
examples=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${1:-lodestone-end-to-end}
backend=${2:-host}
case $backend in
  host) preset=cpu ;;
  cuda) preset=cuda ;;
  *) echo "unknown backend $backend: host or cuda" >&2; exit 2 ;;
esac
program=${LODESTONE_PROGRAM:-$examples/../build/$preset/bin/lodestone}
[ -x "$program" ] ||
  { echo "build the program first: cmake --preset $preset && cmake --build --preset $preset" >&2; exit 1; }
mkdir -p "$out/held-out"
model=$examples/data/retrieval
form='{context}<|question|>{question}'

# Facts go between the words of the speeches. Every sixth speech is kept for the evaluation, as in the model's training.
if [ ! -d "$out/documents" ]; then
  rm -rf "$out/planting" "$out/questions.jsonl" && mkdir "$out/planting"
  number=0
  for speech in "$examples"/data/state_union/*.txt; do
    number=$((number + 1)) name=$(basename "$speech")
    if [ $((number % 6)) = 0 ]; then cp "$speech" "$out/held-out"; continue; fi
    head -c 6000 "$speech" | LC_ALL=C tr -cd '\n -~' | awk -v seed=$number -v every=100 -v of=6 -v document="$name" \
      -v questions="$out/questions.jsonl" -f "$examples/retrieval/plant_facts.awk" > "$out/planting/$name"
  done
  mv "$out/planting" "$out/documents"
fi

evaluate() {  # MODEL NAME
  [ -f "$out/$2/summary.txt" ] || "$program" eval --model "$1" --output "$out/$2" --tasks facts \
    --haystack "$out/held-out" --lengths 512,1024,2048 --window 4096 --needle-others 8 --repeats 4 --backend "$backend"
}
evaluate "$model" before
"$program" synthesise --method logo --documents "$out/documents" --questions-file "$out/questions.jsonl" \
  --model "$model" --output "$out/pairs.jsonl" --chunk-tokens 128 --context-chunks 3 --important-chunks 1 \
  --prompt-as tokens --context-form "$form" --temperature 0 --max-new-tokens 8 --least-metric 1 \
  --backend "$backend"
"$program" prefer --model "$model" --data "$out/pairs.jsonl" --output "$out/run" --content parse \
  --context-form "$form" --custom-template-end-token '{eos}' --position logo-mix --position-window 2048 \
  --max-positions 2048 --beta 2.5 --gamma 0.25 --sft-weight 1 --learning-rate 5e-4 --epochs 4 --tokens 4352 \
  --groups-per-step 8 --backend "$backend"
evaluate "$out/run" after
for when in before after; do echo "$when LOGO:"; cat "$out/$when/summary.txt"; done
