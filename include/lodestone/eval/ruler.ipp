// Definitions of ruler.hpp: included by it, or compiled once into lodestone::compiled. More than 300 lines: eight
// tests, each a function that draws its facts and writes its text.
#pragma once

#include <algorithm>
#include <array>
#include <functional>
#include <utility>

#include <lodestone/core/error.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/core/random.hpp>
#include <lodestone/eval/drawn_words.hpp>
#include <lodestone/eval/ruler.hpp>

namespace lodestone::eval {

namespace detail {

/// One question: what its answer must hold, and its prompt with so many units of text that has nothing to say. Prompts
/// grow with their units, and what is expected does not depend on them.
struct ruler_sample {
  std::vector<std::string> expected{};
  std::function<std::string(std::size_t units)> prompt{};
};

/// A sentence of no interest, number j of the stream of fillers `at`.
[[nodiscard]] LODESTONE_INLINE std::string filler(std::uint64_t at, std::size_t j) {
  static constexpr std::array<std::string_view, 12> who{
      "The baker",    "A traveller", "The teacher", "An old sailor", "The neighbour", "A young painter",
      "The gardener", "A clerk",     "The doctor",  "A farmer",      "The musician",  "A child"};
  static constexpr std::array<std::string_view, 14> does{"walked along the river",
                                                         "looked out of the window",
                                                         "waited for the rain to stop",
                                                         "talked about the weather",
                                                         "read a long letter",
                                                         "carried a heavy basket",
                                                         "sat in the shade",
                                                         "told an old story",
                                                         "closed the door quietly",
                                                         "counted the passing carts",
                                                         "drank a cup of tea",
                                                         "listened to the bells",
                                                         "swept the yard",
                                                         "fed the hens"};
  static constexpr std::array<std::string_view, 12> when{
      "in the morning", "before noon",    "after the market", "on a cold day",
      "once again",     "without a word", "in the evening",   "all afternoon",
      "as every week",  "before supper",  "under a grey sky", "when the work was done"};
  random_stream random(at, random_purpose::synthesis, 7, j);
  std::string text(who[random.below(who.size())]);
  text.append(" ").append(does[random.below(does.size())]).append(" ").append(when[random.below(when.size())]);
  return text + ".";
}

/// `parts` at places (shares of the text, ascending) between `units` sentences.
[[nodiscard]] LODESTONE_INLINE std::string between(const std::vector<std::string>& parts,
                                                   const std::vector<double>& places, std::size_t units,
                                                   const std::function<std::string(std::size_t)>& sentence) {
  std::string text;
  std::size_t next = 0;
  for (std::size_t j = 0; j <= units; ++j) {
    for (; next < parts.size() && (j == units || places[next] * static_cast<double>(units) < static_cast<double>(j));
         ++next)
      text.append(text.empty() ? "" : " ").append(parts[next]);
    if (j < units) text.append(text.empty() ? "" : " ").append(sentence(j));
  }
  return text;
}

/// `count` places in [0, 1), ascending.
[[nodiscard]] LODESTONE_INLINE std::vector<double> draw_places(std::size_t count, random_stream& random) {
  std::vector<double> places(count);
  for (double& place : places) place = random.uniform();
  std::sort(places.begin(), places.end());
  return places;
}

[[nodiscard]] LODESTONE_INLINE std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t k = 0; k < names.size(); ++k)
    text.append(k == 0 ? "" : k + 1 == names.size() ? " and " : ", ").append("\"" + names[k] + "\"");
  return text;
}

[[nodiscard]] LODESTONE_INLINE std::string number_of(std::string_view key, std::string_view value) {
  return "The number of \"" + std::string(key) + "\" is " + std::string(value) + ".";
}

