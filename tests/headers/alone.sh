#!/usr/bin/env bash
# Compiles every public header alone (syntax only), warnings being errors, and checks that lodestone.hpp includes them
# all. Usage: alone.sh COMPILER ARGUMENTS...
set -eu
include=$(cd "$(dirname "$0")/../../include" && pwd)
headers=$(cd "$include" && find lodestone -name '*.hpp' | sort)

alone() {
  local header=$1
  shift
  printf '#include <%s>\n' "$header" | "$@" -x c++ - || { echo "does not compile alone: $header"; return 1; }
  [ "$(grep -v -m 1 '^//' "$0/$header")" = '#pragma once' ] || { echo "no #pragma once after its first comment: $header"; return 1; }
}
export -f alone
xargs -P "$(nproc)" -I{} bash -c 'alone "$@"' "$include" {} \
  "$@" -fsyntax-only -Wall -Wextra -Wconversion -Wpedantic -Werror -I "$include" <<<"$headers"
echo "$(wc -w <<<"$headers") headers compile alone"

# compiled_*.hpp is for lodestone::compiled alone, and arrives through the headers whose templates it lists.
reached=$(echo '#include <lodestone/lodestone.hpp>' | "$@" -I "$include" -M -x c++ - | tr ' ' '\n' | sed -n "s|^$include/||p" | sort -u)
unreached=$(grep -v '/compiled' <<<"$headers" | comm -23 - <(sort -u <<<"$reached"))
[ -z "$unreached" ] || { echo "lodestone.hpp does not include: $unreached"; exit 1; }
