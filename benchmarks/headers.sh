#!/usr/bin/env bash
# What headers cost to include: CPU seconds of g++ -fsyntax-only, the least of three runs, as the tables of
# docs/header_costs.md: from headers alone, and for a program that links lodestone::compiled. "Own" is what remains when
# the packages that a header includes have been included before it.
# Usage: bash benchmarks/headers.sh [header...]   e.g. lodestone/batching/packed.hpp; without arguments one of each room
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."
eigen=$(for folder in /usr/include/eigen3 /usr/local/include/eigen3; do [ -d $folder ] && echo "-isystem $folder"; done | head -n 1)

cost() {  # source text, argument of the compiler... -> CPU seconds
  local best=999 now _ text=$1
  shift
  for _ in 1 2 3; do
    # shellcheck disable=SC2086
    now=$( { TIMEFORMAT='%U %S'; time printf '%b' "$text" | g++ -std=c++20 -fsyntax-only "$@" -I include $eigen -x c++ - >&2; } 2>&1 | tail -n 1 | awk '{print $1 + $2}')
    best=$(awk -v a="$best" -v b="$now" 'BEGIN {print a < b ? a : b}')
  done
  echo "$best"
}

if [ $# -gt 0 ]; then headers=("$@"); else
  headers=(lodestone/lodestone.hpp)
  for room in include/lodestone/*/; do
    mapfile -t -O ${#headers[@]} headers < <(cd include && find lodestone/"$(basename "$room")" -name '*.hpp' ! -name 'compiled*' -printf '%s %p\n' | sort -rn | head -n 2 | cut -d ' ' -f 2)
  done
fi

empty=$(cost '\n')
table() {  # argument of the compiler...
  printf '| header | all, s | third-party, s | standard library, s | own, s |\n|---|---|---|---|---|\n'
  local header read_files packages known standard all beside basis
  for header in "${headers[@]}"; do
    # shellcheck disable=SC2086
    read_files=$(echo "#include <$header>" | g++ -std=c++20 "$@" -I include $eigen -M -x c++ - | tr ' ' '\n')
    packages=''
    for known in Eigen/Core nlohmann/json.hpp nlohmann/json_fwd.hpp pcre2.h utf8proc.h; do
      if grep -q "/$known\$" <<<"$read_files"; then
        [ $known != pcre2.h ] || packages+='#define PCRE2_CODE_UNIT_WIDTH 8\n'
        packages+="#include <$known>\n"
      fi
    done
    # The standard headers that our own headers name, in the closure of this header.
    standard=$(grep -o 'include/lodestone/.*pp' <<<"$read_files" | xargs -r sed -n 's/^#include <\([a-z_/]*\(\.h\)\?\)>$/\1/p' | grep -v lodestone |
      sort -u | while read -r name; do printf '#include <%s>\\n' "$name"; done)
    all=$(cost "#include <$header>\n" "$@")
    beside=$(cost "$packages$standard" "$@")
    basis=$(cost "$standard" "$@")
    awk -v h="$header" -v e="$empty" -v a="$all" -v b="$beside" -v s="$basis" \
      'BEGIN {own = a - b; if (own < 0) own = 0; third = b - s; if (third < 0) third = 0; printf "| %s | %.2f | %.2f | %.2f | %.2f |\n", h, a - e, third, s - e, own}'
  done
}

echo 'From headers alone:'
table
echo 'With lodestone::compiled:'
table -DLODESTONE_COMPILED
