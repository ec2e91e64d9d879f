// Reads one preference record: a prompt, the answer to prefer and those to avoid, in Lodestone's and in TRL's forms.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <lodestone/batching/example.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/data/record.hpp>
#include <lodestone/text/chat_message.hpp>
#include <lodestone/text/jsonl.hpp>

namespace lodestone {

/// One answer of a preference record.
struct preference_answer {
  std::vector<chat_message> messages{};  ///< begins and ends with an assistant turn; empty when the record is text
  std::string text{};                    ///< the answer of a record that is text
  double weight = 1.0;                   ///< of the chosen answer w of the record, of a rejected one its w_j
  double reference = no_reference;       ///< log-probability of the answer under a reference model
};

/// A prompt with its answers, as the user wrote them. The prompt is one of three: a conversation, a context with a
/// question, or plain text that no chat template touches.
struct preference_record {
  std::vector<chat_message> messages{};      ///< ends with a user turn; with a context, at most a system message
  std::vector<std::string> context{};        ///< the chunks of the context; a context that is one text is one chunk
  std::string question{};                    ///< what is asked about the context
  std::string text{};                        ///< the plain prompt
  bool is_text = false;                      ///< plain: `text` counts, and the answers' `text`
  std::vector<preference_answer> answers{};  ///< the chosen one first, then at least one rejected
  std::int64_t line = 0;                     ///< where the record begins in its file, from 1
  std::int64_t joined_turns = 0;             ///< turns joined to the one before, which had the same role
};

/// Reads one preference record of `file`, whose text is UTF-8; options.format does not matter here.
///
/// The prompt is `prompt` (text or messages), `messages`, `context` (text or a list of texts) with `question`, or
/// nothing: then it is what chosen and rejected have in common at their beginning, found as TRL's extract_prompt does.
/// `chosen` is text or messages, `rejected` one of these or a list of them; messages are an answer or the whole
/// conversation. Optional: `weight`, `rejected_weights`, `reference_chosen`, `reference_rejected`, `system`.
///
/// Throws data_error at "file:line" for missing fields and wrong types, an empty answer, equal answers, a prompt that
/// differs between the answers, and counts that do not match.
[[nodiscard]] preference_record parse_preference(const json_record& text, std::string_view file,
                                                 const record_options& options = {});

/// parse_preference() for a record with both `chosen` and `rejected` and for data_format::preference, parse_record()
/// for the others: what data_format::automatic means where both kinds of records are read.
[[nodiscard]] std::variant<training_record, preference_record> parse_any_record(const json_record& text,
                                                                                std::string_view file,
                                                                                const record_options& options = {});

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/data/preference.ipp>
#endif
