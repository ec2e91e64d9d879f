// The text of a preference record as segments: its prompt, its answers, and what lies on both sides of the seam.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/data/preference.hpp>
#include <lodestone/text/chat_template.hpp>

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

namespace detail {

/// Throws config_error unless the form holds {context} and {question} once each.
void check_context_form(std::string_view form);

/// The prompt up to the place where an answer begins; the bounds of a context's chunks are marked.
[[nodiscard]] std::vector<chat_segment> prompt_segments(const chat_template& form, const preference_record& record,
                                                        const preference_options& options, std::string_view where);

/// Answer i with what ends it, to be written behind prompt_segments().
[[nodiscard]] std::vector<chat_segment> answer_segments(const chat_template& form, const preference_record& record,
                                                        std::size_t i, std::string_view where);

/// The last 256 bytes or a little more, whole UTF-8 characters: no token of a word reaches farther over a seam.
[[nodiscard]] std::vector<chat_segment> last_bytes(std::span<const chat_segment> segments);

/// The first 256 bytes or a little more, whole UTF-8 characters, up to the end token.
[[nodiscard]] std::vector<chat_segment> first_bytes(std::span<const chat_segment> segments);

}  // namespace detail

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/data/preference_text.ipp>
#endif
