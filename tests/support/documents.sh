#!/usr/bin/env bash
# Checks the documents: code quoted from a file equals the file, and links between pages lead somewhere.
# A quotation is a code block below a line <!-- quote: path --> or <!-- quote: path:START -->; the latter quotes from the
# line that begins with START to the next line that begins with a closing brace.
set -eu
cd "$(dirname "$0")/../.."
failures=0
complain() { echo "$*"; failures=$((failures + 1)); }

quotations=0
for page in README.md docs/*.md; do
  while IFS= read -r marker; do
    quotations=$((quotations + 1))
    file=${marker%%:*} start=''
    case $marker in *:*) start=${marker#*:} ;; esac
    [ -f "$file" ] || { complain "$page quotes $file, which does not exist"; continue; }
    quoted=$(awk -v marker="<!-- quote: $marker -->" \
      '$0 == marker {on = 1} on && /^```$/ {exit} on == 2 {print} on == 1 && /^```/ {on = 2}' "$page")
    if [ -n "$start" ]; then
      original=$(awk -v start="$start" 'index($0, start) == 1 {on = 1} on {print} on && /^}/ {exit}' "$file")
    else
      original=$(cat "$file")
    fi
    if [ -z "$original" ] || [ "$quoted" != "$original" ]; then
      complain "$page: the quotation of $marker differs from the file: $(diff <(echo "$original") <(echo "$quoted") | head -n 4)"
    fi
  done < <(sed -n 's/^<!-- quote: \(.*\) -->$/\1/p' "$page")

  while IFS= read -r link; do
    case $link in http*|'#'*|mailto:*) continue ;; esac
    [ -e "$(dirname "$page")/${link%%#*}" ] || complain "$page links to $link, which does not exist"
  done < <(sed '/^```/,/^```$/d' "$page" | grep -o '](\([^)]*\))' | sed 's/^](//; s/)$//')
done

# A test that the support matrix or the lists of features name exists: `room/case` in tests/room.
tests=0
for page in docs/05_support_matrix.md docs/11_features.md; do
  while IFS=/ read -r room case; do
    tests=$((tests + 1))
    grep -qs "\(CASE\|TEMPLATE\)($case[,)]" tests/"$room"/*.cpp || complain "$page names $room/$case, which is no test"
  done < <(grep -o '`[a-z]*/[a-z0-9_]*`' $page | tr -d '`' | sort -u)
done

echo "$quotations quotations compared, $tests names of tests found"
[ $failures -eq 0 ]
