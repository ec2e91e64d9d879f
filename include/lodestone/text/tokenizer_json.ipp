// Definitions of tokenizer_json.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <lodestone/core/inline.hpp>
#include <lodestone/text/tokenizer_json.hpp>
#include <lodestone/text/tokenizer_json_components.hpp>

namespace lodestone::text {

namespace detail {

/// Ids of `<0x00>` ... `<0xFF>` in a vocabulary; -1 where there is none.
[[nodiscard]] inline std::array<std::int32_t, 256> fallback_ids(const token_list& tokens) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::array<std::int32_t, 256> ids{};
  for (std::size_t byte = 0; byte < 256; ++byte)
    ids[byte] = tokens.id({std::string("<0x") + digits[byte / 16] + digits[byte % 16] + '>'});
  return ids;
}

/// The two sides of a merge: ["a", "b"] or "a b".
[[nodiscard]] inline std::pair<std::string_view, std::string_view> merge_sides(const json_place& merge) {
  if (merge.value().is_array()) {
    if (merge.value().size() != 2)
      merge.fail("a merge names two pieces, this one " + std::to_string(merge.value().size()));
    return {merge.at(0).text(), merge.at(1).text()};
  }
  const std::string_view both = merge.text();
  const std::size_t space = both.find(' ');
  if (space == std::string_view::npos || both.find(' ', space + 1) != std::string_view::npos)
    merge.fail("a merge names two pieces with a space between, this one is \"" + token_list::shortened(both) + '"');
  return {both.substr(0, space), both.substr(space + 1)};
}

[[nodiscard]] inline bpe read_bpe(const json_place& model, const token_list& vocabulary, bool over_bytes,
                                  std::int32_t unknown) {
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (const json_place affix = model.get(key); affix.is_present() && !affix.text().empty())
      affix.fail("word affixes such as \"" + token_list::shortened(affix.text()) + "\" are not supported");
  if (const json_place dropout = model.get("dropout"); dropout.is_present() && dropout.number() != 0)
    dropout.fail("BPE dropout is not supported");

  bpe_parts parts;
  parts.over_bytes = over_bytes;
  parts.unknown = unknown;
  parts.ignore_merges = model.get("ignore_merges").flag(false);
  parts.fuse_unknown = model.get("fuse_unk").flag(false);
  parts.byte_fallback = !over_bytes && model.get("byte_fallback").flag(false);

  // Over bytes, the model sees bytes where the file spells characters; a piece that spells none can never be reached.
  std::vector<std::string> bytes(over_bytes ? static_cast<std::size_t>(vocabulary.size()) : 0);
  for (std::int32_t id = 0; id < vocabulary.size(); ++id) {
    if (!vocabulary.contains(id)) continue;
    std::string_view text = vocabulary.text(id);
    if (over_bytes) {
      std::string& spelled = bytes[static_cast<std::size_t>(id)];
      if (!byte_alphabet::get().read(text, spelled)) continue;
      text = spelled;
    }
    parts.pieces.push_back({text, id});
  }
  if (over_bytes) {
    parts.byte_ids.fill(-1);
    for (const bpe_parts::piece& one : parts.pieces)
      if (one.text.size() == 1) parts.byte_ids[static_cast<unsigned char>(one.text[0])] = one.id;
  } else {
    parts.byte_ids = fallback_ids(vocabulary);
  }

  const json_place merges = model.need("merges");
  merges.expect_array();
  parts.merges.reserve(merges.value().size());
  std::string joined;
  for (std::size_t i = 0; i < merges.value().size(); ++i) {
    const auto [left, right] = merge_sides(merges.at(i));
    const auto id_of = [&](std::string_view piece) {
      const std::int32_t id = vocabulary.id(piece);
      if (id < 0)
        merges.at(i).fail("the merge names \"" + token_list::shortened(piece) + "\", which is not in the vocabulary");
      return id;
    };
    joined.assign(left).append(right);
    const std::int32_t becomes = id_of(joined);
    parts.merges.push_back(
        {id_of(left), id_of(right), static_cast<std::uint32_t>(i), becomes, vocabulary.text(becomes)});
  }
  return bpe(parts);
}

}  // namespace detail

LODESTONE_INLINE tokenizer_parts read_tokenizer_json(std::string_view content, const std::string& where) {
  using detail::json_place;
  refuse_zero_byte(content, where);
  nlohmann::json document;
  try {
    document = nlohmann::json::parse(content);
  } catch (const nlohmann::json::exception& problem) {
    throw format_error(std::string("not JSON: ") + problem.what(), where, "fetch the file again");
  }
  const json_place root(document, where);
  root.expect_object();
  const json_place model = root.need("model");
  model.expect_object();
  const std::string type = model.get("type").is_present() ? std::string(model.get("type").text()) : "BPE";
  if (type != "BPE") model.get("type").fail("the model type " + type + " is not supported; Lodestone reads BPE");

  token_list vocabulary;
  const json_place vocab = model.need("vocab");
  vocab.expect_object();
  vocabulary.expect(vocab.value().size());
  for (const auto& [text, id] : vocab.value().items()) {
    if (!id.is_number_integer()) vocab.fail("the id of \"" + token_list::shortened(text) + "\" is not an integer");
    vocabulary.add(text, id.get<std::int64_t>(), vocab.where());
  }
  std::int32_t unknown = -1;
  if (const json_place name = model.get("unk_token"); name.is_present()) {
    unknown = vocabulary.id(name.text());
    if (unknown < 0)
      name.fail("the unknown token \"" + token_list::shortened(name.text()) + "\" is not in the vocabulary");
  }

  normalizer normalize;
  detail::read_normalizer(root.get("normalizer"), normalize, 0);
  pre_tokenizer split;
  detail::read_pre_tokenizer(root.get("pre_tokenizer"), split, 0);
  decoder decode;
  detail::read_decoder(root.get("decoder"), decode, 0);
  bpe encoder = detail::read_bpe(model, vocabulary, split.ends_in_bytes(), unknown);

  tokenizer_parts parts{
      std::move(vocabulary), {},     std::move(normalize), std::move(split), std::move(encoder), {}, {},
      std::move(decode),     unknown};
  if (const json_place added = root.get("added_tokens"); added.is_present()) {
    added.expect_array();
    parts.tokens.expect(added.value().size());
    for (std::size_t i = 0; i < added.value().size(); ++i) {
      const json_place one = added.at(i);
      added_token token;
      token.content = one.need("content").text();
      const std::int64_t id = one.need("id").integer();
      token.special = one.get("special").flag(false);
      token.single_word = one.get("single_word").flag(false);
      token.lstrip = one.get("lstrip").flag(false);
      token.rstrip = one.get("rstrip").flag(false);
      token.normalized = one.get("normalized").flag(!token.special);
      if (token.content.empty()) continue;
      parts.tokens.add(token.content, id, one.where(), true);
      token.id = static_cast<std::int32_t>(id);
      parts.added.add(token, parts.normalize);
    }
  }
  detail::read_post_processor(root.get("post_processor"), parts, 0);
  return parts;
}

}  // namespace lodestone::text

