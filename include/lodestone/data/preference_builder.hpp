// From one preference record to the examples of its group: one for each answer, all behind the same prompt tokens.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/data/over_long.hpp>
#include <lodestone/data/preference.hpp>
#include <lodestone/data/preference_text.hpp>
#include <lodestone/data/summary.hpp>
#include <lodestone/text/chat_encoder.hpp>

namespace lodestone {

/// Turns preference records into groups of examples. Immutable: safe to call from several threads. The encoder must
/// outlive it.
///
/// Prompt and answers are tokenised apart, so all answers of a group stand behind the same tokens; where one
/// tokenisation of both would give other tokens at the seam, data_summary::seams counts it. Each chunk of a context is
/// tokenised by itself: its bounds are bounds of tokens. Only answers are scored, with their end token.
template <class Tokenizer>
class preference_builder {
 public:
  /// Throws config_error unless context_form has one {context} and one {question}.
  preference_builder(const chat_encoder<Tokenizer>& encoder, preference_options options, length_policy length)
      : encoder_(&encoder),
        options_(std::move(options)),
        length_(length),
        prefix_(static_cast<std::int64_t>(encoder.prefix().size())) {
    detail::check_context_form(options_.context_form);
  }

  /// Appends the examples of a record, with group 0, the chosen one first; none when the length policy drops the
  /// record. `where` is "file:line". Throws data_error there: answers of equal tokens, an answer of which nothing is
  /// scored, a group that is too long.
  void build(const preference_record& record, std::string_view where, std::vector<encoded_sequence>& examples,
             data_summary& counts) const {
    (record.is_text ? counts.documents : counts.conversations) += 1;
    counts.joined_turns += record.joined_turns;
    preference_record current = record;
    encoded_prompt prompt = encode_prompt(current, where, &counts);
    std::vector<encoded_sequence> answers;  // row 0 is the last token of the prompt
    for (std::size_t i = 0; i < current.answers.size(); ++i) {
      std::vector<chat_segment> segments = detail::answer_segments(encoder_->form(), current, i, where);
      if (is_seam_uneven(prompt.segments, segments)) ++counts.seams;
      encoding_report report;
      answers.push_back(encoder_->encode_segments(std::move(segments), end_of(record), prompt.tokens, &report));
      count(report, answers.back().size() - 1, counts);
      if (answers.back().targets() == 0) {
        throw data_error("nothing of answer " + std::to_string(i) + " is scored", where, "remove its weight of 0");
      }
      for (std::size_t j = 0; j < i; ++j) {
        if (answers[j].tokens == answers[i].tokens) {
          throw data_error("answers " + std::to_string(j) + " and " + std::to_string(i) + " have the same tokens",
                           where, "remove one (0 is the chosen answer)");
        }
      }
    }
    std::int64_t longest = 0;  // of the answers, without the prompt's token
    for (const encoded_sequence& answer : answers) longest = std::max(longest, answer.size() - 1);
    const std::int64_t limit = length_.max_tokens;
    const bool is_cut = limit > 0 && prompt.size() + longest > limit;
    if (is_cut && !shorten(current, prompt, limit - longest, where)) {
      ++counts.over_long_dropped;
      return;
    }
    if (is_cut) ++counts.truncated;
    const std::int64_t header = options_.score_header ? prompt.header : 0;
    for (std::size_t i = 0; i < answers.size(); ++i) {
      encoded_sequence example = join(prompt, answers[i], header);
      example.weight = record.answers[i].weight;
      // A reference value belongs to the prompt that it was computed behind.
      if (!is_cut) example.reference = record.answers[i].reference;
      example.group = 0;
      example.role = static_cast<std::int32_t>(i);
      counts.examples += 1;
      counts.answers += 1;
      counts.tokens += example.size();
      counts.targets += example.targets();
      counts.longest = std::max(counts.longest, example.size());
      examples.push_back(std::move(example));
    }
    counts.groups += 1;
  }

 private:
  using ids = std::vector<std::int32_t>;

  struct encoded_prompt {
    std::vector<chat_segment> segments;
    ids tokens;
    std::vector<std::int64_t> chunks;
    std::int64_t header = 0;  // tokens at its end that stand in front of an answer
    [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(tokens.size()); }
  };

  static void count(const encoding_report& report, std::int64_t tokens, data_summary& counts) {
    counts.tokens_read += tokens;
    counts.unknown_tokens += report.unknown_tokens;
    counts.doubled_bos += report.doubled_bos;
    counts.literal_tokens += report.literal_tokens;
  }

  /// What ends an answer: the template's token, of plain text the end-of-sequence token.
  [[nodiscard]] std::optional<std::int32_t> end_of(const preference_record& record) const {
    if (!record.is_text) return encoder_->end_id();
    if (encoder_->eos()) return encoder_->eos();
    throw config_error("answers to plain prompts end with the end-of-sequence token, but the model folder names none",
                       "eos_token", "add it to tokenizer_config.json, or set plain_prompt to chat");
  }

  [[nodiscard]] encoded_prompt encode_prompt(const preference_record& record, std::string_view where,
                                             data_summary* counts = nullptr) const {
    encoded_prompt prompt;
    prompt.segments = detail::prompt_segments(encoder_->form(), record, options_, where);
    encoding_report report;
    encoded_sequence encoded = encoder_->encode_segments(prompt.segments, end_of(record), {}, &report);
    if (encoded.tokens.empty()) {
      throw data_error("the prompt has no tokens, so nothing predicts an answer's first", where, "remove the record");
    }
    prompt.tokens = std::move(encoded.tokens);
    if (encoded.chunks.size() > 1) prompt.chunks = std::move(encoded.chunks);
    if (!record.is_text) prompt.header = header_tokens(prompt);
    if (counts != nullptr) count(report, prompt.size(), *counts);
    return prompt;
  }

