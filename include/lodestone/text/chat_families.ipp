// Definitions of chat_families.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <array>
#include <concepts>

#include <lodestone/core/error.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/text/chat_families.hpp>

namespace lodestone {

namespace families {

LODESTONE_INLINE chat_template longalign_llama() {
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

LODESTONE_INLINE chat_template longalign_chatglm() {
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

LODESTONE_INLINE chat_template llama_2() {
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

LODESTONE_INLINE chat_template llama_3() {
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

LODESTONE_INLINE chat_template mistral() {
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

LODESTONE_INLINE chat_template chatml() {
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

LODESTONE_INLINE chat_template chatglm3() {
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

LODESTONE_INLINE chat_template glm_4() {
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

LODESTONE_INLINE const std::vector<chat_family>& chat_families() {
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

LODESTONE_INLINE std::string chat_template_names() {
  std::string names;
  for (const chat_family& family : chat_families()) names += (names.empty() ? "" : ", ") + family.form.name;
  return names;
}

LODESTONE_INLINE chat_template find_chat_template(std::string_view name) {
  for (const chat_family& family : chat_families()) {
    if (family.form.name == name) return family.form;
  }
  throw config_error("no chat template is called '" + std::string(name) + "'", "template",
                     "the names are: " + chat_template_names() + ", or custom with strings of your own");
}

LODESTONE_INLINE chat_template detect_chat_template(std::string_view template_text,
                                                    const std::function<bool(std::string_view)>& has_token) {
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
