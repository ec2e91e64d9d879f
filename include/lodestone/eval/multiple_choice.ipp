// Definitions of multiple_choice.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <lodestone/core/error.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/eval/multiple_choice.hpp>
#include <lodestone/text/unicode.hpp>

namespace lodestone::eval {

namespace detail {

/// The end of `text` without its last white space.
[[nodiscard]] inline std::size_t end_without_space(const std::string& text) {
  const char* end = text.data() + text.size();
  while (end != text.data()) {
    const text::code_point last = text::decode_utf8_before(text.data(), end);
    if ((text::character::table::get()[last.value] & text::character::space) == 0) break;
    end -= last.length;
  }
  return static_cast<std::size_t>(end - text.data());
}

[[nodiscard]] inline std::size_t characters(const std::string& text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

}  // namespace detail

LODESTONE_INLINE choice_tokens encode_choice(const tokenizer& words, const std::string& prompt,
                                             const std::string& choice, std::int64_t max_tokens) {
  std::string context = prompt;
  context.resize(detail::end_without_space(prompt));
  choice_tokens result{.tokens = words.prefix()};
  const std::vector<std::int32_t> alone = words.encode(context, false);
  const std::vector<std::int32_t> whole = words.encode(prompt + " " + choice, false);
  result.tokens.insert(result.tokens.end(), alone.begin(), alone.end());
  const auto before = static_cast<std::int64_t>(result.tokens.size());
  if (whole.size() > alone.size())
    result.tokens.insert(result.tokens.end(), whole.begin() + std::ssize(alone), whole.end());
  const auto length = static_cast<std::int64_t>(result.tokens.size());
  if (before == length)
    throw data_error("the choice '" + choice + "' adds no token to its prompt", "multiple choice",
                     "use another tokenizer, or leave the question out");
  result.first = before;
  if (max_tokens > 0 && length > max_tokens + 1) {
    const std::int64_t cut = length - max_tokens - 1;
    result.tokens.erase(result.tokens.begin(), result.tokens.begin() + cut);
    result.first = std::max<std::int64_t>(before - cut, 1);
  }
  return result;
}

LODESTONE_INLINE void score_choices(const any_scoring_model& model, const tokenizer& words,
                                    std::span<const choice_question> questions, const choice_options& options,
                                    const choice_listener& each) {
  if (options.max_tokens < 0) throw config_error("must be 0 or more", "max_tokens");
  const std::int64_t limit = options.max_tokens > 0 ? options.max_tokens : model.config().max_positions;
  std::vector<choice_tokens> encoded;
  std::vector<std::size_t> asked;  // the number of each group
  std::size_t place = 0;
  std::vector<double> sums;
  score_groups(
      model,
      [&](std::size_t, scored_group& group) {
        while (place < questions.size() && options.is_done && options.is_done(questions[place].id)) ++place;
        if (place == questions.size()) return false;
        const choice_question& own = questions[place];
        const std::string where = "question " + own.id;
        if (own.prompt.empty()) throw data_error("has no prompt", where, "leave it out");
        if (own.choices.empty() || own.is_right.size() != own.choices.size())
          throw data_error("has " + std::to_string(own.choices.size()) + " choices and " +
                               std::to_string(own.is_right.size()) + " marks for them",
                           where);
        if (std::find(own.is_right.begin(), own.is_right.end(), true) == own.is_right.end())
          throw data_error("no choice is right", where, "leave it out");
        encoded.clear();
        for (const std::string& choice : own.choices)
          encoded.push_back(encode_choice(words, own.prompt, choice, limit));
        group.clear();
        for (const choice_tokens& choice : encoded) group.push_back({choice.tokens, choice.first});
        asked.push_back(place++);
        return true;
      },
      options.batch_tokens,
      [&](std::size_t i, const std::vector<std::vector<double>>& scores) {
        sums.clear();
        for (const std::vector<double>& choice : scores) {
          double sum = 0.0;
          for (const double value : choice) sum += value;
          if (!std::isfinite(sum))
            throw numeric_error("a log-probability is not finite", "question " + questions[asked[i]].id,
                                "look at the model's weights and their type");
          sums.push_back(sum);
        }
        each(asked[i], sums);
      });
}

LODESTONE_INLINE std::size_t most_likely(std::span<const double> log_probs) {
  return static_cast<std::size_t>(std::max_element(log_probs.begin(), log_probs.end()) - log_probs.begin());
}

LODESTONE_INLINE std::vector<score> mark_choices(const choice_question& own, choice_metric metric,
                                                 std::span<const double> log_probs) {
  if (metric == choice_metric::mass) {
    const double largest = log_probs[most_likely(log_probs)];  // a common factor changes no share
    double all = 0.0;
    double right = 0.0;
    for (std::size_t i = 0; i < log_probs.size(); ++i) {
      const double share = std::exp(log_probs[i] - largest);
      all += share;
      if (own.is_right[i]) right += share;
    }
    return {{"acc", right / all}};
  }
  const auto mark = [&](std::span<const double> values) { return own.is_right[most_likely(values)] ? 1.0 : 0.0; };
  std::vector<score> scores{{"acc", mark(log_probs)}};
  if (metric == choice_metric::accuracy) return scores;
  const auto divided = [&](const auto& length) {
    std::vector<double> values;
    for (std::size_t i = 0; i < log_probs.size(); ++i) {
      const std::size_t size = length(own.choices[i]);
      values.push_back(size == 0 ? -std::numeric_limits<double>::infinity() : log_probs[i] / static_cast<double>(size));
    }
    return values;
  };
  scores.push_back({"acc_norm", mark(divided(detail::characters))});
  scores.push_back({"acc_bytes", mark(divided([](const std::string& text) { return text.size(); }))});
  return scores;
}

LODESTONE_INLINE void multiple_choice(const any_scoring_model& model, const tokenizer& words, const choice_task& task,
                                      const choice_options& options, const record_listener& each) {
  score_choices(model, words, task.questions, options, [&](std::size_t i, std::span<const double> log_probs) {
    const choice_question& own = task.questions[i];
    each({.id = own.id,
          .labels = own.labels,
          .scores = mark_choices(own, task.metric, log_probs),
          .answer = own.choices[most_likely(log_probs)]});
  });
}

}  // namespace lodestone::eval
