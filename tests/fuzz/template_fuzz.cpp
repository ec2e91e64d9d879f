// Arbitrary template strings and messages: the laws of rendering and encoding hold, or an error says why not.
//
// The input is split at bytes 0xFF (which UTF-8 never holds): the strings of the template, then the messages.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/text/chat_encoder.hpp>

#include "../text/toy_tokenizer.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lodestone;
  static const lodestone_test::toy_tokenizer plain = lodestone_test::every_format(false);
  static const lodestone_test::toy_tokenizer spaced = lodestone_test::every_format(true);
  std::vector<std::string> fields(1);
  for (std::size_t i = 0; i < size; ++i) {
    if (data[i] == 0xFF) {
      fields.emplace_back();
    } else {
      fields.back() += static_cast<char>(data[i]);
    }
  }
  fields.resize(std::max<std::size_t>(fields.size(), 12));
  chat_template form;
  form.begin = fields[0].substr(0, 4) == "<s>" ? "<s>" : "";
  form.system_prefix = fields[1];
  form.system_suffix = fields[2];
  form.user_prefix = fields[3];
  form.user_suffix = fields[4];
  form.assistant_prefix = fields[5];
  form.assistant_suffix = fields[6];
  form.turn_separator = fields[7];
  form.end_token = fields[8];
  const unsigned choice = fields[9].empty() ? 0U : static_cast<unsigned char>(fields[9][0]);
  form.end = static_cast<answer_end>(choice % 3);
  form.system_in_user_turn = (choice & 4U) != 0;
  form.trim = (choice & 8U) != 0;
  chat_encoding options;
  options.targets = static_cast<target_choice>((choice >> 4) % 3);
  options.content = (choice & 64U) != 0 ? content_tokens::parse : content_tokens::literal;
  options.joint = (choice & 128U) != 0 ? piece_joint::separate : piece_joint::continuous;
  std::vector<chat_message> messages;
  for (std::size_t i = 10; i < fields.size(); ++i) {
    const std::size_t turn = i - 10;
    chat_message message;
    message.role = turn == 0 ? chat_role::system : turn % 2 == 1 ? chat_role::user : chat_role::assistant;
    message.content = fields[i];
    messages.push_back(std::move(message));
  }
  for (const lodestone_test::toy_tokenizer* tokenizer : {&plain, &spaced}) {
    try {
      const chat_encoder encoder(*tokenizer, form, options);
      encoding_report report;
      const encoded_sequence example = encoder.encode(messages, "fuzz:1", &report);
      if (example.labels.size() != example.tokens.size()) std::abort();
      if (example.weights.size() != example.tokens.size()) std::abort();
      for (std::size_t r = 0; r < example.tokens.size(); ++r) {
        if ((example.labels[r] == no_label) != (example.weights[r] == 0.0F)) std::abort();
        if (example.tokens[r] < 0 || example.tokens[r] >= tokenizer->vocabulary_size()) std::abort();
        const bool follows = r + 1 < example.tokens.size() && example.labels[r] == example.tokens[r + 1];
        if (example.labels[r] != no_label && !follows && form.end != answer_end::label_only) std::abort();
      }
      chat_encoding all = options;
      all.targets = target_choice::all_tokens;
      if (chat_encoder(*tokenizer, form, all).encode(messages).tokens != example.tokens) std::abort();
      (void)encoder.encode_prompt(messages);
      (void)encoder.encode_text(fields[10]);
    } catch (const error&) {
    }
  }
  try {
    (void)detect_chat_template(fields[3], [&](std::string_view token) { return plain.id_of(token).has_value(); });
  } catch (const config_error&) {
  }
  return 0;
}
