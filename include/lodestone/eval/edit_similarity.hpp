// How alike two strings are, from 0 to 1: by matching blocks, by insertions and deletions, and for a line of code.
#pragma once

#include <string>
#include <string_view>

namespace lodestone::eval {

/// 2 M / (n + m), where M characters are in matching blocks: the longest block that both strings (n and m code points)
/// have, then the longest ones left and right of it, and so on. Characters that fill more than 1% of a right side of
/// 200 or more start no block. That is difflib.SequenceMatcher(None, left, right).ratio() of Python, which is not
/// symmetric; 1 for two empty strings.
[[nodiscard]] double block_ratio(std::string_view left, std::string_view right);

/// 2 L / (n + m), where L is the length of the longest common subsequence: 1 - the insertions and deletions that turn
/// one into the other / (n + m). The ratio of rapidfuzz and of python-Levenshtein; 1 for two empty strings.
[[nodiscard]] double indel_ratio(std::string_view left, std::string_view right);

/// The first line without `, # and //, after line ends at the start: what LongBench takes for the predicted line of
/// code; empty when every line has one of them.
[[nodiscard]] std::string first_code_line(std::string_view answer);

/// LongBench's code_sim_score with the packages that it asks for: block_ratio() of first_code_line() and the
/// reference, rounded to whole percents (halves to even); 1 for equal strings, 0 if just one is empty.
[[nodiscard]] double code_similarity(std::string_view answer, std::string_view reference);

}  // namespace lodestone::eval

#ifndef LODESTONE_COMPILED
#include <lodestone/eval/edit_similarity.ipp>
#endif
