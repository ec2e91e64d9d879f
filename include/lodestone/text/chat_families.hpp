// The chat formats that Lodestone knows by name, and the marker tokens that reveal them in a model folder.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/text/chat_template.hpp>

namespace lodestone {

namespace families {

/// LongAlign's format for Llama models: [INST]q[/INST]a joined by two newlines; no spaces, no system block of its own.
/// A system message, which the original does not know, stands before the first question as in Llama-2.
[[nodiscard]] chat_template longalign_llama();

/// LongAlign's format for ChatGLM: numbered rounds with full-width colons. The tokenizer writes [gMASK] sop.
[[nodiscard]] chat_template longalign_chatglm();

/// Meta's Llama-2 chat format: `<s>[INST] <<SYS>>..<</SYS>> q [/INST] a </s><s>[INST] ...`
[[nodiscard]] chat_template llama_2();

/// Meta's Llama-3 chat format (3, 3.1, 3.2, 3.3; without the dated default system text of 3.1).
[[nodiscard]] chat_template llama_3();

/// Mistral's instruct format (v0.1, v0.2): <s>[INST] q [/INST] a</s>[INST] ...; the system text opens the first turn.
[[nodiscard]] chat_template mistral();

/// ChatML (Qwen2, Qwen2.5, Qwen3, Yi, SmolLM2). No default system text is added. The newline after the last answer is
/// not written: nothing follows that could read it.
[[nodiscard]] chat_template chatml();

/// ChatGLM3's role tokens; `<|user|>` ends an answer, `</s>` the last one.
[[nodiscard]] chat_template chatglm3();

/// GLM-4's role tokens; <|user|> ends every answer.
[[nodiscard]] chat_template glm_4();

}  // namespace families

/// A format with its marks: all of `tokens` in the vocabulary, all of `words` and none of `absent` in the folder's
/// chat_template. Formats without marks are never detected, only named.
struct chat_family {
  chat_template form;                      ///< its name is the one that options use
  std::vector<std::string_view> tokens{};  ///< tokens that the vocabulary must hold
  std::vector<std::string_view> words{};   ///< strings that must stand in chat_template; none: never detected
  std::vector<std::string_view> absent{};  ///< strings that must not stand there
};

/// Every format that has a name.
[[nodiscard]] const std::vector<chat_family>& chat_families();

/// The names, as error messages list them: "chatml, llama-2, ...".
[[nodiscard]] std::string chat_template_names();

/// The format of that name; config_error at key "template" with the list of names otherwise.
[[nodiscard]] chat_template find_chat_template(std::string_view name);

/// The one family whose marks stand both in the vocabulary and in `template_text`, the folder's chat_template (its
/// Jinja source). `has_token(name)` tells whether the vocabulary holds a token. None or several: config_error at key
/// "template" with the names.
[[nodiscard]] chat_template detect_chat_template(std::string_view template_text,
                                                 const std::function<bool(std::string_view)>& has_token);

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/text/chat_families.ipp>
#endif
