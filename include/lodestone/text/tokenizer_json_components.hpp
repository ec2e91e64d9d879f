// The components of tokenizer.json that are chosen by a "type": normalizer, pre-tokenizer, post-processor, decoder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <lodestone/text/json_place.hpp>
#include <lodestone/text/tokenizer_parts.hpp>

namespace lodestone::text::detail {

/// The "type" of a component. Sequences nest; a file that nests them without end is refused.
[[nodiscard]] inline std::string_view component_type(const json_place& component, int depth) {
  if (depth > 16) component.fail("sequences are nested too deeply");
  component.expect_object();
  return component.need("type").text();
}

[[noreturn]] inline void refuse(const json_place& component, const char* role) {
  component.fail(std::string("the ") + role + " type \"" + token_list::shortened(component.get("type").text()) +
                     "\" is not supported",
                 "use a tokenizer.json of the Llama, Mistral, Qwen or GPT-2 kind");
}

/// Calls read(element) for each member of the array `key` of a Sequence.
template <class Read>
void each_member(const json_place& component, const char* key, Read&& read) {
  const json_place members = component.need(key);
  members.expect_array();
  for (std::size_t i = 0; i < members.value().size(); ++i) read(members.at(i));
}

/// {"String": ...} or {"Regex": ...}
struct json_pattern {
  std::string_view text;
  bool is_regex = false;
};
[[nodiscard]] inline json_pattern read_pattern(const json_place& place) {
  if (place.is_present() && place.value().is_string()) return {place.text(), false};
  if (const json_place plain = place.get("String"); plain.is_present()) return {plain.text(), false};
  return {place.need("Regex").text(), true};
}

/// A text that is put in for something: short, or a file could fill the memory.
[[nodiscard]] inline std::string read_insertion(const json_place& place) {
  if (place.text().size() > 64) place.fail("a text of more than 64 bytes to put in is not supported");
  return std::string(place.text());
}

[[nodiscard]] inline std::variant<replace_string, replace_pattern> read_replace(const json_place& component) {
  const json_pattern pattern = read_pattern(component.need("pattern"));
  std::string content = read_insertion(component.need("content"));
  if (pattern.is_regex) return replace_pattern{regex(pattern.text, component.where()), std::move(content)};
  return replace_string{std::string(pattern.text), std::move(content)};
}

inline void read_normalizer(const json_place& component, normalizer& result, int depth) {
  if (!component.is_present()) return;
  const std::string_view type = component_type(component, depth);
  if (type == "Sequence") {
    each_member(component, "normalizers", [&](const json_place& one) { read_normalizer(one, result, depth + 1); });
  } else if (type == "Prepend") {
    result.add(prepend_text{read_insertion(component.need("prepend"))});
  } else if (type == "Replace") {
    std::visit([&result](auto one) { result.add(std::move(one)); }, read_replace(component));
  } else if (type == "NFC") {
    result.add(unicode_form{unicode_form::kind::nfc});
  } else if (type == "NFD") {
    result.add(unicode_form{unicode_form::kind::nfd});
  } else if (type == "NFKC") {
    result.add(unicode_form{unicode_form::kind::nfkc});
  } else if (type == "NFKD") {
    result.add(unicode_form{unicode_form::kind::nfkd});
  } else if (type == "Lowercase") {
    result.add(lowercase{});
  } else if (type == "Strip") {
    result.add(strip_space{component.get("strip_left").flag(true), component.get("strip_right").flag(true)});
  } else if (type == "StripAccents") {
    result.add(strip_accents{});
  } else if (type == "ByteLevel") {
    result.add(spell_bytes{});
  } else {
    refuse(component, "normalizer");
  }
}

[[nodiscard]] inline split_behavior read_behavior(const json_place& behavior) {
  const std::string_view name = behavior.text();
  if (name == "Removed") return split_behavior::removed;
  if (name == "Isolated") return split_behavior::isolated;
  if (name == "MergedWithPrevious") return split_behavior::merged_with_previous;
  if (name == "MergedWithNext") return split_behavior::merged_with_next;
  if (name == "Contiguous") return split_behavior::contiguous;
  behavior.fail("the split behavior \"" + token_list::shortened(name) + "\" is unknown");
}

/// Metaspace in its old spelling (add_prefix_space) and its new one (prepend_scheme).
[[nodiscard]] inline metaspace read_metaspace_settings(const json_place& component) {
  metaspace meta;
  if (const json_place replacement = component.get("replacement"); replacement.is_present())
    meta.replacement = read_insertion(replacement);
  if (meta.replacement.empty()) component.fail("the replacement of a Metaspace is empty");
  if (const json_place scheme = component.get("prepend_scheme"); scheme.is_present()) {
    if (scheme.text() == "always")
      meta.prepend = metaspace::scheme::always;
    else if (scheme.text() == "first")
      meta.prepend = metaspace::scheme::first;
    else if (scheme.text() == "never")
      meta.prepend = metaspace::scheme::never;
    else
      scheme.fail("the scheme \"" + token_list::shortened(scheme.text()) + "\" is unknown");
  } else if (!component.get("add_prefix_space").flag(true)) {
    meta.prepend = metaspace::scheme::never;
  }
  meta.split = component.get("split").flag(true);
  return meta;
}

inline void read_pre_tokenizer(const json_place& component, pre_tokenizer& result, int depth) {
  if (!component.is_present()) return;
  const std::string_view type = component_type(component, depth);
  const auto add_regex = [&](std::string_view pattern, split_behavior behavior, bool invert) {
    const auto scanner = word_scanner::of(pattern);
    if (scanner && behavior == split_behavior::isolated)
      result.add(split_words{*scanner});
    else
      result.add(split_pattern{regex(pattern, component.where()), behavior, invert});
  };
  if (type == "Sequence") {
    each_member(component, "pretokenizers", [&](const json_place& one) { read_pre_tokenizer(one, result, depth + 1); });
  } else if (type == "ByteLevel") {
    if (component.get("add_prefix_space").flag(true)) result.add(prefix_space{});
    if (component.get("use_regex").flag(true)) add_regex(word_scanner::gpt2_pattern, split_behavior::isolated, false);
    result.add(spell_words{});
  } else if (type == "Split") {
    const json_pattern pattern = read_pattern(component.need("pattern"));
    const split_behavior behavior = read_behavior(component.need("behavior"));
    const bool invert = component.get("invert").flag(false);
    if (pattern.is_regex)
      add_regex(pattern.text, behavior, invert);
    else
      result.add(split_string{std::string(pattern.text), behavior, invert});
  } else if (type == "Metaspace") {
    result.add(read_metaspace_settings(component));
  } else if (type == "Digits") {
    const bool each = component.get("individual_digits").flag(false);
    result.add(split_class{character::number, each ? split_behavior::isolated : split_behavior::contiguous});
  } else if (type == "Punctuation") {
    const json_place behavior = component.get("behavior");
    result.add(split_class{character::punctuation,
                           behavior.is_present() ? read_behavior(behavior) : split_behavior::isolated});
  } else if (type == "Whitespace") {
    result.add(split_words_and_symbols{});
  } else if (type == "WhitespaceSplit") {
    result.add(split_class{character::space, split_behavior::removed});
  } else if (type == "CharDelimiterSplit") {
    result.add(split_string{std::string(component.need("delimiter").text()), split_behavior::removed, false});
  } else if (type == "BertPreTokenizer") {
    result.add(split_class{character::space, split_behavior::removed});
    result.add(split_class{character::punctuation, split_behavior::isolated});
  } else {
    refuse(component, "pre-tokenizer");
  }
}

inline void read_decoder(const json_place& component, decoder& result, int depth) {
  if (!component.is_present()) return;
  const std::string_view type = component_type(component, depth);
  if (type == "Sequence") {
    result.join_closely();
    each_member(component, "decoders", [&](const json_place& one) { read_decoder(one, result, depth + 1); });
  } else if (type == "ByteLevel") {
    result.add(read_byte_alphabet{});
  } else if (type == "ByteFallback") {
    result.add(read_fallback_bytes{});
  } else if (type == "Fuse") {
    result.add(fuse_pieces{});
  } else if (type == "Replace") {
    result.add(replace_in_pieces{read_replace(component)});
  } else if (type == "Strip") {
    const auto count = [&component](const char* key) {
      const std::int64_t value = component.need(key).integer();
      if (value < 0) component.get(key).fail("this must not be negative");
      return static_cast<std::size_t>(value);
    };
    result.add(strip_pieces{std::string(component.need("content").text()), count("start"), count("stop")});
  } else if (type == "Metaspace") {
    const metaspace meta = read_metaspace_settings(component);
    result.add(read_metaspace{meta.replacement, meta.prepend != metaspace::scheme::never});
  } else {
    refuse(component, "decoder");
  }
}

/// Appends the ids of one element of a template: {"SpecialToken": {"id": name}}.
inline void read_template_ids(const json_place& component, const json_place& element, std::vector<std::int32_t>& ids,
                              const token_list& tokens) {
  const json_place name = element.need("SpecialToken").need("id");
  const std::string key(name.text());
  const json_place table = component.need("special_tokens").need(key.c_str()).need("ids");
  table.expect_array();
  for (std::size_t i = 0; i < table.value().size(); ++i) {
    const std::int64_t id = table.at(i).integer();
    if (!tokens.contains(id))
      table.at(i).fail("the template puts in the id " + std::to_string(id) + ", which is no token");
    ids.push_back(static_cast<std::int32_t>(id));
  }
}

inline void read_post_processor(const json_place& component, tokenizer_parts& parts, int depth) {
  if (!component.is_present()) return;
  const std::string_view type = component_type(component, depth);
  // A later processor wraps what an earlier one made.
  const auto wrap = [&parts](std::vector<std::int32_t> before, const std::vector<std::int32_t>& after) {
    before.insert(before.end(), parts.prefix.begin(), parts.prefix.end());
    parts.prefix = std::move(before);
    parts.suffix.insert(parts.suffix.end(), after.begin(), after.end());
  };
  const auto named_id = [&](const char* key) {
    const json_place pair = component.need(key);  // ["<s>", 1]
    const std::int64_t id = pair.at(1).integer();
    if (!parts.tokens.contains(id)) pair.fail("the id " + std::to_string(id) + " is no token");
    return static_cast<std::int32_t>(id);
  };
  if (type == "Sequence") {
    each_member(component, "processors", [&](const json_place& one) { read_post_processor(one, parts, depth + 1); });
  } else if (type == "TemplateProcessing") {
    std::vector<std::int32_t> before;
    std::vector<std::int32_t> after;
    bool is_before = true;
    each_member(component, "single", [&](const json_place& element) {
      if (element.get("Sequence").is_present()) {
        if (!is_before) element.fail("the template for one text names it twice");
        is_before = false;
      } else {
        read_template_ids(component, element, is_before ? before : after, parts.tokens);
      }
    });
    if (is_before) component.fail("the template for one text does not contain it");
    wrap(std::move(before), after);
  } else if (type == "BertProcessing" || type == "RobertaProcessing") {
    wrap({named_id("cls")}, {named_id("sep")});
  } else if (type != "ByteLevel") {  // ByteLevel only trims offsets
    refuse(component, "post-processor");
  }
}

}  // namespace lodestone::text::detail
