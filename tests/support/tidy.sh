#!/usr/bin/env bash
# clang-tidy over the public headers (all at once, through the umbrella headers) and the programs in examples.
# .clang-tidy says which checks run. Usage: tidy.sh [source...]; needs no build folder.
set -eu
cd "$(dirname "$0")/../.."
umbrella=$(mktemp --suffix=.cpp)
trap 'rm -f "$umbrella"' EXIT
printf '#include <lodestone/%s.hpp>\n' lodestone generation evaluation synthesis >"$umbrella"
if [ $# -gt 0 ]; then sources=("$@"); else sources=("$umbrella" examples/lodestone/*.cpp examples/[0-9]*.cpp); fi

tidy() {  # a header is reported once: with the umbrella
  local filter='examples/.*'
  [ "$1" != "$2" ] || filter='include/lodestone/.*'
  clang-tidy --quiet --config-file=.clang-tidy --header-filter="$filter" "$2" -- -std=c++20 -I include \
    -isystem /usr/include/eigen3 -DTOML_HEADER_ONLY=1 '-DLODESTONE_EXAMPLES_DIR=""' 2>/dev/null || { echo "clang-tidy: $2"; return 1; }
}
export -f tidy
printf '%s\n' "${sources[@]}" | xargs -P "$(nproc)" -I{} bash -c 'tidy "$0" "$1"' "$umbrella" {}
echo "clang-tidy: ${#sources[@]} sources, nothing found"
