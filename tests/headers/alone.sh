#!/usr/bin/env bash
# Compiles every public header alone (syntax only), warnings being errors, with its definitions and, where they stand in a
# .ipp file, without; and checks that the umbrella headers include all others. Usage: alone.sh COMPILER ARGUMENTS...
set -eu
include=$(cd "$(dirname "$0")/../../include" && pwd)
headers=$(cd "$include" && find lodestone -name '*.hpp' | sort)
if ! echo '#include <cuda_runtime_api.h>' | "$@" -fsyntax-only -x c++ - 2>/dev/null; then
  headers=$(grep -v '^lodestone/cuda' <<<"$headers")
  echo "SKIPPED: the headers of the CUDA backend, because the CUDA toolkit is not installed"
fi

alone() {
  local header=$1
  shift
  printf '#include <%s>\n' "$header" | "$@" -x c++ - || { echo "does not compile alone: $header"; return 1; }
  if [ -f "$0/${header%.hpp}.ipp" ]; then  # it leaves its definitions to lodestone::compiled
    printf '#include <%s>\n' "$header" | "$@" -DLODESTONE_COMPILED -x c++ - ||
      { echo "does not compile alone with LODESTONE_COMPILED: $header"; return 1; }
  fi
  [ "$(grep -v -m 1 '^//' "$0/$header")" = '#pragma once' ] || { echo "no #pragma once after its first comment: $header"; return 1; }
}
export -f alone
xargs -P "$(nproc)" -I{} bash -c 'alone "$@"' "$include" {} \
  "$@" -fsyntax-only -Wall -Wextra -Wconversion -Wpedantic -Werror -I "$include" <<<"$headers"
echo "$(wc -w <<<"$headers") headers compile alone"
# Without libcurl, which is optional.
echo '#include <lodestone/generate/endpoint.hpp>' |
  "$@" -fsyntax-only -Wall -Wextra -Wconversion -Wpedantic -Werror -DLODESTONE_ENDPOINT=0 -I "$include" -x c++ -

# compiled_*.hpp is for lodestone::compiled alone, and arrives through the headers whose templates it lists.
reached=$(printf '#include <lodestone/%s.hpp>\n' lodestone generation evaluation synthesis | "$@" -I "$include" -M -x c++ - | tr ' ' '\n' | sed -n "s|^$include/||p" | sort -u)
unreached=$(grep -v '/compiled\|^lodestone/cuda' <<<"$headers" | comm -23 - <(sort -u <<<"$reached"))
[ -z "$unreached" ] || { echo "lodestone.hpp, generation.hpp, evaluation.hpp and synthesis.hpp do not include: $unreached"; exit 1; }

# The CUDA umbrellas, by name alone, since cuda.cuh needs nvcc: each header is included by its umbrella or by another.
for kind in hpp cuh; do
  for header in "$include"/lodestone/cuda/*.$kind; do
    grep -q "^#include <lodestone/cuda/$(basename "$header")>" "$include/lodestone/cuda.$kind" "$include"/lodestone/cuda/*.$kind ||
      { echo "cuda.$kind does not reach: $header"; exit 1; }
  done
done
