// What the .ipp files of the two methods share: settings as JSON, and a number that stands for the texts of a run.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include <lodestone/core/random.hpp>
#include <lodestone/data/documents.hpp>
#include <lodestone/synthesis/ask.hpp>
#include <lodestone/synthesis/question_stage.hpp>
#include <lodestone/synthesis/questions.hpp>

namespace lodestone::synthesis::detail {

using json = nlohmann::ordered_json;

/// A number that stands for `value` and the texts after it.
[[nodiscard]] inline std::uint64_t combined(std::uint64_t value, std::initializer_list<std::string_view> texts) {
  for (const std::string_view text : texts) value = seed_of(value, random_purpose::synthesis, text);
  return value;
}

/// A number that stands for all texts: settings hold it, so that a run does not go on with other documents.
[[nodiscard]] inline std::string fingerprint(std::span<const text_document> documents,
                                             std::span<const document_question> questions = {}) {
  std::uint64_t value = 0;
  for (const text_document& one : documents) value = combined(value, {one.id, one.text});
  for (const document_question& one : questions) value = combined(value, {one.id, one.question, one.answer});
  return std::to_string(value);
}

[[nodiscard]] inline json settings_of(const ask_options& ask) {
  return {{"seed", ask.seed},
          {"repetition_penalty", ask.draw.repetition_penalty},
          {"temperature", ask.draw.temperature},
          {"top_k", ask.draw.top_k},
          {"top_p", ask.draw.top_p},
          {"min_p", ask.draw.min_p},
          {"max_new_tokens", ask.max_new_tokens},
          {"min_new_tokens", ask.min_new_tokens},
          {"attempts", ask.attempts},
          {"stop", ask.stop}};
}

[[nodiscard]] inline json settings_of(const question_options& questions) {
  json kinds = json::array();
  for (const question_kind kind : questions.kinds) kinds.push_back(to_string(kind));
  return {{"question_kinds", kinds},
          {"questions", questions.count},
          {"prompts_per_document", questions.prompts},
          {"language", questions.tongue ? to_string(*questions.tongue) : "auto"},
          {"question_tokens", questions.max_new_tokens}};
}

/// The same however often a run was stopped.
[[nodiscard]] inline json counts_of(const ask_counts& counts) {
  return {{"items", counts.items}, {"failed", counts.failed.size()}};
}

}  // namespace lodestone::synthesis::detail