/// Numbers under names: `asked` names with `values` numbers each.
[[nodiscard]] LODESTONE_INLINE ruler_sample draw_key_values(std::size_t asked, std::size_t values, bool is_all_numbers,
                                                            std::uint64_t seed, random_stream& random) {
  const std::vector<std::string> keys = draw_keys(asked, random);
  ruler_sample sample;
  sample.expected = draw_numbers(asked * values, 7, random);
  std::vector<std::string> facts;
  for (std::size_t k = 0; k < sample.expected.size(); ++k)
    facts.push_back(number_of(keys[k / values], sample.expected[k]));
  shuffle(std::span{facts}, random);
  const std::vector<double> places = draw_places(facts.size(), random);
  // Other names are made-up words and other numbers have eight digits: none is asked for by chance.
  const auto other = [seed](std::size_t j) {
    random_stream own(seed, random_purpose::synthesis, 8, j);
    return number_of(made_up_word(own.below(1'000'000)) + " " + made_up_word(own.below(1'000'000)),
                     draw_numbers(1, 8, own).front());
  };
  const auto sentence = is_all_numbers ? std::function<std::string(std::size_t)>(other)
                                       : [seed](std::size_t j) { return filler(seed, j); };
  const std::string ask = asked == 1 && values == 1
                              ? "What is the number of " + listed(keys) + "? Answer with the number only."
                          : asked == 1 ? "What are all " + std::to_string(values) + " numbers of " + listed(keys) +
                                             "? Answer with the numbers only, separated by commas."
                                       : "What are the numbers of " + listed(keys) +
                                             "? Answer with the numbers only, in this order, separated by commas.";
  sample.prompt = [facts, places, sentence, ask](std::size_t units) {
    return "Read the following text. Numbers of some names are given in it, and a question about them follows.\n\n" +
           between(facts, places, units, sentence) + "\n\n" + ask;
  };
  return sample;
}

[[nodiscard]] LODESTONE_INLINE ruler_sample draw_variables(std::uint64_t seed, random_stream& random) {
  constexpr std::size_t chain = 5;  // a number and four assignments
  std::vector<std::string> names = draw_letter_keys(2 * chain, random, 5);
  for (std::string& name : names)
    for (char& c : name) c = static_cast<char>(c - 'a' + 'A');
  const std::vector<std::string> numbers = draw_numbers(2, 5, random);
  ruler_sample sample;
  sample.expected.assign(names.begin(), names.begin() + chain);
  // Both chains keep their order in the text: an assignment stands behind the one that it needs.
  std::vector<std::string> lines;
  std::array<std::size_t, 2> done{};
  while (done[0] + done[1] < 2 * chain) {
    const std::size_t own = done[0] == chain ? 1 : done[1] == chain ? 0 : random.below(2);
    const std::size_t k = done[own]++;
    const std::string& name = names[own * chain + k];
    lines.push_back("VAR " + name + " = " + (k == 0 ? numbers[own] : "VAR " + names[own * chain + k - 1]) + ".");
  }
  const std::vector<double> places = draw_places(lines.size(), random);
  sample.prompt = [lines, places, seed, number = numbers[0]](std::size_t units) {
    return "Read the following text. Variables are assigned in it: numbers, or the values of other variables.\n\n" +
           between(lines, places, units, [seed](std::size_t j) { return filler(seed, j); }) +
           "\n\nWhich variables have the value " + number +
           " at the end, directly or through other variables? Answer with their five names only, separated by commas.";
  };
  return sample;
}

/// The words of `list` in random order, numbered.
[[nodiscard]] LODESTONE_INLINE std::string shuffled(std::vector<std::string> list, std::uint64_t seed,
                                                    bool is_numbered) {
  random_stream random(seed, random_purpose::synthesis, 9);
  shuffle(std::span{list}, random);
  std::string text;
  for (std::size_t k = 0; k < list.size(); ++k)
    text.append(k == 0 ? "" : " ").append(is_numbered ? std::to_string(k + 1) + ". " : "").append(list[k]);
  return text;
}

