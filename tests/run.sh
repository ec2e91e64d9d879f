#!/usr/bin/env bash
# Configures, builds and runs all tests (build/cpu). With --all also: the tests under the address and undefined-behaviour
# sanitizers, a few seconds of every libFuzzer program, Doxygen without warnings, and clang-tidy. With --gpu only the tests
# of the CUDA backend (build/cuda), which then must not be skipped.
# Usage: bash tests/run.sh [--all | --gpu]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. examples/packages.sh

all=no
gpu=no
case "${1:-}" in
  '') ;;
  --all) all=yes ;;
  --gpu) gpu=yes ;;
  *) fail "unknown argument $1; usage: bash tests/run.sh [--all | --gpu]" ;;
esac

install_missing_packages
if [ $all = yes ]; then
  for program in clang++ clang-tidy doxygen; do
    command -v $program >/dev/null ||
      fail "--all needs clang, clang-tidy and doxygen (apt-get install clang clang-tidy doxygen libclang-rt-14-dev)"
  done
fi

if [ $gpu = yes ]; then
  command -v nvcc >/dev/null || [ -x /usr/local/cuda/bin/nvcc ] || fail "--gpu needs nvcc 13, and the GPU's driver"
  say "Configuring (build/cuda)"
  cmake --preset cuda
  say "Building the tests of the CUDA backend (build/cuda)"
  cmake --build --preset cuda --target test_cuda
  say "Testing on the GPU"
  log=$(ctest --preset cuda --tests-regex '^cuda$' --verbose) || { echo "$log"; exit 1; }
  echo "$log"
  ! grep -q 'SKIPPED: no usable GPU' <<<"$log" || fail "no usable GPU: nothing was tested"
  exit 0
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
