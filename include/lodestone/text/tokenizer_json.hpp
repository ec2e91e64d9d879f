// Reads tokenizer.json, the tokenizer file of the Hugging Face `tokenizers` library.
#pragma once

#include <string>
#include <string_view>

#include <lodestone/core/error.hpp>
#include <lodestone/text/tokenizer_parts.hpp>

namespace lodestone::text {

/// Builds a tokenizer from the text of a tokenizer.json; `where` names the file in messages. Throws format_error.
[[nodiscard]] tokenizer_parts read_tokenizer_json(std::string_view content, const std::string& where);

}  // namespace lodestone::text

#ifndef LODESTONE_COMPILED
#include <lodestone/text/tokenizer_json.ipp>
#endif
