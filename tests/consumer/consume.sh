#!/usr/bin/env bash
# Builds and runs the README's sample program in one of the ways that the README shows.
# Usage: consume.sh CMAKE COMPILER BUILD_FOLDER find_package|add_subdirectory|fetch_content|include_path|...
set -eu
cmake=$1 compiler=$2 build=$3 way=$4
source=$(cd "$(dirname "$0")/../.." && pwd)
folder=$(mktemp -d "${TMPDIR:-/tmp}/lodestone_consumer_XXXXXX")
trap 'rm -rf "$folder"' EXIT

# The code block of README.md that follows the marker <!-- name -->.
block() { awk -v marker="<!-- $1 -->" '$0 == marker {on = 1} on && /^```$/ {exit} on == 2 {print} on == 1 && /^```/ {on = 2}' "$source/README.md"; }

block main.cpp >"$folder/main.cpp"
grep -q 'int main' "$folder/main.cpp" || { echo "README.md has no sample program"; exit 1; }

with_cmake() {
  block "$way" >"$folder/CMakeLists.txt"
  sed -i "s|/path/to/lodestone|$source|" "$folder/CMakeLists.txt"
  cat "$folder/CMakeLists.txt"
  "$cmake" -S "$folder" -B "$folder/build" -G Ninja -DCMAKE_CXX_COMPILER="$compiler" "$@"
  "$cmake" --build "$folder/build"
  "$folder/build/sample"
}

case $way in
  find_package)
    "$cmake" --install "$build" --prefix "$folder/first" >/dev/null
    mv "$folder/first" "$folder/moved"  # an installed package may be moved
    with_cmake -DCMAKE_PREFIX_PATH="$folder/moved"
    if grep -rqF -e "$source" -e "$folder" "$folder"/moved/*/cmake; then echo "the package names its build folder"; exit 1; fi
    ;;
  add_subdirectory | fetch_content) with_cmake ;;
  include_path)
    block include_path >"$folder/command"
    sed -i "s|/path/to/lodestone|$source|; s|^g++|$compiler|" "$folder/command"
    (cd "$folder" && bash -eux command && ./sample)
    ;;
  standard_library_alone)
    # A packer and a loss, with nothing but our headers and the compiler's own: the list of files read proves it.
    for example in 01_pack_lengths 02_custom_loss; do
      "$compiler" -std=c++20 -O1 -Wall -Wextra -Wconversion -Wpedantic -Werror -I "$source/include" -MD -MF "$folder/read" \
        "$source/examples/$example.cpp" -o "$folder/$example"
      if tr ' ' '\n' <"$folder/read" | grep -E '/(eigen3|Eigen|range|nlohmann|boost|CLI|toml\+\+)/|pcre2|utf8proc'; then
        echo "$example reads headers of other packages"; exit 1
      fi
      "$folder/$example"
    done
    ;;
  header_only)
    # A whole training program from the headers alone; everywhere else tests and examples link lodestone::compiled.
    (cd "$folder" && "$compiler" -std=c++20 -O1 -I "$source/include" -isystem /usr/include/eigen3 \
      "$source/examples/05_train.cpp" -o train -lpcre2-8 -lutf8proc -pthread && ./train "$source/examples/data")
    ;;
  *) echo "unknown way $way"; exit 1 ;;
esac
