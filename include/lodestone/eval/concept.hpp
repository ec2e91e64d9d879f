// What an evaluation is: questions with answers that can be scored, in one shape for every benchmark.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/text/chat_message.hpp>

namespace lodestone::eval {

/// What a question is grouped by in tables: {"length", "8k"}, {"depth", "10"}, {"category", "S-Doc QA"}.
struct label {
  std::string name{};   ///< a column
  std::string value{};  ///< its value here

  friend bool operator==(const label&, const label&) = default;
};

/// One number of a metric, in its own unit: shares and F1 from 0 to 1, log-probabilities in nats, ratings as given.
/// Averages are weighted: perplexities weigh their tokens, shares of questions weigh 1.
struct score {
  std::string metric{};  ///< "f1", "exact_match", "nll", ...
  double value = 0.0;    ///< finite
  double weight = 1.0;   ///< 0 or more

  friend bool operator==(const score&, const score&) = default;
};

/// The outcome of one question: what logs hold a line of, and what tables are made of.
struct record {
  std::string id{};             ///< unique in its task, the same in every run
  std::vector<label> labels{};  ///< what it is grouped by
  std::vector<score> scores{};  ///< empty when the answer failed: then `error` says why
  std::string answer{};         ///< the model's text, if it gave one
  std::string error{};          ///< why there is no score

  friend bool operator==(const record&, const record&) = default;
};

/// A question to a model that answers with text.
struct question {
  std::string id{};                   ///< unique in its task, the same in every run
  std::string prompt{};               ///< UTF-8; cut in its middle when the model's window is shorter
  bool is_chat = true;                ///< a user's turn of the chat template; false: the text as it is
  std::int64_t max_new_tokens = 128;  ///< of the answer
  std::int64_t min_new_tokens = 0;    ///< of the answer
  std::vector<std::string> stop{};    ///< the answer ends before the first of these
  std::vector<label> labels{};        ///< what it is grouped by
  std::optional<double> temperature{};  ///< of the answer, where the benchmark fixes one
};

/// Questions whose answers a function scores.
///
/// Requires `name()`, `size()`, `ask(i) -> question` and `mark(i, answer) -> std::vector<score>` for i in [0, size()).
/// Laws: all are pure; ids are unique; mark() accepts any text, the empty one too, and always gives the same metrics.
template <class T>
concept task = requires(const T& t, std::size_t i, std::string_view answer) {
  { t.name() } -> std::convertible_to<std::string>;
  { t.size() } -> std::convertible_to<std::size_t>;
  { t.ask(i) } -> std::convertible_to<question>;
  { t.mark(i, answer) } -> std::convertible_to<std::vector<score>>;
};

/// Questions whose answers another model rates.
///
/// Requires `name()`, `size()`, `ask(i)` as a task does; `judge(i, answer, attempt) -> std::vector<chat_message>`, what
/// the judge is asked (the attempt, from 0, may change the order of examples); `rating(reply) ->
/// std::optional<double>`, nothing when the reply has none: the judge is asked again; and `marks(i, rating) ->
/// std::vector<score>`.
template <class T>
concept judged_task = requires(const T& t, std::size_t i, std::string_view text, std::int64_t attempt, double rating) {
  { t.name() } -> std::convertible_to<std::string>;
  { t.size() } -> std::convertible_to<std::size_t>;
  { t.ask(i) } -> std::convertible_to<question>;
  { t.judge(i, text, attempt) } -> std::convertible_to<std::vector<chat_message>>;
  { t.rating(text) } -> std::convertible_to<std::optional<double>>;
  { t.marks(i, rating) } -> std::convertible_to<std::vector<score>>;
};

}  // namespace lodestone::eval
