// Preference groups in memory, for tests: prompts with several answers, every answer token a target.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <lodestone/batching/assemble.hpp>
#include <lodestone/batching/concept.hpp>
#include <lodestone/batching/example.hpp>
#include <lodestone/batching/separate.hpp>
#include <lodestone/batching/shared_prefix.hpp>
#include <lodestone/core/random.hpp>

namespace lodestone_test {

/// A model of example_store whose examples are the answers, each with its prompt in front.
class answer_set {
 public:
  /// A group: the first answer is the chosen one.
  void add(const std::vector<std::int32_t>& prompt, const std::vector<std::vector<std::int32_t>>& answers) {
    for (std::size_t j = 0; j < answers.size(); ++j) {
      held own{.tokens = prompt, .prompt = static_cast<std::int64_t>(prompt.size()), .group = groups_};
      own.role = static_cast<std::int32_t>(j);
      own.tokens.insert(own.tokens.end(), answers[j].begin(), answers[j].end());
      own.labels.assign(own.tokens.size(), lodestone::no_label);
      own.weights.assign(own.tokens.size(), 0.0F);
      for (std::size_t row = prompt.size() - 1; row + 1 < own.tokens.size(); ++row) {
        own.labels[row] = own.tokens[row + 1];
        own.weights[row] = 1.0F;
      }
      answers_.push_back(own);
    }
    ++groups_;
  }

  /// A group of these sizes with random tokens below 17, and weights and reference values that are not all alike.
  void add(std::int64_t prompt, std::span<const std::int64_t> answers, lodestone::random_stream& random) {
    const auto tokens = [&](std::int64_t count) {
      std::vector<std::int32_t> result(static_cast<std::size_t>(count));
      for (std::int32_t& token : result) token = static_cast<std::int32_t>(random.below(17));
      return result;
    };
    std::vector<std::vector<std::int32_t>> all;
    const std::vector<std::int32_t> first = tokens(prompt);
    for (const std::int64_t size : answers) all.push_back(tokens(size));
    const std::size_t before = answers_.size();
    add(first, all);
    for (std::size_t i = before; i < answers_.size(); ++i) {
      answers_[i].weight = 0.5 + random.uniform();
      answers_[i].reference = -3.0 * random.uniform();
      for (float& weight : answers_[i].weights)
        if (weight > 0.0F) weight = 0.5F + static_cast<float>(random.uniform());
    }
  }

  void change_token(std::size_t example, std::size_t place, std::int32_t token) {
    answers_[example].tokens[place] = token;
  }

  [[nodiscard]] std::int64_t groups() const { return groups_; }
  [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(answers_.size()); }
  [[nodiscard]] std::int64_t length(std::int64_t i) const {
    return static_cast<std::int64_t>(answers_[static_cast<std::size_t>(i)].tokens.size());
  }
  [[nodiscard]] lodestone::example_view operator[](std::int64_t i) const {
    const held& own = answers_[static_cast<std::size_t>(i)];
    return {.tokens = own.tokens,
            .labels = own.labels,
            .weights = own.weights,
            .weight = own.weight,
            .index = i,
            .group = own.group,
            .role = own.role,
            .prompt = own.prompt,
            .reference = own.reference};
  }

 private:
  struct held {
    std::vector<std::int32_t> tokens{};
    std::vector<std::int32_t> labels{};
    std::vector<float> weights{};
    std::int64_t prompt = 0;
    std::int64_t group = 0;
    std::int32_t role = 0;
    double weight = 1.0;
    double reference = 0.0;
  };
  std::vector<held> answers_;
  std::int64_t groups_ = 0;
};
static_assert(lodestone::example_store<answer_set>);

/// All micro-batches of an epoch as one step.
inline lodestone::step_plan as_one_step(const lodestone::epoch_plan& plan) {
  lodestone::step_plan one;
  for (const lodestone::step_plan& step : plan.steps)
    one.micro_batches.insert(one.micro_batches.end(), step.micro_batches.begin(), step.micro_batches.end());
  return one;
}

/// All groups as one step: behind shared prompts, in streams of at most `tokens`.
inline lodestone::step_plan shared(const answer_set& data, std::int64_t tokens) {
  using namespace lodestone::batching;
  return as_one_step(shared_prefix{.tokens = tokens}.plan(shapes(data), 1, 0));
}
/// Answer by answer.
inline lodestone::step_plan separate(const answer_set& data) {
  return as_one_step(lodestone::batching::separate{}.plan(lodestone::batching::shapes(data), 2, 0));
}
/// The rows as other trainers hold them: side by side in one batch.
inline lodestone::step_plan side_by_side(const answer_set& data) {
  lodestone::step_plan step = separate(data);
  for (lodestone::micro_batch& batch : step.micro_batches) batch.arranged = lodestone::arrangement::end_to_end;
  return step;
}

}  // namespace lodestone_test
