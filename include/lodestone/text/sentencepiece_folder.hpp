// A model folder with tokenizer.model: the SentencePiece model and what the files beside it add.
#pragma once

#include <filesystem>

#include <lodestone/core/error.hpp>
#include <lodestone/text/tokenizer_parts.hpp>

namespace lodestone::text {

/// Reads tokenizer.model, with tokenizer_config.json (tokenizer_class, add_bos_token, default true, add_eos_token,
/// default false, added_tokens_decoder) and added_tokens.json beside it. Throws io_error and format_error.
[[nodiscard]] tokenizer_parts read_sentencepiece_folder(const std::filesystem::path& file);

}  // namespace lodestone::text

#ifndef LODESTONE_COMPILED
#include <lodestone/text/sentencepiece_folder.ipp>
#endif
