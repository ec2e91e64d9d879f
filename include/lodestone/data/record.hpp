// Reads one training record in any accepted format: messages, ShareGPT conversations, Alpaca fields, prompt, text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/text/chat_message.hpp>
#include <lodestone/text/jsonl.hpp>

namespace lodestone {

/// How the fields of a record are read. `automatic` decides for each record by the first key of this list that it has:
/// messages, conversations (or conversation), instruction, prompt, text; but prepare() takes a record that has both
/// chosen and rejected as a preference.
enum class data_format { automatic, messages, conversations, alpaca, prompt, text, preference };

/// The format of that name; config_error at key "format" with the list of names otherwise.
[[nodiscard]] data_format parse_data_format(std::string_view name);

/// A conversation or a plain document, as the user wrote it.
struct training_record {
  std::vector<chat_message> messages{};  ///< empty for a document
  std::string text{};                    ///< the document
  bool is_text = false;                  ///< a document: `text` counts, not `messages`
  double weight = 1.0;                   ///< w, the weight of the example
  std::int64_t line = 0;                 ///< where the record begins in its file, from 1
  std::int64_t leading_dropped = 0;      ///< assistant turns before the first user turn, which were dropped
  std::int64_t joined_turns = 0;         ///< turns joined to the one before, which had the same role
};

/// What a preference record's prompt that is text, with answers that are text, means.
enum class plain_prompt {
  text,  ///< plain text, which the answers continue: what TRL's trainers make of it
  chat   ///< a user message, which the chat template surrounds; answers are the assistant's
};

/// How records are read.
struct record_options {
  data_format format = data_format::automatic;  ///< how the fields are read
  /// Two turns of one role in a row become one, with a blank line between; otherwise they are an error.
  bool join_turns = false;
  /// Zero-width characters (U+200B, U+200C, U+200D, U+FEFF) leave the answers, as in the original LongAlign code. They
  /// also hold emoji and several scripts together, hence off.
  bool strip_zero_width = false;
  plain_prompt plain = plain_prompt::text;  ///< preference records whose `prompt` is text
};

/// Reads one record of `file`, whose text is UTF-8. Throws data_error at "file:line" for invalid JSON, missing or
/// unknown fields, unknown roles, content that is not text, negative weights, turns that do not alternate, no
/// assistant turn, and data_format::preference (parse_preference() reads that).
[[nodiscard]] training_record parse_record(const json_record& text, std::string_view file,
                                           const record_options& options = {});

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/data/record.ipp>
#endif
