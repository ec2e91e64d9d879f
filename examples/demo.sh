#!/usr/bin/env bash
# Builds the command-line program and runs its demonstration: LongAlign on real documents, in minutes, on the CPU or,
# with --backend cuda, on a GPU.
# Usage: bash examples/demo.sh [arguments of `lodestone demo`]
set -euo pipefail
here=$(pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. examples/packages.sh

preset=cpu
case " $* " in
  *' --backend cuda '* | *' --backend=cuda '*)
    preset=cuda
    command -v nvcc >/dev/null || [ -x /usr/local/cuda/bin/nvcc ] ||
      fail "--backend cuda needs nvcc 13, and the GPU's driver"
    ;;
esac

install_missing_packages
say "Configuring (build/$preset)"
cmake --preset $preset
say "Building the program (a few minutes the first time)"
cmake --build --preset $preset --target lodestone_cli
program=$(pwd)/build/$preset/bin/lodestone
say "Running: $program demo $*"
cd "$here"
exec "$program" demo "$@"