[[nodiscard]] LODESTONE_INLINE ruler_sample draw_common_words(std::uint64_t seed, random_stream& random) {
  constexpr std::size_t common = 10;
  const std::uint64_t base = random.below(1'000'000);
  ruler_sample sample;
  for (std::size_t k = 0; k < common; ++k) sample.expected.push_back(made_up_word(base + k));
  sample.prompt = [words = sample.expected, base, seed](std::size_t units) {
    // A common word at least three times, and for every forty others once more; each of the others once.
    std::vector<std::string> list;
    for (const std::string& word : words) list.insert(list.end(), 3 + units / 40, word);
    for (std::size_t k = 0; k < units; ++k) list.push_back(made_up_word(base + common + k));
    return "Below is a numbered list of words. Ten of them stand in it several times, all others once.\n\n" +
           shuffled(std::move(list), seed, true) +
           "\n\nWhich ten words stand in the list several times? Answer with the words only, separated by commas.";
  };
  return sample;
}

[[nodiscard]] LODESTONE_INLINE ruler_sample draw_frequent_words(std::uint64_t seed, random_stream& random) {
  constexpr std::size_t asked = 3;
  const std::uint64_t base = random.below(1'000'000);
  ruler_sample sample;
  for (std::size_t k = 0; k < asked; ++k) sample.expected.push_back(made_up_word(base + k));
  sample.prompt = [base, seed](std::size_t units) {
    // Zipf's law with exponent 2: word k, from 0, about 1 / (k + 1)^2 as often as the first, until once is left.
    const std::size_t words = 48 + units;
    std::vector<std::string> list;
    for (std::size_t k = 0; list.size() < words; ++k) {
      const std::size_t times = std::max<std::size_t>(1, words * 6 / 10 / ((k + 1) * (k + 1)));
      list.insert(list.end(), std::min(times, words - list.size()), made_up_word(base + k));
    }
    return "Below is a text of made-up words.\n\n" + shuffled(std::move(list), seed, false) +
           "\n\nWhich three words are the most frequent ones in the text? Answer with the words only, separated by "
           "commas.";
  };
  return sample;
}

[[nodiscard]] LODESTONE_INLINE ruler_sample draw_hops(std::uint64_t seed, random_stream& random) {
  constexpr std::size_t hops = 4, things = 4;
  std::vector<std::string> objects{"brass key", "blue scarf", "small clock", "wooden flute", "silver spoon", "old map"};
  shuffle(std::span{objects}, random);
  const std::vector<std::string> people = draw_people(things * (hops + 1), random);
  ruler_sample sample;
  sample.expected = {people[hops]};
  std::vector<std::string> facts;
  std::array<std::size_t, things> done{};
  while (facts.size() < things * hops) {
    const std::size_t own = random.below(things);
    if (done[own] == hops) continue;
    const std::size_t k = own * (hops + 1) + done[own]++;
    facts.push_back(people[k] + " gave the " + objects[own] + " to " + people[k + 1] + ".");
  }
  const std::vector<double> places = draw_places(facts.size(), random);
  sample.prompt = [facts, places, seed, thing = objects[0]](std::size_t units) {
    return "Read the following text. People pass things on in it.\n\n" +
           between(facts, places, units, [seed](std::size_t j) { return filler(seed, j); }) + "\n\nWho has the " +
           thing + " at the end? Answer with the name only.";
  };
  return sample;
}

[[nodiscard]] LODESTONE_INLINE ruler_sample draw_sample(ruler_kind kind, std::uint64_t seed, std::size_t i) {
  random_stream random(seed, random_purpose::synthesis, 6, (i << 4) + static_cast<std::size_t>(kind));
  const std::uint64_t own = (std::uint64_t{random()} << 32) | random();
  switch (kind) {
    case ruler_kind::kv_single: return draw_key_values(1, 1, false, own, random);
    case ruler_kind::kv_multikey: return draw_key_values(1, 1, true, own, random);
    case ruler_kind::kv_multivalue: return draw_key_values(1, 4, true, own, random);
    case ruler_kind::kv_multiquery: return draw_key_values(4, 1, true, own, random);
    case ruler_kind::variable_tracking: return draw_variables(own, random);
    case ruler_kind::common_words: return draw_common_words(own, random);
    case ruler_kind::frequent_words: return draw_frequent_words(own, random);
    case ruler_kind::multi_hop: return draw_hops(own, random);
  }
  throw config_error("is none of the tests", "ruler_kind");
}

