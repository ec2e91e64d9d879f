#!/usr/bin/env bash
# clang-tidy over every public header and every source of ours (.clang-tidy says which checks, and why not others).
# Usage: tidy.sh [file...]; needs no build folder.
set -eu
cd "$(dirname "$0")/../.."
if [ $# -gt 0 ]; then files=("$@"); else
  mapfile -t files < <(find include examples tests -name '*.cpp' -o -name '*.hpp' | sort)
fi
printf '%s\n' "${files[@]}" |
  xargs -P "$(nproc)" -n 1 sh -c 'clang-tidy --quiet "$1" -- -x c++ -std=c++20 -I include -I tests -isystem /usr/include/eigen3 \
    -DBOOST_TEST_DYN_LINK -DTOML_HEADER_ONLY=1 -DLODESTONE_SOURCE_DIR=\"\" -DLODESTONE_EXAMPLES_DIR=\"\" -Wno-pragma-once-outside-header \
    2>/dev/null || { echo "clang-tidy: $1"; exit 1; }' tidy
echo "clang-tidy: ${#files[@]} files, nothing found"
