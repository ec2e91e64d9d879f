// The chat formats that Lodestone knows by name, and the marker tokens that reveal them in a model folder.
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/text/chat_template.hpp>

namespace lodestone {

namespace families {

/// LongAlign's format for Llama models: [INST]q[/INST]a joined by two newlines; no spaces, no system block of its own.
/// A system message, which the original does not know, stands before the first question as in Llama-2.
[[nodiscard]] inline chat_template longalign_llama() {
  chat_template form;
  form.name = "longalign-llama";
  form.begin = "<s>";
  form.system_prefix = "<<SYS>>\n";
  form.system_suffix = "\n<</SYS>>\n\n";
  form.user_prefix = "[INST]";
  form.user_suffix = "[/INST]";
  form.turn_separator = "\n\n";
  form.end_token = "</s>";
  form.system_in_user_turn = true;
  return form;
}

/// LongAlign's format for ChatGLM: numbered rounds with full-width colons. The tokenizer writes [gMASK] sop.
[[nodiscard]] inline chat_template longalign_chatglm() {
  chat_template form;
  form.name = "longalign-chatglm";
  form.begin = "[gMASK]sop";
  form.system_suffix = "\n\n";
  form.user_prefix = "[Round {round}]\n\n\xE9\x97\xAE\xEF\xBC\x9A";  // U+95EE (ask) U+FF1A (full-width colon)
  form.user_suffix = "\n\n";
  form.assistant_prefix = "\xE7\xAD\x94\xEF\xBC\x9A";  // U+7B54 (answer) U+FF1A
  form.turn_separator = "\n\n";
  form.end_token = "</s>";
  return form;
}

/// Meta's Llama-2 chat format: `<s>[INST] <<SYS>>..<</SYS>> q [/INST] a </s><s>[INST] ...`
[[nodiscard]] inline chat_template llama_2() {
  chat_template form;
  form.name = "llama-2";
  form.begin = "<s>";
  form.system_prefix = "<<SYS>>\n";
  form.system_suffix = "\n<</SYS>>\n\n";
  form.user_prefix = "[INST] ";
  form.user_suffix = " [/INST]";
  form.assistant_prefix = " ";
  form.assistant_suffix = " ";
  form.turn_separator = "<s>";
  form.end_token = "</s>";
  form.system_in_user_turn = true;
  form.trim = true;
  return form;
}

/// Meta's Llama-3 chat format (3, 3.1, 3.2, 3.3; without the dated default system text of 3.1).
[[nodiscard]] inline chat_template llama_3() {
  chat_template form;
  form.name = "llama-3";
  form.begin = "<|begin_of_text|>";
  form.system_prefix = "<|start_header_id|>system<|end_header_id|>\n\n";
  form.system_suffix = "<|eot_id|>";
  form.user_prefix = "<|start_header_id|>user<|end_header_id|>\n\n";
  form.user_suffix = "<|eot_id|>";
  form.assistant_prefix = "<|start_header_id|>assistant<|end_header_id|>\n\n";
  form.end_token = "<|eot_id|>";
  form.trim = true;
  return form;
}

/// Mistral's instruct format (v0.1, v0.2): <s>[INST] q [/INST] a</s>[INST] ...; the system text opens the first turn.
[[nodiscard]] inline chat_template mistral() {
  chat_template form;
  form.name = "mistral";
  form.begin = "<s>";
  form.system_suffix = "\n\n";
  form.user_prefix = "[INST] ";
  form.user_suffix = " [/INST]";
  form.assistant_prefix = " ";
  form.end_token = "</s>";
  form.system_in_user_turn = true;
  return form;
}

/// ChatML (Qwen2, Qwen2.5, Qwen3, Yi, SmolLM2). No default system text is added. The newline after the last answer is
/// not written: nothing follows that could read it.
[[nodiscard]] inline chat_template chatml() {
  chat_template form;
  form.name = "chatml";
  form.system_prefix = "<|im_start|>system\n";
  form.system_suffix = "<|im_end|>\n";
  form.user_prefix = "<|im_start|>user\n";
  form.user_suffix = "<|im_end|>\n";
  form.assistant_prefix = "<|im_start|>assistant\n";
  form.turn_separator = "\n";
  form.end_token = "<|im_end|>";
  return form;
}

/// ChatGLM3's role tokens; `<|user|>` ends an answer, `</s>` the last one.
[[nodiscard]] inline chat_template chatglm3() {
  chat_template form;
  form.name = "chatglm3";
  form.begin = "[gMASK]sop";
  form.system_prefix = "<|system|>\n ";
  form.user_prefix = "<|user|>\n ";
  form.assistant_prefix = "<|assistant|>\n ";
  form.end_token = "</s>";
  form.end = answer_end::next_token;
  return form;
}

/// GLM-4's role tokens; <|user|> ends every answer.
[[nodiscard]] inline chat_template glm_4() {
  chat_template form;
  form.name = "glm-4";
  form.begin = "[gMASK]<sop>";
  form.system_prefix = "<|system|>\n";
  form.user_prefix = "<|user|>\n";
  form.assistant_prefix = "<|assistant|>\n";
  form.end_token = "<|user|>";
  form.end = answer_end::next_token;
  return form;
}

}  // namespace families

/// A format with its marks: all of `tokens` in the vocabulary, all of `words` and none of `absent` in the folder's
/// chat_template. Formats without marks are never detected, only named.
struct chat_family {
  chat_template form;
  std::vector<std::string_view> tokens{};
  std::vector<std::string_view> words{};
  std::vector<std::string_view> absent{};
};

/// Every format that has a name.
[[nodiscard]] inline const std::vector<chat_family>& chat_families() {
  static const std::vector<chat_family> all{
      {families::longalign_llama()},
      {families::longalign_chatglm()},
      {families::llama_2(), {"<s>", "</s>"}, {"[INST]", "<<SYS>>"}},
      {families::llama_3(),
       {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"},
       {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"}},
      {families::mistral(), {"<s>", "</s>"}, {"[INST]"}, {"<<SYS>>"}},
      {families::chatml(), {"<|im_start|>", "<|im_end|>"}, {"<|im_start|>", "<|im_end|>"}},
      {families::chatglm3(), {"[gMASK]", "sop", "<|user|>", "<|assistant|>"}, {"[gMASK]sop"}},
      {families::glm_4(), {"[gMASK]", "<sop>", "<|user|>", "<|assistant|>"}, {"[gMASK]<sop>"}},
  };
  return all;
}

/// The names, as error messages list them: "chatml, llama-2, ...".
[[nodiscard]] inline std::string chat_template_names() {
  std::string names;
  for (const chat_family& family : chat_families()) names += (names.empty() ? "" : ", ") + family.form.name;
  return names;
}

/// The format of that name; config_error at key "template" with the list of names otherwise.
[[nodiscard]] inline chat_template find_chat_template(std::string_view name) {
  for (const chat_family& family : chat_families()) {
    if (family.form.name == name) return family.form;
  }
  throw config_error("no chat template is called '" + std::string(name) + "'", "template",
                     "the names are: " + chat_template_names() + ", or custom with strings of your own");
}

/// The one family whose marks stand both in the vocabulary and in `template_text`, the folder's chat_template (its
/// Jinja source). `has_token(name)` tells whether the vocabulary holds a token. None or several: config_error at key
/// "template" with the names.
template <std::predicate<std::string_view> HasToken>
[[nodiscard]] chat_template detect_chat_template(std::string_view template_text, const HasToken& has_token) {
  std::vector<const chat_family*> found;
  for (const chat_family& family : chat_families()) {
    const auto is_written = [&](std::string_view word) { return template_text.find(word) != std::string_view::npos; };
    if (family.words.empty()) continue;
    if (std::all_of(family.words.begin(), family.words.end(), is_written) &&
        std::none_of(family.absent.begin(), family.absent.end(), is_written) &&
        std::all_of(family.tokens.begin(), family.tokens.end(), has_token)) {
      found.push_back(&family);
    }
  }
  if (found.size() == 1) return found.front()->form;
  if (found.empty()) {
    throw config_error(template_text.empty()
                           ? "the model folder has no chat_template, so the chat format cannot be detected"
                           : "the folder's chat_template and vocabulary show the markers of no chat format known here",
                       "template", "name one of: " + chat_template_names());
  }
  std::string names;
  for (const chat_family* family : found) names += (names.empty() ? "" : ", ") + family->form.name;
  throw config_error("the folder's chat_template shows the markers of several chat formats: " + names, "template",
                     "name one of them");
}

}  // namespace lodestone
