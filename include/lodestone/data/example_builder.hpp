// From one record of any kind to its training examples: encode, apply the length policy, count everything.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/data/over_long.hpp>
#include <lodestone/data/preference_builder.hpp>
#include <lodestone/data/record.hpp>
#include <lodestone/data/summary.hpp>
#include <lodestone/text/chat_encoder.hpp>

namespace lodestone {

/// What becomes of a record that cannot be read or encoded.
enum class fault_policy { error, skip };

/// What becomes of an example without any target: all answers empty or of weight 0.
enum class no_target_policy { error, drop, keep };

/// The name that options use.
[[nodiscard]] constexpr std::string_view to_string(no_target_policy policy) {
  return policy == no_target_policy::error ? "error" : policy == no_target_policy::drop ? "drop" : "keep";
}

/// How records become examples.
struct example_options {
  record_options record{};                                ///< how prepare() reads records
  length_policy length{};                                 ///< limit and what becomes of longer examples
  bool empty_answer_is_error = false;                     ///< otherwise empty answers are masked and counted
  no_target_policy no_targets = no_target_policy::error;  ///< examples without targets
  fault_policy faults = fault_policy::error;              ///< records that prepare() cannot read or encode
  preference_options preference{};                        ///< how preference records become groups
};

/// Turns records into examples. Immutable: safe to call from several threads. The encoder must outlive it.
template <class Tokenizer>
class example_builder {
 public:
  /// Throws config_error for a limit that leaves no room behind the prefix, for split with last_answer (the parts
  /// before the last would have nothing to train on), and what preference_builder throws.
  example_builder(const chat_encoder<Tokenizer>& encoder, example_options options)
      : encoder_(&encoder),
        options_(std::move(options)),
        prefix_(static_cast<std::int64_t>(encoder.prefix().size())),
        preferences_(encoder, options_.preference, options_.length) {
    const length_policy& length = options_.length;
    if (length.max_tokens < 0 || (length.max_tokens > 0 && length.max_tokens <= prefix_ + 1)) {
      throw config_error("a limit of " + std::to_string(length.max_tokens) + " tokens leaves no room", "max_tokens",
                         "use at least " + std::to_string(prefix_ + 2) + ", or 0 for no limit");
    }
    if (length.max_tokens > 0 && length.action == over_long::split &&
        encoder.options().targets == target_choice::last_answer) {
      throw config_error("split does not go with targets = last answer", "over_long",
                         "train all answers, or truncate or drop");
    }
  }

  /// Appends the examples of a record; `where` is "file:line". Throws data_error there.
  void build(const training_record& record, std::string_view where, std::vector<encoded_sequence>& examples,
             data_summary& counts) const {
    encoding_report report;
    encoded_sequence full = record.is_text ? encoder_->encode_text(record.text, &report)
                                           : encoder_->encode(record.messages, where, &report);
    if (options_.empty_answer_is_error && report.empty_answers > 0) {
      throw data_error("an answer is empty", where, "remove the turn, or let empty answers be masked");
    }
    (record.is_text ? counts.documents : counts.conversations) += 1;
    counts.tokens_read += full.size();
    counts.unknown_tokens += report.unknown_tokens;
    counts.empty_answers += report.empty_answers;
    counts.unanswered_turns += report.unanswered_turns;
    counts.leading_dropped += record.leading_dropped;
    counts.joined_turns += record.joined_turns;
    counts.doubled_bos += report.doubled_bos;
    counts.literal_tokens += report.literal_tokens;

    std::vector<encoded_sequence> parts;
    const std::int64_t limit = options_.length.max_tokens;
    if (limit > 0 && full.size() > limit) {
      parts = shorten(record, full, where, counts);
      if (parts.empty()) {
        ++counts.over_long_dropped;
        return;
      }
    } else {
      parts.push_back(std::move(full));
    }
    for (encoded_sequence& part : parts) {
      part.weight = record.weight;
      const std::int64_t targets = part.targets();
      if (targets == 0) {
        if (options_.no_targets == no_target_policy::error && parts.size() == 1) {
          throw data_error("nothing to train on: every answer is empty, of weight 0 or cut off", where,
                           "remove the record, or set no_targets to drop or keep");
        }
        if (options_.no_targets != no_target_policy::keep) {
          ++counts.without_targets_dropped;
          continue;
        }
        ++counts.without_targets_kept;
      }
      counts.examples += 1;
      counts.tokens += part.size();
      counts.targets += targets;
      counts.longest = std::max(counts.longest, part.size());
      examples.push_back(std::move(part));
    }
  }

  /// Appends the examples of a preference record as preference_builder does.
  void build(const preference_record& record, std::string_view where, std::vector<encoded_sequence>& examples,
             data_summary& counts) const {
    preferences_.build(record, where, examples, counts);
  }

  /// As the constructor took them.
  [[nodiscard]] const example_options& options() const { return options_; }
  /// The encoder that the constructor was given, which must outlive the builder.
  [[nodiscard]] const chat_encoder<Tokenizer>& encoder() const { return *encoder_; }

 private:
  /// The examples that fit; none when the record is dropped.
  [[nodiscard]] std::vector<encoded_sequence> shorten(const training_record& record, const encoded_sequence& full,
                                                      std::string_view where, data_summary& counts) const {
    const length_policy& length = options_.length;
    std::vector<encoded_sequence> parts;
    switch (length.action) {
      case over_long::error:
        throw data_error("the example has " + std::to_string(full.size()) + " tokens, the limit is " +
                             std::to_string(length.max_tokens),
                         where, "raise max_tokens, or set over_long to drop, truncate-middle or split");
      case over_long::drop: return {};
      case over_long::split:
        if (record.is_text) {
          parts = split_tokens(full, length.max_tokens, prefix_);
        } else if (auto some = split_conversation(*encoder_, record.messages, length.max_tokens, where)) {
          parts = std::move(*some);
        }
        if (parts.size() > 1) {
          ++counts.split;
          counts.split_parts += static_cast<std::int64_t>(parts.size());
        }
        return parts;
      default: break;
    }
    if (record.is_text || !length.keep_answers) {
      parts.push_back(truncate_tokens(full, length.max_tokens, length.action, prefix_));
    } else if (auto shorter = truncate_messages(*encoder_, record.messages, length.max_tokens, length.action, where)) {
      parts.push_back(std::move(*shorter));
    }
    if (!parts.empty()) ++counts.truncated;
    return parts;
  }

  const chat_encoder<Tokenizer>* encoder_;
  example_options options_;
  std::int64_t prefix_;
  preference_builder<Tokenizer> preferences_;
};

}  // namespace lodestone
