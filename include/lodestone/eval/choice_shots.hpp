// Answered examples before the questions of a multiple-choice task, drawn as lm-evaluation-harness draws them.
//
//     eval::choice_task task = eval::read_arc("test.jsonl");
//     eval::add_shots(task, eval::read_arc("train.jsonl"), {.count = 25});
//
// MMLU's examples are those of its subjects: read_mmlu() takes their number itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include <lodestone/eval/multiple_choice.hpp>

namespace lodestone::eval {

/// Which examples a question has before it. The defaults are the harness's.
struct shot_options {
  std::int64_t count = 0;  ///< examples before each question; 0: none
  /// Draws one more for each question, so that as many are left where the question itself is among them. The harness
  /// does so where examples and questions are of one split, and for HellaSwag.
  bool has_spare = false;
  std::uint32_t seed = 1234;  ///< of all draws, which follow the order of the questions
};

/// Puts answered examples before the prompt of every question: prompt, a space, the first right choice, an empty line.
///
/// Each question draws its own from `examples`, without repetition and in the order of the draw, as Python's
/// random.Random(seed).sample does; one that equals the question in id, prompt and choices is left out. So the first
/// questions of a task have the same examples however many follow. Throws config_error for a negative count and
/// data_error for fewer examples than are drawn, or one without a right choice.
void add_shots(choice_task& task, const choice_task& examples, const shot_options& options);

/// Draws as Python's random.Random(seed), for seeds of 32 bits.
class python_random {
 public:
  /// Begins the sequence of a seed.
  explicit python_random(std::uint32_t seed);

  /// `count` different numbers below `size`: random.sample(range(size), count). Requires count <= size < 2^32.
  [[nodiscard]] std::vector<std::size_t> sample(std::size_t size, std::size_t count);

 private:
  [[nodiscard]] std::size_t below(std::size_t size);

  std::mt19937 engine_;
};

}  // namespace lodestone::eval

#ifndef LODESTONE_COMPILED
#include <lodestone/eval/choice_shots.ipp>
#endif
