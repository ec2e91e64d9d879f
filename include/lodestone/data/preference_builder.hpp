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
#include <lodestone/data/summary.hpp>
#include <lodestone/text/chat_encoder.hpp>

namespace lodestone {

/// How preference records become examples.
struct preference_options {
  /// The header that the template writes in front of an answer ("<|im_start|>assistant\n") belongs to the answer and is
  /// scored, as in the labels of LOGO's code; otherwise it belongs to the prompt. The tokens are the same.
  bool score_header = true;
  /// The user turn of a record with context and question.
  std::string context_form = "{context}\n\n{question}";
  std::string chunk_separator{};  ///< between the chunks of a context, at the end of the one before
};

/// Turns preference records into groups of examples. Immutable: safe to call from several threads. The encoder must
/// outlive it.
///
/// Prompt and answers are tokenised apart, so all answers of a group stand behind the same tokens; where one
/// tokenisation of both would give other tokens at the seam, data_summary::seams counts it. Each chunk of a context is
/// tokenised by itself: its bounds are bounds of tokens. Only answers are scored, with their end token.
template <class Tokenizer>
class preference_builder {
 public:
  /// Throws config_error unless context_form has one {context} in front of or behind one {question}.
  preference_builder(const chat_encoder<Tokenizer>& encoder, preference_options options, length_policy length)
      : encoder_(&encoder),
        options_(std::move(options)),
        length_(length),
        prefix_(static_cast<std::int64_t>(encoder.prefix().size())) {
    context_at_ = place("{context}");
    question_at_ = place("{question}");
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
      std::vector<chat_segment> segments = answer_segments(current, i, where);
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

  [[nodiscard]] std::size_t place(std::string_view mark) const {
    const std::size_t at = options_.context_form.find(mark);
    if (at == std::string::npos || options_.context_form.find(mark, at + 1) != std::string::npos) {
      throw config_error("must hold " + std::string(mark) + " once", "context_form",
                         "write for example \"{context}\\n\\n{question}\"");
    }
    return at;
  }

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

  /// The user turn that holds context and question, and where in it the chunks begin and the last one ends.
  [[nodiscard]] std::string context_turn(const preference_record& record, std::vector<std::size_t>& bounds) const {
    std::string text;
    const auto write_context = [&] {
      for (std::size_t i = 0; i < record.context.size(); ++i) {
        bounds.push_back(text.size());
        text += record.context[i];
        if (i + 1 < record.context.size()) text += options_.chunk_separator;
      }
      bounds.push_back(text.size());
    };
    constexpr std::size_t context_mark = 9;    // {context}
    constexpr std::size_t question_mark = 10;  // {question}
    const std::string& form = options_.context_form;
    if (context_at_ < question_at_) {
      text.append(form, 0, context_at_);
      write_context();
      text.append(form, context_at_ + context_mark, question_at_ - context_at_ - context_mark);
      text += record.question;
      text.append(form, question_at_ + question_mark);
    } else {
      text.append(form, 0, question_at_);
      text += record.question;
      text.append(form, question_at_ + question_mark, context_at_ - question_at_ - question_mark);
      write_context();
      text.append(form, context_at_ + context_mark);
    }
    return text;
  }

  /// The conversation of the prompt: what is not scored has no weight of its own, which would cut the tokenisation.
  [[nodiscard]] static std::vector<chat_message> unweighted(std::vector<chat_message> messages) {
    for (chat_message& message : messages) message.weight.reset();
    return messages;
  }

  [[nodiscard]] static chat_segment plain_segment(std::string text) {
    chat_segment segment;
    segment.text = std::move(text);
    segment.is_template = false;
    return segment;
  }

  [[nodiscard]] encoded_prompt encode_prompt(const preference_record& record, std::string_view where,
                                             data_summary* counts = nullptr) const {
    encoded_prompt prompt;
    if (record.is_text) {
      prompt.segments.push_back(plain_segment(record.text));
    } else {
      std::vector<chat_message> messages = unweighted(record.messages);
      std::vector<std::size_t> bounds;
      if (!record.context.empty()) messages.push_back({chat_role::user, context_turn(record, bounds), std::nullopt});
      prompt.segments = render_prompt(encoder_->form(), messages, where);
      if (!bounds.empty()) cut_context(prompt.segments, messages, bounds);
    }
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

  /// Cuts the last message's segment at the bounds of the chunks.
  static void cut_context(std::vector<chat_segment>& segments, const std::vector<chat_message>& messages,
                          std::span<const std::size_t> bounds) {
    const auto last = static_cast<std::int32_t>(messages.size()) - 1;
    const auto found = std::find_if(segments.begin(), segments.end(),
                                    [&](const chat_segment& segment) { return segment.message == last; });
    const chat_segment whole = *found;
    const std::size_t trimmed = messages.back().content.find(whole.text);  // a template may trim the message
    std::vector<chat_segment> parts;
    const auto add = [&](std::size_t begin, std::size_t end, bool is_bound) {
      chat_segment& part = parts.emplace_back(whole);
      part.text = whole.text.substr(begin, end - begin);
      part.bounds_chunk = is_bound;
      part.starts_piece = parts.size() == 1 ? whole.starts_piece : is_bound;
    };
    std::size_t at = 0;
    bool is_bound = false;
    for (const std::size_t bound : bounds) {
      const std::size_t next = std::clamp(bound, trimmed, trimmed + whole.text.size()) - trimmed;
      if (next > at || is_bound) add(at, next, is_bound);
      at = next;
      is_bound = true;
    }
    add(at, whole.text.size(), is_bound);
    const auto position = segments.erase(found);
    segments.insert(position, parts.begin(), parts.end());
  }

  [[nodiscard]] std::vector<chat_segment> answer_segments(const preference_record& record, std::size_t i,
                                                          std::string_view where) const {
    const preference_answer& answer = record.answers[i];
    if (record.is_text) {
      std::vector<chat_segment> segments{plain_segment(answer.text), {}};
      segments[0].starts_piece = true;
      segments[1].is_end_token = true;
      segments[0].weight = segments[1].weight = 1.0;
      return segments;
    }
    std::vector<chat_message> messages = unweighted(record.messages);
    if (!record.context.empty()) messages.push_back({chat_role::user, "?", std::nullopt});  // left out again below
    const std::size_t before = render_prompt(encoder_->form(), messages, where).size();
    for (const chat_message& turn : answer.messages) {
      messages.push_back(turn);
      if (turn.role != chat_role::assistant) messages.back().weight.reset();
    }
    std::vector<chat_segment> segments = render(encoder_->form(), messages, target_choice::all_answers, where);
    segments.erase(segments.begin(), segments.begin() + static_cast<std::ptrdiff_t>(before));
    return segments;
  }

  static constexpr std::size_t seam_bytes = 256;  // what may reach over a seam; words are shorter

  /// The last bytes of some segments, whole UTF-8 characters.
  [[nodiscard]] static std::vector<chat_segment> tail(std::span<const chat_segment> segments) {
    std::vector<chat_segment> result;
    std::size_t left = seam_bytes;
    for (std::size_t i = segments.size(); i-- > 0 && left > 0;) {
      chat_segment segment = segments[i];
      if (segment.text.size() > left) {
        std::size_t begin = segment.text.size() - left;
        while (begin > 0 && (static_cast<unsigned char>(segment.text[begin]) & 0xC0U) == 0x80U) --begin;
        segment.text.erase(0, begin);
      }
      left -= std::min(left, segment.text.size());
      segment.bounds_chunk = false;
      result.insert(result.begin(), std::move(segment));
    }
    return result;
  }

  /// The first bytes of an answer's text, up to its end token.
  [[nodiscard]] static std::vector<chat_segment> head(std::span<const chat_segment> segments) {
    std::vector<chat_segment> result;
    std::size_t left = seam_bytes;
    for (const chat_segment& segment : segments) {
      if (segment.is_end_token || left == 0) break;
      chat_segment& part = result.emplace_back(segment);
      if (part.text.size() > left) {
        std::size_t end = left;
        while (end < part.text.size() && (static_cast<unsigned char>(part.text[end]) & 0xC0U) == 0x80U) ++end;
        part.text.erase(end);
      }
      left -= std::min(left, part.text.size());
    }
    return result;
  }

  [[nodiscard]] ids tokens_of(const std::vector<chat_segment>& segments) const {
    return encoder_->encode_segments(segments, encoder_->end_id()).tokens;
  }

  /// Whether one tokenisation of prompt and answer would give other tokens.
  [[nodiscard]] bool is_seam_uneven(std::span<const chat_segment> prompt, std::span<const chat_segment> answer) const {
    std::vector<chat_segment> text = tail(prompt);
    const std::size_t seam = text.size();
    for (chat_segment& segment : head(answer)) text.push_back(std::move(segment));
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
    std::vector<chat_segment> text = tail(prompt.segments);
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
  std::size_t context_at_ = 0;
  std::size_t question_at_ = 0;
};

}  // namespace lodestone
