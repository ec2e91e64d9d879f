// Definitions of choice_shots.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <bit>
#include <iterator>
#include <numeric>
#include <set>
#include <string>
#include <utility>

#include <lodestone/core/error.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/eval/choice_shots.hpp>

namespace lodestone::eval {

namespace detail {

/// The Mersenne Twister's state after init_by_array of one word (Matsumoto and Nishimura, mt19937ar, 2002), which
/// Python seeds with; std::mt19937's own seeds give other sequences. A seed sequence in the standard library's sense.
struct python_seed {
  using result_type = std::uint_least32_t;
  std::uint32_t key;

  template <class Iterator>
  void generate(Iterator begin, Iterator end) const {
    std::vector<std::uint32_t> state(static_cast<std::size_t>(std::distance(begin, end)));
    const std::size_t n = state.size();
    const auto mixed = [&](std::size_t i) {
      const std::uint32_t before = state[i - 1];
      return before ^ (before >> 30U);
    };
    state[0] = 19'650'218U;
    for (std::size_t i = 1; i < n; ++i) state[i] = 1'812'433'253U * mixed(i) + static_cast<std::uint32_t>(i);
    std::size_t i = 1;
    const auto advance = [&] {
      if (++i < n) return;
      state[0] = state[n - 1];
      i = 1;
    };
    for (std::size_t k = 0; k < n; ++k, advance()) state[i] = (state[i] ^ (mixed(i) * 1'664'525U)) + key;
    for (std::size_t k = 1; k < n; ++k, advance())
      state[i] = (state[i] ^ (mixed(i) * 1'566'083'941U)) - static_cast<std::uint32_t>(i);
    state[0] = 0x8000'0000U;
    std::copy(state.begin(), state.end(), begin);
  }
};

}  // namespace detail

LODESTONE_INLINE python_random::python_random(std::uint32_t seed) {
  detail::python_seed words{seed};
  engine_.seed(words);
}

LODESTONE_INLINE std::size_t python_random::below(std::size_t size) {
  const int bits = static_cast<int>(std::bit_width(size));
  for (;;)
    if (const std::size_t drawn = static_cast<std::size_t>(engine_()) >> (32 - bits); drawn < size) return drawn;
}

LODESTONE_INLINE std::vector<std::size_t> python_random::sample(std::size_t size, std::size_t count) {
  // Python shuffles a list where that is smaller than its set of drawn numbers: other draws.
  std::size_t set_size = 21;
  if (count > 5) {
    std::size_t power = 1;
    while (power < 3 * count) power *= 4;
    set_size += power;
  }
  std::vector<std::size_t> result;
  result.reserve(count);
  if (size <= set_size) {
    std::vector<std::size_t> pool(size);
    std::iota(pool.begin(), pool.end(), std::size_t{0});
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t drawn = below(size - i);
      result.push_back(std::exchange(pool[drawn], pool[size - i - 1]));
    }
    return result;
  }
  std::set<std::size_t> drawn;
  while (result.size() < count)
    if (const std::size_t own = below(size); drawn.insert(own).second) result.push_back(own);
  return result;
}

LODESTONE_INLINE void add_shots(choice_task& task, const choice_task& examples, const shot_options& options) {
  if (options.count < 0) throw config_error("must be 0 or more", "shots");
  if (options.count == 0) return;
  const auto count = static_cast<std::size_t>(options.count);
  const std::size_t drawn = count + (options.has_spare ? 1 : 0), there = examples.questions.size();
  if (there < drawn)
    throw data_error(std::to_string(there) + " examples, and " + std::to_string(drawn) + " are drawn for each question",
                     task.name + " examples", "give a file with more of them, or ask for fewer");
  std::vector<std::string> shown;
  shown.reserve(there);
  for (const choice_question& own : examples.questions) {
    const auto right = std::find(own.is_right.begin(), own.is_right.end(), true);
    if (right == own.is_right.end() || own.is_right.size() != own.choices.size())
      throw data_error("no choice is right", task.name + " example " + own.id, "give another example");
    shown.push_back(own.prompt + " " + own.choices[static_cast<std::size_t>(right - own.is_right.begin())] + "\n\n");
  }
  python_random random(options.seed);
  for (choice_question& asked : task.questions) {
    std::string before;
    std::size_t left = count;
    for (const std::size_t k : random.sample(there, drawn)) {
      const choice_question& own = examples.questions[k];
      if (own.id == asked.id && own.prompt == asked.prompt && own.choices == asked.choices) continue;
      if (left == 0) break;
      before += shown[k];
      --left;
    }
    asked.prompt.insert(0, before);
  }
}

}  // namespace lodestone::eval
