// Exact match by greedy generation: every question of a context is asked with one prefill of the context.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include <lodestone/generate/tokens.hpp>

#include "task.hpp"

namespace retrieval {

struct exact_match {
  std::int64_t asked = 0;
  std::int64_t begun = 0;  ///< answers whose first token is right
  std::int64_t right = 0;  ///< answers without a wrong token
  [[nodiscard]] double share() const { return of_asked(right); }
  [[nodiscard]] double begun_share() const { return of_asked(begun); }

 private:
  [[nodiscard]] double of_asked(std::int64_t count) const {
    return asked == 0 ? 0.0 : static_cast<double>(count) / static_cast<double>(asked);
  }
};

struct matches {
  exact_match facts;
  exact_match quotations;
};

/// The answer that `model` gives, as many tokens as the right one, after the `context` that the cache holds. The
/// question and the answer are forgotten again.
template <class Model, class Cache>
[[nodiscard]] token_list answer(Model& model, Cache& cache, const task_maker& make, const question& one) {
  const std::int64_t context = cache.rooms[0].length;
  const std::int64_t capacity = cache.rooms.capacity();
  token_list asked{make.asks()};
  asked.insert(asked.end(), one.asked.begin(), one.asked.end());
  token_list given;
  lodestone::token_batch next = lodestone::generate::continuation(asked, context, capacity);
  for (;;) {
    const auto logits = model.extend(cache, next);
    const auto values = model.backend().to_host(logits.view());
    const auto row = values.flat();
    given.push_back(static_cast<std::int32_t>(std::max_element(row.begin(), row.end()) - row.begin()));
    if (given.size() == one.answer.size()) break;
    next = lodestone::generate::continuation(std::span{&given.back(), 1}, cache.rooms[0].length, capacity);
  }
  cache.rooms.truncate(0, context);
  return given;
}

/// How many questions of the tasks are answered without a wrong token.
template <class Model>
[[nodiscard]] matches measure(Model& model, const task_maker& make, std::span<const task> tasks) {
  matches sum;
  for (const task& one : tasks) {
    const auto length = std::ssize(one.context) + task_maker::quotation_question;
    auto cache = model.make_cache(length);
    static_cast<void>(model.extend(cache, lodestone::generate::continuation(one.context, 0, length)));
    const auto ask = [&](const std::vector<question>& all, exact_match& count) {
      for (const question& each : all) {
        ++count.asked;
        const token_list given = answer(model, cache, make, each);
        if (given.front() == each.answer.front()) ++count.begun;
        if (given == each.answer) ++count.right;
      }
    };
    ask(one.facts, sum.facts);
    ask(one.quotations, sum.quotations);
  }
  return sum;
}

/// Held-out tasks whose context, question and answer together have `tokens` tokens.
[[nodiscard]] inline std::vector<task> tasks_of(const task_maker& make, std::int64_t tokens, std::int64_t count,
                                                std::uint64_t seed) {
  std::vector<task> tasks;
  for (std::int64_t k = 0; k < count; ++k) {
    lodestone::random_stream random(seed, lodestone::random_purpose::synthesis, 2,
                                    static_cast<std::uint64_t>((tokens << 20) + k));
    tasks.push_back(make.make({.context = tokens - task_maker::fact_question,
                               .facts = std::clamp<std::int64_t>(tokens / 64, 2, 8),
                               .quotations = tokens < 256 ? 0 : 2},
                              random));
  }
  return tasks;
}

}  // namespace retrieval
