// SentencePiece's tokenizer.model: the protocol buffer, and the BPE or unigram tokenizer it describes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/text/tokenizer_parts.hpp>

namespace lodestone::text {

/// The message ModelProto of sentencepiece_model.proto, as far as encoding needs it.
struct sentencepiece_model {
  enum class piece_type : std::int64_t { normal = 1, unknown, control, user_defined, unused, byte };
  enum class model_type : std::int64_t { unigram = 1, bpe, word, character };
  /// An entry of the vocabulary.
  struct piece {
    std::string text;
    float score = 0;
    piece_type type = piece_type::normal;
  };

  std::vector<piece> pieces;  ///< the id of a piece is its place
  model_type type = model_type::unigram;
  bool byte_fallback = false;
  bool treat_whitespace_as_suffix = false;
  std::string bos_piece = "<s>";
  std::string eos_piece = "</s>";
  std::string character_map;  ///< compiled
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;

  /// Reads the bytes of a file. Throws format_error, with `where`, for anything else than such a message and for
  /// features that are not supported.
  [[nodiscard]] static sentencepiece_model parse(std::string_view bytes, const std::string& where);

 private:
  void read_piece(std::string_view bytes, const std::string& where);

  void read_trainer(std::string_view bytes, const std::string& where);

  void read_normalizer(std::string_view bytes, const std::string& where);
};

/// Builds a tokenizer: SentencePiece's ids for any text. Control pieces and the unknown piece are special tokens. No
/// prefix or suffix is set; see read_sentencepiece_folder. Throws format_error, with `where`.
[[nodiscard]] tokenizer_parts build_sentencepiece(const sentencepiece_model& model, const std::string& where);

}  // namespace lodestone::text

#ifndef LODESTONE_COMPILED
#include <lodestone/text/sentencepiece_model.ipp>
#endif
