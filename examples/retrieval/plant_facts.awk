# Plants facts such as {dako=48213} between the words of a text, one for about every `every` characters, and asks for
# one in `of` of them: a line of JSON in the file `questions` for each, about the document `document`. Names and numbers
# come from `seed` alone, the same with every awk, whose own rand() is not.
function draw(count) {  # in [0, count): Lehmer's generator with Park and Miller's numbers, exact in double
  state = state * 16807 % 2147483647
  return int(state / 2147483647 * count)
}
function name(  k, s, letters) {
  for (k = 0; k < 4; ++k) {
    letters = k % 2 ? "aeiou" : "bcdfghjklmnpqrstvwxz"
    s = s substr(letters, 1 + draw(length(letters)), 1)
  }
  return s
}
BEGIN { state = seed * 1000003 % 2147483647; for (k = 0; k < 9; ++k) draw(1) }
{
  words = split($0, word, " ")
  for (i = 1; i <= words; ++i) {
    printf "%s%s", word[i], (i < words ? " " : "\n")
    if ((since += length(word[i]) + 1) < every) continue
    since = 0
    do fact = name(); while (fact in seen)
    seen[fact] = sprintf("%05d", draw(100000))
    printf "{%s=%s} ", fact, seen[fact]
    if (planted++ % of) continue
    printf "{\"document\": \"%s\", ", document >> questions
    printf "\"question\": \"{%s=\", \"answer\": \"%s\"}\n", fact, seen[fact] >> questions
  }
}
