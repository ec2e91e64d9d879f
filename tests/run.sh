#!/usr/bin/env bash
# Configures, builds and runs all tests (build/cpu). With --all also: the tests under the address and undefined-behaviour
# sanitizers, a few seconds of every libFuzzer program, Doxygen without warnings, and clang-tidy.
# Usage: bash tests/run.sh [--all]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. examples/packages.sh

all=no
case "${1:-}" in
  '') ;;
  --all) all=yes ;;
  *) fail "unknown argument $1; usage: bash tests/run.sh [--all]" ;;
esac

install_missing_packages
if [ $all = yes ]; then
  for program in clang++ clang-tidy doxygen; do
    command -v $program >/dev/null ||
      fail "--all needs clang, clang-tidy and doxygen (apt-get install clang clang-tidy doxygen libclang-rt-14-dev)"
  done
fi

run_preset() {  # preset
  say "Configuring (build/$1)"
  cmake --preset "$1"
  say "Building (build/$1)"
  cmake --build --preset "$1"
  say "Testing (build/$1)"
  ctest --preset "$1" --parallel "$(nproc)"
}

run_preset cpu
[ $all = yes ] || exit 0

run_preset asan

say "Fuzzing, ${LODESTONE_FUZZ_SECONDS:-10} seconds for each program"
cmake --preset fuzz
cmake --build --preset fuzz --target fuzz_programs
for program in build/fuzz/bin/tests/fuzz_*; do
  name=$(basename "$program")
  corpus=build/fuzz/corpus/${name#fuzz_}
  mkdir -p "$corpus"
  "$program" -max_total_time="${LODESTONE_FUZZ_SECONDS:-10}" -timeout=10 -rss_limit_mb=4096 -print_final_stats=0 \
    -verbosity=0 -artifact_prefix="$corpus-" "$corpus" "tests/fuzz/seeds/${name#fuzz_}"
  echo "$name: nothing found"
done

say "Documentation"
bash tests/support/documentation.sh

say "clang-tidy"
bash tests/support/tidy.sh
say "Everything passed"
