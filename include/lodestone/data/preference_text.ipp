// Definitions of preference_text.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <optional>
#include <utility>

#include <lodestone/core/inline.hpp>
#include <lodestone/data/preference_text.hpp>
#include <lodestone/text/chat_program.hpp>

namespace lodestone::detail {

inline constexpr std::string_view context_mark = "{context}";
inline constexpr std::string_view question_mark = "{question}";

LODESTONE_INLINE void check_context_form(std::string_view form) {
  for (const std::string_view mark : {context_mark, question_mark}) {
    const std::size_t at = form.find(mark);
    if (at == std::string_view::npos || form.find(mark, at + 1) != std::string_view::npos) {
      throw config_error("must hold " + std::string(mark) + " once", "context_form",
                         "write for example \"{context}\\n\\n{question}\"");
    }
  }
}

/// The user turn that holds context and question; `bounds` gets the places where chunks begin and the last one ends.
[[nodiscard]] inline std::string context_turn(const preference_record& record, const preference_options& options,
                                              std::vector<std::size_t>& bounds) {
  const std::string_view form = options.context_form;
  const std::size_t context_at = form.find(context_mark);
  const std::size_t question_at = form.find(question_mark);
  std::string text;
  for (std::size_t at = 0; at < form.size();) {
    if (at == context_at) {
      for (std::size_t i = 0; i < record.context.size(); ++i) {
        bounds.push_back(text.size());
        text += record.context[i];
        if (i + 1 < record.context.size()) text += options.chunk_separator;
      }
      bounds.push_back(text.size());
      at += context_mark.size();
    } else if (at == question_at) {
      text += record.question;
      at += question_mark.size();
    } else {
      text += form[at++];
    }
  }
  return text;
}

/// A segment of plain text, in which control tokens are characters.
[[nodiscard]] inline chat_segment plain_segment(const std::string& text) {
  chat_segment segment;
  segment.text = text;
  segment.is_template = false;
  return segment;
}

/// Cuts the segment of the last message, whose text is `content`, at the bounds of the chunks.
inline void cut_context(std::vector<chat_segment>& segments, std::int32_t message, std::string_view content,
                        std::span<const std::size_t> bounds, std::string_view where) {
  const auto found = std::find_if(segments.begin(), segments.end(),
                                  [&](const chat_segment& segment) { return segment.message == message; });
  // Bytes that the template trimmed away in front.
  const std::size_t trimmed = found == segments.end() ? std::string_view::npos : content.find(found->text);
  if (trimmed == std::string_view::npos)
    throw data_error("the chat template does not write the context as it stands", where, "name a built-in template");
  const chat_segment whole = *found;
  std::vector<chat_segment> parts;
  const auto add = [&](std::size_t begin, std::size_t end, bool is_bound) {
    chat_segment& part = parts.emplace_back(whole);
    part.text = whole.text.substr(begin, end - begin);
    part.bounds_chunk = is_bound;
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
  const auto place = segments.erase(found);
  segments.insert(place, parts.begin(), parts.end());
}

/// The messages without weights of their own: those would cut the tokenisation of what is not scored.
[[nodiscard]] inline std::vector<chat_message> unweighted(std::vector<chat_message> messages) {
  for (chat_message& message : messages) message.weight.reset();
  return messages;
}

LODESTONE_INLINE std::vector<chat_segment> prompt_segments(const chat_template& form, const preference_record& record,
                                                           const preference_options& options, std::string_view where) {
  if (record.is_text) return {plain_segment(record.text)};
  std::vector<chat_message> messages = unweighted(record.messages);
  std::vector<std::size_t> bounds;
  if (!record.context.empty()) {
    messages.push_back({chat_role::user, context_turn(record, options, bounds), std::nullopt});
  }
  std::vector<chat_segment> segments = render_prompt(form, messages, where);
  if (!bounds.empty()) {
    cut_context(segments, static_cast<std::int32_t>(messages.size()) - 1, messages.back().content, bounds, where);
  }
  return segments;
}

LODESTONE_INLINE std::vector<chat_segment> answer_segments(const chat_template& form, const preference_record& record,
                                                           std::size_t i, std::string_view where) {
  const preference_answer& answer = record.answers[i];
  if (record.is_text) {
    std::vector<chat_segment> segments{plain_segment(answer.text), {}};
    segments[0].starts_piece = true;
    segments[1].is_end_token = true;
    segments[0].weight = segments[1].weight = 1.0;
    return segments;
  }
  std::vector<chat_message> messages = unweighted(record.messages);
  if (!record.context.empty()) messages.push_back({chat_role::user, "?", std::nullopt});  // only its place counts
  const std::size_t before = form.program ? 0 : render_prompt(form, messages, where).size();
  for (const chat_message& turn : answer.messages) {
    messages.push_back(turn);
    if (turn.role != chat_role::assistant) messages.back().weight.reset();
  }
  if (form.program) return render_program_answer(form, messages, messages.size() - answer.messages.size(), where);
  std::vector<chat_segment> segments = render(form, messages, target_choice::all_answers, where);
  segments.erase(segments.begin(), segments.begin() + static_cast<std::ptrdiff_t>(before));
  return segments;
}

inline constexpr std::size_t seam_bytes = 256;

[[nodiscard]] inline bool is_inside_character(std::string_view text, std::size_t at) {
  return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0U) == 0x80U;
}

LODESTONE_INLINE std::vector<chat_segment> last_bytes(std::span<const chat_segment> segments) {
  std::vector<chat_segment> result;
  std::size_t left = seam_bytes;
  for (std::size_t i = segments.size(); i-- > 0 && left > 0;) {
    chat_segment segment = segments[i];
    if (segment.text.size() > left) {
      std::size_t begin = segment.text.size() - left;
      while (is_inside_character(segment.text, begin)) --begin;
      segment.text.erase(0, begin);
    }
    left -= std::min(left, segment.text.size());
    result.insert(result.begin(), std::move(segment));
  }
  return result;
}

LODESTONE_INLINE std::vector<chat_segment> first_bytes(std::span<const chat_segment> segments) {
  std::vector<chat_segment> result;
  std::size_t left = seam_bytes;
  for (const chat_segment& segment : segments) {
    if (segment.is_end_token || left == 0) break;
    chat_segment& part = result.emplace_back(segment);
    if (part.text.size() > left) {
      std::size_t end = left;
      while (is_inside_character(part.text, end)) ++end;
      part.text.erase(end);
    }
    left -= std::min(left, part.text.size());
  }
  return result;
}

}  // namespace lodestone::detail
