// Keys, numbers and made-up words for tests that are made on the spot: distinct, and the same for the same stream.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/core/random.hpp>

namespace lodestone::eval {

/// `count` distinct names of two words, such as "amber lighthouse"; at most 1,600.
[[nodiscard]] std::vector<std::string> draw_keys(std::size_t count, random_stream& random);

/// `count` distinct names of `letters` letters, consonants and vowels by turns: dako.
[[nodiscard]] std::vector<std::string> draw_letter_keys(std::size_t count, random_stream& random,
                                                        std::int64_t letters = 4);

/// `count` distinct numbers of `digits` digits, the first one not 0.
[[nodiscard]] std::vector<std::string> draw_numbers(std::size_t count, std::int64_t digits, random_stream& random);

/// `count` distinct first names; at most 64.
[[nodiscard]] std::vector<std::string> draw_people(std::size_t count, random_stream& random);

/// Word number i of a million made-up words of three syllables, all distinct.
[[nodiscard]] std::string made_up_word(std::uint64_t i);

/// `text` with every `slot` replaced by `value`.
[[nodiscard]] std::string fill_slot(std::string_view text, std::string_view slot, std::string_view value);

}  // namespace lodestone::eval

#ifndef LODESTONE_COMPILED
#include <lodestone/eval/drawn_words.ipp>
#endif
