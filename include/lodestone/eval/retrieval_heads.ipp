// Definitions of retrieval_heads.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <charconv>
#include <functional>
#include <numeric>
#include <set>
#include <system_error>

#include <lodestone/core/inline.hpp>
#include <lodestone/eval/retrieval_heads.hpp>

namespace lodestone::eval {

namespace detail {

/// Mean of the `count` largest of the values.
[[nodiscard]] inline double mean_of_best(std::vector<double> values, std::int64_t count) {
  if (count < 1) throw config_error("must be at least 1", "retrieval heads: best");
  std::sort(values.begin(), values.end(), std::greater<>());
  values.resize(std::min(values.size(), static_cast<std::size_t>(count)));
  return values.empty() ? 0.0 : std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

/// Takes a number and the character behind it, if one is wanted, from the front of `text`.
template <class T>
[[nodiscard]] bool take(std::string_view& text, T& value, char after) {
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc{}) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  if (after == '\0') return true;
  if (!text.starts_with(after)) return false;
  text.remove_prefix(1);
  return true;
}

}  // namespace detail

LODESTONE_INLINE std::vector<text::span_of_text> find_needles(const tokenizer& words,
                                                              std::span<const std::int32_t> prompt,
                                                              std::span<const std::string> texts) {
  const std::string whole = words.decode(prompt);
  const std::vector<text::span_of_text> spans = text::token_spans(words, prompt, whole);
  std::vector<text::span_of_text> needles;
  for (const std::string& own : texts) {
    const std::size_t at = own.empty() ? std::string::npos : whole.find(own);
    if (at == std::string::npos)
      throw data_error("the prompt does not hold '" + own + "'", "retrieval heads", "look for text of the prompt");
    const auto begin = static_cast<std::int64_t>(at);
    needles.push_back(text::tokens_within(spans, {begin, begin + std::ssize(own)}));
  }
  std::sort(needles.begin(), needles.end(), [](const auto& a, const auto& b) { return a.begin < b.begin; });
  for (std::size_t i = 1; i < needles.size(); ++i)  // neighbours may share the token between them
    needles[i].begin = std::max(needles[i].begin, needles[i - 1].end);
  std::erase_if(needles, [](const auto& own) { return own.begin >= own.end; });
  return needles;
}

LODESTONE_INLINE token_batch answered(const retrieval_example& own) {
  const std::string where = "example " + own.id;
  if (own.prompt.empty() || own.answer.empty()) throw data_error("has no prompt, or no answer", where, "leave it out");
  if (own.needles.empty()) throw data_error("has no needle", where, "leave it out");
  std::int64_t last = 0;
  for (const text::span_of_text& needle : own.needles) {
    if (needle.begin < last || needle.end <= needle.begin || needle.end > std::ssize(own.prompt))
      throw data_error("the needle at tokens " + std::to_string(needle.begin) + " to " + std::to_string(needle.end) +
                           " is empty, or not in order, or outside the prompt",
                       where, "needles are token ranges of the prompt");
    last = needle.end;
  }
  token_batch batch;
  batch.tokens = own.prompt;
  batch.tokens.insert(batch.tokens.end(), own.answer.begin(), own.answer.end() - 1);  // the last is only emitted
  batch.positions.resize(batch.tokens.size());
  std::iota(batch.positions.begin(), batch.positions.end(), 0);
  batch.lengths.assign(batch.tokens.size(), batch.size());
  batch.slices = {{0, batch.size(), 0, batch.size(), slice_kind::causal, 0}};
  for (std::int64_t i = 0; i < std::ssize(own.answer); ++i)
    batch.scored.push_back({std::ssize(own.prompt) - 1 + i, own.answer[static_cast<std::size_t>(i)], 0, 1.0});
  lodestone::sequence whole;
  whole.end = batch.size();
  whole.scored_end = std::ssize(batch.scored);
  whole.target_weight = static_cast<double>(whole.scored_end);
  batch.sequences = {whole};
  return batch;
}

LODESTONE_INLINE head_scores score_heads(const retrieval_example& own, const attention_watch& watch) {
  if (watch.rows().size() != own.answer.size())
    throw shape_error(std::to_string(watch.rows().size()) + " rows were watched for an answer of " +
                          std::to_string(own.answer.size()) + " tokens",
                      "example " + own.id, "watch the rows of answered()");
  std::int64_t size = 0;
  for (const text::span_of_text& needle : own.needles) size += needle.end - needle.begin;
  if (size == 0) throw data_error("has no needle", "example " + own.id, "leave it out");
  head_scores result{watch.layers(), watch.heads(), {}};
  for (std::int64_t layer = 0; layer < result.layers; ++layer)
    for (std::int64_t head = 0; head < result.heads; ++head) {
      std::set<std::int64_t> copied;
      for (std::size_t i = 0; i < own.answer.size(); ++i) {
        const std::int64_t key = watch.key(layer, head, static_cast<std::int64_t>(i));
        const bool is_needle = std::any_of(own.needles.begin(), own.needles.end(),
                                           [&](const auto& needle) { return key >= needle.begin && key < needle.end; });
        if (is_needle && own.prompt[static_cast<std::size_t>(key)] == own.answer[i]) copied.insert(key);
      }
      result.values.push_back(static_cast<double>(copied.size()) / static_cast<double>(size));
    }
  return result;
}

LODESTONE_INLINE std::string to_string(const head_scores& scores) {
  std::string text = std::to_string(scores.layers) + "x" + std::to_string(scores.heads);
  for (std::int64_t layer = 0; layer < scores.layers; ++layer)
    for (std::int64_t head = 0; head < scores.heads; ++head) {
      const double value = scores(layer, head);
      if (value == 0.0) continue;
      char digits[32];
      const auto [end, failure] = std::to_chars(digits, digits + sizeof digits, value);
      text += " " + std::to_string(layer) + "." + std::to_string(head) + ":" + std::string(digits, end);
    }
  return text;
}

LODESTONE_INLINE head_scores parse_heads(std::string_view text) {
  const auto refuse = [&] {
    throw data_error("'" + std::string(text.substr(0, 40)) + "' are no scores of heads", "retrieval heads",
                     "they look like 32x32 14.22:0.75");
  };
  head_scores scores;
  std::string_view rest = text;
  if (!detail::take(rest, scores.layers, 'x') || !detail::take(rest, scores.heads, '\0') || scores.layers < 0 ||
      scores.heads < 0 || scores.layers > 100'000 || scores.heads > 100'000)
    refuse();
  scores.values.resize(static_cast<std::size_t>(scores.layers * scores.heads));
  while (!rest.empty()) {
    std::int64_t layer = 0;
    std::int64_t head = 0;
    double value = 0.0;
    if (rest.front() != ' ') refuse();
    rest.remove_prefix(1);
    if (!detail::take(rest, layer, '.') || !detail::take(rest, head, ':') || !detail::take(rest, value, '\0') ||
        layer < 0 || layer >= scores.layers || head < 0 || head >= scores.heads || !(value >= 0.0 && value <= 1.0))
      refuse();
    scores.values[static_cast<std::size_t>(layer * scores.heads + head)] = value;
  }
  return scores;
}

LODESTONE_INLINE retrieval_summary summarise(std::span<const head_scores> examples, const retrieval_options& options) {
  retrieval_summary result;
  if (examples.empty()) return result;
  result.mean = {examples[0].layers, examples[0].heads, std::vector<double>(examples[0].values.size())};
  for (const head_scores& own : examples) {
    if (own.layers != result.mean.layers || own.heads != result.mean.heads)
      throw shape_error("examples of models with different heads", "retrieval heads", "summarise one model at a time");
    for (std::size_t i = 0; i < own.values.size(); ++i) result.mean.values[i] += own.values[i];
  }
  for (double& value : result.mean.values) value /= static_cast<double>(examples.size());
  for (std::int64_t layer = 0; layer < result.mean.layers; ++layer)
    for (std::int64_t head = 0; head < result.mean.heads; ++head)
      if (const double value = result.mean(layer, head); value > options.threshold)
        result.heads.push_back({layer, head, value});
  std::stable_sort(result.heads.begin(), result.heads.end(),
                   [](const retrieval_head& a, const retrieval_head& b) { return a.score > b.score; });
  result.best_mean = detail::mean_of_best(result.mean.values, options.best);
  return result;
}

LODESTONE_INLINE record retrieval_record(const retrieval_example& own, const head_scores& scores,
                                         const retrieval_options& options) {
  return {.id = own.id,
          .labels = own.labels,
          .scores = {{"retrieval", detail::mean_of_best(scores.values, options.best)}},
          .answer = to_string(scores)};
}

}  // namespace lodestone::eval
