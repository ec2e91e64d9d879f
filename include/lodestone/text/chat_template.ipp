// Definitions of chat_template.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <cstddef>
#include <optional>
#include <utility>

#include <lodestone/core/inline.hpp>
#include <lodestone/text/chat_template.hpp>

namespace lodestone {

namespace detail {

LODESTONE_INLINE std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blanks = " \t\r\n\f\v";
  const std::size_t begin = text.find_first_not_of(blanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

[[nodiscard]] inline std::string with_round(std::string_view text, std::int64_t round) {
  constexpr std::string_view mark = "{round}";
  std::string result;
  for (std::size_t at = 0;;) {
    const std::size_t found = text.find(mark, at);
    result.append(text.substr(at, found - at));
    if (found == std::string_view::npos) return result;
    result.append(std::to_string(round));
    at = found + mark.size();
  }
}

/// Builds the segments of one conversation; one object per rendering.
class chat_renderer {
 public:
  chat_renderer(const chat_template& form, target_choice targets) : form_(form), targets_(targets) {}

  std::vector<chat_segment> segments;
  render_report report;

  void render(std::span<const chat_message> messages, bool is_prompt, std::string_view where) {
    std::size_t last_answer = messages.size();
    for (std::size_t i = 0; i < messages.size(); ++i) {
      if (!is_prompt && messages[i].role == chat_role::assistant) last_answer = i;
    }
    std::size_t end = messages.size();
    if (!is_prompt) {
      if (last_answer == messages.size()) {
        throw data_error("no assistant turn", where, "training needs an answer; plain documents use the field 'text'");
      }
      report.unanswered_turns = static_cast<std::int64_t>(messages.size() - last_answer - 1);
      end = last_answer + 1;
    }
    std::string system = form_.default_system;
    std::int32_t system_message = -1;
    std::size_t first = 0;
    if (end > 0 && messages[0].role == chat_role::system) {
      system = content(messages[0]);
      system_message = 0;
      first = 1;
    }
    const bool has_system = system_message == 0 || !system.empty();
    if (has_system && !form_.system_in_user_turn) add_system(system, system_message, messages);
    bool is_system_open = has_system && form_.system_in_user_turn;
    std::int64_t round = 0;
    chat_role previous = chat_role::system;
    for (std::size_t i = first; i < end; ++i) {
      const chat_message& message = messages[i];
      if (previous == chat_role::assistant) add(form_.turn_separator, -1);
      switch (message.role) {
        case chat_role::system:
          if (form_.system_in_user_turn) {
            throw data_error("message " + std::to_string(i + 1) + ": template '" + form_.name +
                                 "' has no place for a system message after the first turn",
                             where, "put it first, or choose another template");
          }
          add_system(content(message), static_cast<std::int32_t>(i), messages);
          break;
        case chat_role::user:
          add(with_round(form_.user_prefix, ++round), -1);
          if (is_system_open) {
            add(form_.system_prefix, -1);
            add_content(system, system_message, messages);
            add(form_.system_suffix, -1);
            is_system_open = false;
          }
          add_content(content(message), static_cast<std::int32_t>(i), messages);
          add(form_.user_suffix, -1);
          break;
        case chat_role::assistant: add_answer(messages, i, i == last_answer); break;
      }
      previous = message.role;
    }
    if (is_prompt) {
      if (previous == chat_role::assistant) add(form_.turn_separator, -1);
      std::string opening = form_.assistant_prefix;
      if (opening.ends_with(' ')) opening.pop_back();
      add(std::move(opening), -1);
    }
  }

 private:
  [[nodiscard]] std::string content(const chat_message& message) const {
    return std::string(form_.trim ? trimmed(message.content) : std::string_view(message.content));
  }

  /// The weight of what is not an answer: 0, unless all tokens are trained.
  [[nodiscard]] double template_weight() const { return targets_ == target_choice::all_tokens ? 1.0 : 0.0; }

  chat_segment& add(std::string text, std::int32_t message) {
    chat_segment& segment = segments.emplace_back();
    segment.text = std::move(text);
    segment.weight = template_weight();
    segment.message = message;
    segment.starts_piece = cut_;
    if (segment.text.empty()) return segment;
    cut_ = false;
    if (end_weight_ > 0.0 && targets_ != target_choice::all_tokens) {
      segment.is_first_token_target = true;
      segment.weight = end_weight_;
    }
    end_weight_ = 0.0;
    return segment;
  }

  void add_content(std::string text, std::int32_t index, std::span<const chat_message> messages) {
    const std::optional<double> own = index < 0 ? std::nullopt : messages[static_cast<std::size_t>(index)].weight;
    // A weight of its own cuts the tokenisation at the edges of the message, so that exactly its tokens carry it.
    const bool is_apart = own.has_value() && targets_ != target_choice::last_answer && *own != template_weight();
    if (is_apart) cut_ = true;
    chat_segment& segment = add(std::move(text), index);
    segment.is_template = false;
    if (!is_apart) return;
    segment.weight = *own;
    cut_ = true;
  }

  void add_system(std::string text, std::int32_t index, std::span<const chat_message> messages) {
    add(form_.system_prefix, -1);
    add_content(std::move(text), index, messages);
    add(form_.system_suffix, -1);
  }

  void add_answer(std::span<const chat_message> messages, std::size_t i, bool is_last) {
    const chat_message& message = messages[i];
    const auto index = static_cast<std::int32_t>(i);
    std::string opening = form_.assistant_prefix;
    const bool has_space = opening.ends_with(' ');
    if (has_space) opening.pop_back();
    add(std::move(opening), -1);
    std::string text = content(message);
    double weight = message.weight.value_or(1.0);
    if (trimmed(text).empty()) {
      ++report.empty_answers;
      if (targets_ != target_choice::all_tokens) weight = 0.0;
    }
    if (targets_ == target_choice::last_answer && !is_last) weight = 0.0;

    cut_ = true;
    if (has_space) add(" ", index).weight = weight;
    chat_segment& answer = add(std::move(text), index);
    answer.is_template = false;
    answer.weight = weight;
    if (!form_.assistant_suffix.empty()) add(form_.assistant_suffix, index).weight = weight;
    cut_ = true;
    if (form_.end == answer_end::next_token && !is_last) {
      end_weight_ = weight;
      return;
    }
    if (form_.end_token.empty()) return;
    chat_segment& end = add(form_.end_token, index);
    end.is_end_token = true;
    end.weight = weight;
    end.is_label_only = form_.end == answer_end::label_only && !is_last;
    cut_ = true;
  }

  const chat_template& form_;
  target_choice targets_;
  bool cut_ = false;         // the next segment with text starts a piece
  double end_weight_ = 0.0;  // the next segment's first token ends an answer of this weight
};

}  // namespace detail

LODESTONE_INLINE std::vector<chat_segment> render(const chat_template& form, std::span<const chat_message> messages,
                                                  target_choice targets, std::string_view where,
                                                  render_report* report) {
  if (form.program) return detail::render_program(form, messages, targets, where, report);
  detail::chat_renderer renderer(form, targets);
  renderer.render(messages, false, where);
  if (report != nullptr) *report = renderer.report;
  return std::move(renderer.segments);
}

LODESTONE_INLINE std::vector<chat_segment> render_prompt(const chat_template& form,
                                                         std::span<const chat_message> messages,
                                                         std::string_view where) {
  if (form.program) return detail::render_program_prompt(form, messages, where);
  detail::chat_renderer renderer(form, target_choice::all_answers);
  renderer.render(messages, true, where);
  return std::move(renderer.segments);
}

LODESTONE_INLINE std::string to_text(std::span<const chat_segment> segments) {
  std::string text;
  for (const chat_segment& segment : segments) {
    if (!segment.is_label_only) text += segment.text;
  }
  return text;
}

}  // namespace lodestone

#include <lodestone/text/chat_program.hpp>