/// The most units whose prompt has at most `length` tokens.
[[nodiscard]] LODESTONE_INLINE std::size_t units_within(const ruler_sample& sample, const token_count& count,
                                                        std::int64_t length) {
  std::size_t low = 0, high = 16;  // low fits; high does not, once it is found
  const auto tokens = [&](std::size_t units) { return count(sample.prompt(units)); };
  std::int64_t at_low = tokens(0), at_high = tokens(high);
  while (at_high <= length) {  // a straight line through both, or twice as many
    const double slope =
        static_cast<double>(std::max<std::int64_t>(at_high - at_low, 1)) / static_cast<double>(high - low);
    low = high;
    at_low = at_high;
    high = std::max(high + 16, high + static_cast<std::size_t>(1.02 * static_cast<double>(length - at_high) / slope));
    at_high = tokens(high);
  }
  while (high - low > 1) {
    const double share = static_cast<double>(length - at_low) / static_cast<double>(at_high - at_low);
    const auto guess = static_cast<std::size_t>(share * static_cast<double>(high - low));
    // A step to the side of a good guess closes the bracket from both ends.
    const std::size_t middle =
        std::clamp<std::size_t>(low + guess + (high - low > 4 && guess == 0 ? 2 : 0), low + 1, high - 1);
    const std::int64_t at = tokens(middle);
    if (at <= length) {
      low = middle;
      at_low = at;
    } else {
      high = middle;
      at_high = at;
    }
  }
  return low;
}

}  // namespace detail

LODESTONE_INLINE ruler::ruler(ruler_kind kind, token_count count, ruler_options options)
    : kind_(kind), count_(std::move(count)), options_(std::move(options)) {
  if (options_.lengths.empty()) throw config_error("names no length", name() + " lengths", "give lengths in tokens");
  if (options_.repeats < 1) throw config_error("must be at least 1", name() + " repeats");
  if (options_.max_new_tokens < 1) throw config_error("must be at least 1", name() + " max_new_tokens");
  for (std::size_t i = 0; i < size(); ++i) {
    const std::int64_t length = options_.lengths[i / static_cast<std::size_t>(options_.repeats)];
    const std::int64_t bare = count_(detail::draw_sample(kind_, options_.seed, i).prompt(0));
    if (bare > length)
      throw config_error("a prompt of " + std::to_string(length) +
                             " tokens has no room for its words alone, which are " + std::to_string(bare),
                         name() + " lengths", "ask for longer prompts");
  }
}

LODESTONE_INLINE std::size_t ruler::size() const {
  return options_.lengths.size() * static_cast<std::size_t>(options_.repeats);
}

LODESTONE_INLINE std::string ruler::id(std::size_t i) const {
  const auto repeats = static_cast<std::size_t>(options_.repeats);
  return std::to_string(options_.lengths[i / repeats]) + "/" + std::to_string(i % repeats);
}

LODESTONE_INLINE question ruler::ask(std::size_t i) const {
  const std::int64_t length = options_.lengths[i / static_cast<std::size_t>(options_.repeats)];
  const detail::ruler_sample sample = detail::draw_sample(kind_, options_.seed, i);
  return {.id = id(i),
          .prompt = sample.prompt(detail::units_within(sample, count_, length)),
          .is_chat = options_.is_chat,
          .max_new_tokens = options_.max_new_tokens,
          .labels = {{"length", std::to_string(length)}}};
}

LODESTONE_INLINE std::vector<std::string> ruler::expected(std::size_t i) const {
  return detail::draw_sample(kind_, options_.seed, i).expected;
}

LODESTONE_INLINE std::vector<score> ruler::mark(std::size_t i, std::string_view answer) const {
  const std::vector<std::string> all = expected(i);
  const auto found = std::count_if(all.begin(), all.end(), [&](const auto& one) { return holds_words(answer, one); });
  const double share = static_cast<double>(found) / static_cast<double>(all.size());
  return {{.metric = "found", .value = share}, {.metric = "exact_match", .value = share == 1.0 ? 1.0 : 0.0}};
}

}  // namespace lodestone::eval
