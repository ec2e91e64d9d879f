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
  /// The numbers of the file; parse() refuses `unused`.
  enum class piece_type : std::int64_t { normal = 1, unknown, control, user_defined, unused, byte };
  /// The numbers of the file; parse() takes unigram and bpe.
  enum class model_type : std::int64_t { unigram = 1, bpe, word, character };
  /// An entry of the vocabulary.
  struct piece {
    std::string text;  ///< 1 to 1024 bytes
    /// Finite. Unigram: the log-probability. BPE: pairs that become the piece of the highest score merge first.
    float score = 0;
    piece_type type = piece_type::normal;  ///< what the piece is for
  };

  std::vector<piece> pieces;                ///< the id of a piece is its place
  model_type type = model_type::unigram;    ///< how a text is cut into pieces
  bool byte_fallback = false;               ///< a character without a piece becomes the pieces of its bytes
  bool treat_whitespace_as_suffix = false;  ///< not supported: parse() throws where a file sets it
  std::string bos_piece = "<s>";            ///< the folder's settings decide whether a text begins with it
  std::string eos_piece = "</s>";           ///< likewise for its end
  std::string character_map;                ///< compiled
  bool add_dummy_prefix = true;             ///< a space comes before a text
  bool remove_extra_whitespaces = true;     ///< spaces at the ends go, runs of them become one
  bool escape_whitespaces = true;           ///< a space is written as U+2581

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