  [[nodiscard]] ids tokens_of(const std::vector<chat_segment>& segments) const {
    return encoder_->encode_segments(segments, encoder_->end_id()).tokens;
  }

  /// Whether one tokenisation of prompt and answer would give other tokens.
  [[nodiscard]] bool is_seam_uneven(std::span<const chat_segment> prompt, std::span<const chat_segment> answer) const {
    std::vector<chat_segment> text = detail::last_bytes(prompt);
    const std::size_t seam = text.size();
    for (chat_segment& segment : detail::first_bytes(answer)) text.push_back(std::move(segment));
    const ids apart = tokens_of(text);
    for (std::size_t i = seam; i < text.size(); ++i) {
      text[i].starts_piece = false;
      if (!text[i].text.empty()) break;
    }
    return tokens_of(text) != apart;
  }

  /// Tokens at the end of the prompt that would not be there without the answer's header.
  [[nodiscard]] std::int64_t header_tokens(const encoded_prompt& prompt) const {
    if (prompt.segments.empty() || prompt.segments.back().text.empty()) return 0;
    std::vector<chat_segment> text = detail::last_bytes(prompt.segments);
    const ids with = tokens_of(text);
    text.pop_back();
    const ids without = tokens_of(text);
    const auto differ = std::mismatch(with.begin(), with.end(), without.begin(), without.end()).first;
    // At least one token of the prompt must be left to predict the header's first.
    return std::min<std::int64_t>(with.end() - differ, prompt.size() - 1);
  }

  /// Brings the prompt to at most `room` tokens; false when that cannot be.
  [[nodiscard]] bool shorten(preference_record& record, encoded_prompt& prompt, std::int64_t room,
                             std::string_view where) const {
    switch (length_.action) {
      case over_long::error:
        throw data_error("prompt and longest answer have " + std::to_string(prompt.size() + length_.max_tokens - room) +
                             " tokens, the limit is " + std::to_string(length_.max_tokens),
                         where, "raise max_tokens, or set over_long to drop or truncate-middle");
      case over_long::drop:
      case over_long::split: return false;  // a group is never divided
      default: break;
    }
    if (length_.keep_answers && !record.is_text && record.context.empty()) {
      return shorten_messages(record, prompt, room, where);
    }
    // Context and plain text lose tokens, and those that stay keep their ids.
    std::int64_t begin = prefix_;
    std::int64_t end = prompt.size() - prompt.header;
    if (length_.keep_answers && !record.is_text) {
      if (prompt.chunks.empty()) return false;
      begin = prompt.chunks.front();
      end = prompt.chunks.back();
    }
    const std::int64_t excess = prompt.size() - room;
    const std::int64_t left = end - begin - excess;  // of what may be cut
    if (left < 1) return false;
    std::int64_t head = left;
    if (length_.action == over_long::truncate_left) head = 0;
    if (length_.action == over_long::truncate_middle) head = (left + 1) / 2;
    const std::int64_t from = begin + head;
    prompt.tokens.erase(prompt.tokens.begin() + from, prompt.tokens.begin() + from + excess);
    std::vector<std::int64_t> chunks;
    for (const std::int64_t bound : prompt.chunks) {
      const std::int64_t moved = bound <= from ? bound : std::max(from, bound - excess);
      if (chunks.empty() || chunks.back() < moved) chunks.push_back(moved);
    }
    prompt.chunks = chunks.size() > 1 ? std::move(chunks) : std::vector<std::int64_t>();
    return true;
  }

  /// Cuts the longest messages that are not answers until the prompt fits.
  [[nodiscard]] bool shorten_messages(preference_record& record, encoded_prompt& prompt, std::int64_t room,
                                      std::string_view where) const {
    const auto encode = [&] {
      prompt = encode_prompt(record, where);
      return prompt.size();
    };
    return detail::cut_messages(record.messages, room, length_.action, encode);
  }

  /// The prompt with one answer behind it; the last `header` tokens of the prompt belong to the answer.
  [[nodiscard]] static encoded_sequence join(const encoded_prompt& prompt, const encoded_sequence& answer,
                                             std::int64_t header) {
    encoded_sequence result;
    result.tokens = prompt.tokens;
    result.tokens.insert(result.tokens.end(), answer.tokens.begin() + 1, answer.tokens.end());
    result.labels.assign(prompt.tokens.size() - 1, no_label);
    result.labels.insert(result.labels.end(), answer.labels.begin(), answer.labels.end());
    result.weights.assign(prompt.tokens.size() - 1, 0.0F);
    result.weights.insert(result.weights.end(), answer.weights.begin(), answer.weights.end());
    result.chunks = prompt.chunks;
    result.prompt = prompt.size() - header;
    const float weight = answer.labels.front() == no_label ? 0.0F : answer.weights.front();
    for (std::int64_t row = result.prompt - 1; weight > 0.0F && row < prompt.size() - 1; ++row) {
      const auto r = static_cast<std::size_t>(row);
      result.labels[r] = result.tokens[r + 1];
      result.weights[r] = weight;
    }
    return result;
  }

  const chat_encoder<Tokenizer>* encoder_;
  preference_options options_;
  length_policy length_;
  std::int64_t prefix_;
};

}  // namespace lodestone
