// Definitions of sentencepiece_model.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <utility>
#include <variant>

#include <lodestone/core/inline.hpp>
#include <lodestone/text/protobuf.hpp>
#include <lodestone/text/sentencepiece_model.hpp>

namespace lodestone::text {

LODESTONE_INLINE sentencepiece_model sentencepiece_model::parse(std::string_view bytes, const std::string& where) {
  sentencepiece_model model;
  for (protobuf_reader message(bytes, where); message.next();) {
    if (message.field() == 1) model.read_piece(message.bytes(), where);
    if (message.field() == 2) model.read_trainer(message.bytes(), where);
    if (message.field() == 3) model.read_normalizer(message.bytes(), where);
    if (message.field() == 5)
      for (protobuf_reader spec(message.bytes(), where); spec.next();)
        if (spec.field() == 2 && !spec.bytes().empty())
          throw format_error("a denormalizer is not supported", where, "use the tokenizer.json of the model");
  }
  if (model.pieces.empty())
    throw format_error("this is not a SentencePiece model: it has no pieces", where,
                       "a tokenizer.model in another format (tiktoken) needs the model's tokenizer.json");
  return model;
}

LODESTONE_INLINE void sentencepiece_model::read_piece(std::string_view bytes, const std::string& where) {
  piece one;
  for (protobuf_reader message(bytes, where); message.next();) {
    if (message.field() == 1) one.text = message.bytes();
    if (message.field() == 2) one.score = message.real();
    if (message.field() == 3) one.type = static_cast<piece_type>(message.integer());
  }
  const std::string place = "piece " + std::to_string(pieces.size());
  if (one.text.empty()) throw format_error(place + " is empty", where, "fetch the file again");
  if (one.text.size() > 1024) throw format_error(place + " is longer than 1024 bytes", where);
  if (!std::isfinite(one.score)) throw format_error("the score of " + place + " is not finite", where);
  if (one.type < piece_type::normal || one.type > piece_type::byte)
    throw format_error(place + " has an unknown type", where, "a newer SentencePiece wrote this file");
  if (one.type == piece_type::unused)
    throw format_error(place + " is of the type UNUSED, which is not supported", where,
                       "use the tokenizer.json of the model");
  pieces.push_back(std::move(one));
}

LODESTONE_INLINE void sentencepiece_model::read_trainer(std::string_view bytes, const std::string& where) {
  for (protobuf_reader message(bytes, where); message.next();) {
    if (message.field() == 3) type = static_cast<model_type>(message.integer());
    if (message.field() == 24) treat_whitespace_as_suffix = message.flag();
    if (message.field() == 35) byte_fallback = message.flag();
    if (message.field() == 46) bos_piece = message.bytes();
    if (message.field() == 47) eos_piece = message.bytes();
  }
  if (type != model_type::unigram && type != model_type::bpe)
    throw format_error("the SentencePiece model type " + std::to_string(static_cast<std::int64_t>(type)) +
                           " is not supported; Lodestone reads unigram and BPE",
                       where);
  if (treat_whitespace_as_suffix)
    throw format_error("treat_whitespace_as_suffix is not supported", where, "use the tokenizer.json of the model");
}

LODESTONE_INLINE void sentencepiece_model::read_normalizer(std::string_view bytes, const std::string& where) {
  for (protobuf_reader message(bytes, where); message.next();) {
    if (message.field() == 2) character_map = message.bytes();
    if (message.field() == 3) add_dummy_prefix = message.flag();
    if (message.field() == 4) remove_extra_whitespaces = message.flag();
    if (message.field() == 5) escape_whitespaces = message.flag();
  }
}

namespace detail {

/// The merges that SentencePiece's BPE makes: any two pieces whose text together is a piece, the highest score first.
inline void derive_merges(const sentencepiece_model& model, const token_list& tokens, bpe_parts& parts) {
  using type = sentencepiece_model::piece_type;
  std::vector<float> scores;
  for (const auto& one : model.pieces)
    if (one.type == type::normal) scores.push_back(one.score);
  std::sort(scores.begin(), scores.end(), [](float a, float b) { return a > b; });
  scores.erase(std::unique(scores.begin(), scores.end()), scores.end());
  const auto normal_id = [&](std::string_view text) {
    const std::int32_t id = tokens.id(text);
    return id >= 0 && model.pieces[static_cast<std::size_t>(id)].type == type::normal ? id : -1;
  };
  for (std::size_t i = 0; i < model.pieces.size(); ++i) {
    const auto& one = model.pieces[i];
    if (one.type != type::normal) continue;
    const std::string_view text = one.text;
    const auto rank = static_cast<std::uint32_t>(
        std::lower_bound(scores.begin(), scores.end(), one.score, [](float a, float b) { return a > b; }) -
        scores.begin());
    for (std::size_t cut = decode_utf8(text.data(), text.data() + text.size()).length; cut < text.size();
         cut += decode_utf8(text.data() + cut, text.data() + text.size()).length) {
      const std::int32_t left = normal_id(text.substr(0, cut));
      const std::int32_t right = left < 0 ? -1 : normal_id(text.substr(cut));
      if (right >= 0) parts.merges.push_back({left, right, rank, static_cast<std::int32_t>(i), text});
    }
  }
}

}  // namespace detail

LODESTONE_INLINE tokenizer_parts build_sentencepiece(const sentencepiece_model& model, const std::string& where) {
  using type = sentencepiece_model::piece_type;
  token_list tokens;
  tokens.expect(model.pieces.size());
  std::array<std::int32_t, 256> byte_ids{};
  byte_ids.fill(-1);
  std::int32_t unknown = -1;
  sentencepiece_normalizer normal{character_map(model.character_map, where),
                                  {},
                                  model.add_dummy_prefix,
                                  model.remove_extra_whitespaces,
                                  model.escape_whitespaces};
  bpe_parts merging;
  unigram_parts scoring;
  for (std::size_t i = 0; i < model.pieces.size(); ++i) {
    const auto& one = model.pieces[i];
    const auto id = static_cast<std::int32_t>(i);
    tokens.add(one.text, id, where);
    switch (one.type) {
      case type::unknown:
        if (unknown >= 0) throw format_error("two pieces are of the type UNKNOWN", where, "fetch the file again");
        unknown = id;
        break;
      case type::byte: {
        const int byte = fallback_byte(one.text);
        if (byte < 0)
          throw format_error("byte piece " + std::to_string(i) + " names no byte", where, "fetch the file again");
        byte_ids[static_cast<std::size_t>(byte)] = id;
        break;
      }
      case type::user_defined:
        normal.verbatim.insert(one.text, id);
        merging.frozen.push_back({one.text, id});
        scoring.pieces.push_back({one.text, id, one.score, true});
        break;
      case type::normal:
        merging.pieces.push_back({one.text, id});
        scoring.pieces.push_back({one.text, id, one.score, false});
        break;
      default: break;
    }
  }
  if (unknown < 0) throw format_error("no piece is of the type UNKNOWN", where, "fetch the file again");
  if (model.byte_fallback && std::find(byte_ids.begin(), byte_ids.end(), -1) != byte_ids.end())
    throw format_error("byte_fallback is set, but not every byte has a piece", where, "fetch the file again");

  auto encoder = [&]() -> std::variant<bpe, unigram> {
    if (model.type == sentencepiece_model::model_type::unigram) {
      scoring.unknown = unknown;
      scoring.byte_fallback = model.byte_fallback;
      scoring.byte_ids = byte_ids;
      return unigram(scoring);
    }
    merging.unknown = unknown;
    merging.fuse_unknown = true;
    merging.byte_fallback = model.byte_fallback;
    merging.byte_ids = byte_ids;
    detail::derive_merges(model, tokens, merging);
    return bpe(merging);
  }();
  tokenizer_parts parts{std::move(tokens), {}, {}, {}, std::move(encoder), {}, {}, {}, unknown};
  parts.normalize.add(std::move(normal));
  for (std::size_t i = 0; i < model.pieces.size(); ++i)
    if (const auto& one = model.pieces[i]; one.type == type::control || one.type == type::unknown) {
      added_token token;
      token.content = one.text;
      token.id = static_cast<std::int32_t>(i);
      token.special = true;
      parts.added.add(token, parts.normalize);
    }
  parts.decode.add(replace_in_pieces{replace_string{std::string(sentencepiece_normalizer::space_symbol), " "}});
  parts.decode.add(read_fallback_bytes{});
  parts.decode.add(fuse_pieces{});
  if (model.add_dummy_prefix || model.remove_extra_whitespaces) parts.decode.add(strip_pieces{" ", 1, 0});
  return parts;
}

}  // namespace lodestone::text

