// Definitions of drawn_words.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <array>
#include <cstddef>
#include <unordered_set>
#include <utility>

#include <lodestone/core/error.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/eval/drawn_words.hpp>

namespace lodestone::eval {

namespace detail {

inline constexpr std::string_view consonants = "bcdfghjklmnpqrstvwxz";
inline constexpr std::string_view vowels = "aeiou";

/// `count` different results of `make`, of which there are `most`.
template <class Make>
[[nodiscard]] std::vector<std::string> distinct(std::size_t count, double most, std::string_view what,
                                                const Make& make) {
  if (static_cast<double>(count) > most)
    throw config_error("there are not so many different ones: " + std::to_string(count), what, "ask for fewer");
  std::vector<std::string> all;
  std::unordered_set<std::string> seen;
  while (all.size() < count)
    if (std::string next = make(); seen.insert(next).second) all.push_back(std::move(next));
  return all;
}

}  // namespace detail

LODESTONE_INLINE std::vector<std::string> draw_keys(std::size_t count, random_stream& random) {
  static constexpr std::array<std::string_view, 40> kinds{
      "amber",  "ancient", "bright",   "broken", "carved", "cedar",    "coastal", "copper", "crimson", "distant",
      "dusty",  "eastern", "frozen",   "gentle", "golden", "granite",  "green",   "hidden", "hollow",  "iron",
      "ivory",  "lonely",  "marble",   "misty",  "narrow", "northern", "painted", "quiet",  "red",     "royal",
      "silent", "silver",  "southern", "stone",  "sunken", "tall",     "twin",    "velvet", "western", "winding"};
  static constexpr std::array<std::string_view, 40> places{
      "archive",    "bakery", "barn",    "bridge", "cabin",    "canal",   "castle",  "chapel",  "cottage", "courtyard",
      "dairy",      "dock",   "ferry",   "forge",  "fountain", "garden",  "granary", "harbour", "inn",     "library",
      "lighthouse", "market", "mill",    "mine",   "museum",   "orchard", "palace",  "pier",    "quarry",  "school",
      "shipyard",   "stable", "station", "studio", "tavern",   "temple",  "theatre", "tower",   "vault",   "windmill"};
  return detail::distinct(count, 1600, "keys", [&] {
    std::string key(kinds[random.below(kinds.size())]);
    return key.append(" ").append(places[random.below(places.size())]);
  });
}

LODESTONE_INLINE std::vector<std::string> draw_letter_keys(std::size_t count, random_stream& random,
                                                           std::int64_t letters) {
  double most = 1.0;
  for (std::int64_t k = 0; k < letters; ++k) most *= k % 2 == 0 ? 20 : 5;
  return detail::distinct(count, most / 2, "keys", [&] {
    std::string key;
    for (std::int64_t k = 0; k < letters; ++k) {
      const std::string_view from = k % 2 == 0 ? detail::consonants : detail::vowels;
      key += from[random.below(from.size())];
    }
    return key;
  });
}

LODESTONE_INLINE std::vector<std::string> draw_numbers(std::size_t count, std::int64_t digits, random_stream& random) {
  double most = 9.0;
  for (std::int64_t k = 1; k < digits; ++k) most *= 10.0;
  return detail::distinct(count, most / 2, "numbers", [&] {
    std::string number(1, static_cast<char>('1' + random.below(9)));
    for (std::int64_t k = 1; k < digits; ++k) number += static_cast<char>('0' + random.below(10));
    return number;
  });
}

LODESTONE_INLINE std::vector<std::string> draw_people(std::size_t count, random_stream& random) {
  static constexpr std::array<std::string_view, 64> people{
      "Adele",  "Amir",  "Anton",  "Beatriz", "Boris",  "Carla",  "Chen",   "Clara",  "Daniel", "Dora",   "Edgar",
      "Elena",  "Emil",  "Esther", "Farid",   "Fiona",  "Franz",  "Gita",   "Greta",  "Hana",   "Hector", "Ida",
      "Igor",   "Ines",  "Ivan",   "Jakob",   "Joana",  "Kamal",  "Karin",  "Kenji",  "Lars",   "Leila",  "Lena",
      "Luis",   "Magda", "Marco",  "Maria",   "Martin", "Mila",   "Nadia",  "Nils",   "Nora",   "Olga",   "Omar",
      "Oscar",  "Paula", "Pedro",  "Petra",   "Rafael", "Rosa",   "Ruth",   "Samuel", "Selma",  "Simon",  "Sofia",
      "Stefan", "Tamar", "Teresa", "Tomas",   "Ursula", "Viktor", "Walter", "Yara",   "Zoltan"};
  return detail::distinct(count, people.size(), "people",
                          [&] { return std::string(people[random.below(people.size())]); });
}

LODESTONE_INLINE std::string made_up_word(std::uint64_t i) {
  // A step that shares no divisor with 10^6 visits every word once: neighbours in i look nothing alike.
  std::uint64_t at = (i * 617'087 + 271'829) % 1'000'000;
  std::string word;
  for (int syllable = 0; syllable < 3; ++syllable) {
    word += detail::consonants[at % 20];
    word += detail::vowels[at / 20 % 5];
    at /= 100;
  }
  return word;
}

LODESTONE_INLINE std::string fill_slot(std::string_view text, std::string_view slot, std::string_view value) {
  std::string filled;
  for (;;) {
    const std::size_t at = text.find(slot);
    filled.append(text.substr(0, at));
    if (at == std::string_view::npos) return filled;
    filled.append(value);
    text.remove_prefix(at + slot.size());
  }
}

}  // namespace lodestone::eval
