// What the small JSON files of a model folder say about special tokens and the chat template.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <lodestone/core/error.hpp>

namespace lodestone {

/// Special tokens of a model folder, as text; what the folder does not say is absent.
struct special_tokens {
  std::optional<std::string> bos{};      ///< begins a sequence
  std::optional<std::string> eos{};      ///< ends a sequence
  std::optional<std::string> unk{};      ///< stands for what has no token
  std::optional<std::int32_t> eos_id{};  ///< of config.json or generation_config.json: the first when it is a list
  std::string chat_template{};           ///< the Jinja source; empty when there is none
  /// Every key that ends in "_token" with its text, as chat templates see them.
  std::vector<std::pair<std::string, std::string>> texts{};
  /// Jinja sources by name: of a list of templates, and of the files in additional_chat_templates.
  std::vector<std::pair<std::string, std::string>> named_templates{};
};

/// Reads tokenizer_config.json, special_tokens_map.json, chat_template.jinja, additional_chat_templates and the
/// end-of-sequence id of generation_config.json or config.json, as far as they exist. The first file that names a token
/// wins.
[[nodiscard]] special_tokens read_special_tokens(const std::filesystem::path& folder);

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/text/special_tokens.ipp>
#endif
