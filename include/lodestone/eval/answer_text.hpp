// Text as the scorers of published benchmarks see it: lower case, words, and answers without what does not count.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace lodestone::eval {

/// The code points of UTF-8; a byte that belongs to no character counts as U+FFFD.
[[nodiscard]] std::u32string code_points(std::string_view text);

/// The UTF-8 of code points.
[[nodiscard]] std::string utf8_of(std::u32string_view text);

/// Lower case as Unicode's default mapping has it, with its two exceptions (a dotted capital I becomes two characters,
/// a sigma at the end of a word the final one): str.lower() of Python, which the scorers are written in.
[[nodiscard]] std::string lower_case(std::string_view text);

/// The words between white space; that of Unicode and the separators U+001C to U+001F, as in Python's str.split().
[[nodiscard]] std::vector<std::string> split_words(std::string_view text);

/// An answer as SQuAD's scorer compares it: lower case, without ASCII punctuation, then without the words a, an and
/// the, one space between words. A word ends where letters, digits and underscores end: a combining mark ends it too.
[[nodiscard]] std::string normalise_answer(std::string_view answer);

/// An answer as LongBench compares Chinese ones: lower case, without white space, ASCII punctuation and the Chinese
/// punctuation of its list, which has the closing but not the opening double angle bracket (U+300B, U+300A).
[[nodiscard]] std::string normalise_chinese_answer(std::string_view answer);

/// Cuts a text into words.
using word_splitter = std::function<std::vector<std::string>(std::string_view)>;

/// A rule for Chinese that needs no dictionary: a run of ASCII letters and digits is a word, so is every other
/// character that is not white space. Scores over these words differ from those over words of a dictionary.
[[nodiscard]] std::vector<std::string> characters_as_words(std::string_view text);

}  // namespace lodestone::eval

#ifndef LODESTONE_COMPILED
#include <lodestone/eval/answer_text.ipp>
#endif
