// Definitions of special_tokens.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>

#include <nlohmann/json.hpp>

#include <lodestone/core/file.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/text/special_tokens.hpp>

namespace lodestone {

namespace detail {

inline std::optional<std::string> token_text(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) return std::nullopt;
  if (found->is_string()) return found->get<std::string>();
  if (found->is_object() && found->contains("content") && (*found)["content"].is_string()) {
    return (*found)["content"].get<std::string>();
  }
  return std::nullopt;
}

/// The template of that key: a string, or a list of {name, template} of which "default" counts.
inline std::string template_text(const nlohmann::json& object) {
  const auto found = object.find("chat_template");
  if (found == object.end()) return {};
  if (found->is_string()) return found->get<std::string>();
  if (!found->is_array()) return {};
  for (const auto& item : *found) {
    if (item.is_object() && item.value("name", nlohmann::json()) == "default" && item.contains("template") &&
        item["template"].is_string()) {
      return item["template"].get<std::string>();
    }
  }
  return {};
}

/// The named templates of a list, and every special token's text, as far as they are not known yet.
inline void read_texts(const nlohmann::json& object, special_tokens& tokens) {
  const auto add = [](auto& list, const std::string& name, std::string text) {
    const bool is_known = std::any_of(list.begin(), list.end(), [&](const auto& one) { return one.first == name; });
    if (!is_known) list.emplace_back(name, std::move(text));
  };
  for (const auto& [key, what] : object.items())
    if (key.ends_with("_token"))
      if (std::optional<std::string> text = token_text(object, key.c_str())) add(tokens.texts, key, std::move(*text));
  const auto found = object.find("chat_template");
  if (found == object.end() || !found->is_array()) return;
  for (const auto& item : *found)
    if (item.is_object() && item.contains("name") && item["name"].is_string() && item.contains("template") &&
        item["template"].is_string())
      add(tokens.named_templates, item["name"].get<std::string>(), item["template"].get<std::string>());
}

inline nlohmann::json read_object(const std::filesystem::path& file) {
  const std::string text = read_text(file);
  refuse_zero_byte(text, file.string());
  nlohmann::json object;
  try {
    object = nlohmann::json::parse(text);
  } catch (const nlohmann::json::exception& failure) {
    throw format_error(std::string("invalid JSON: ") + failure.what(), file.string(), "copy the file again");
  }
  if (!object.is_object()) throw format_error("not a JSON object", file.string(), "copy the file again");
  return object;
}

}  // namespace detail

LODESTONE_INLINE special_tokens read_special_tokens(const std::filesystem::path& folder) {
  special_tokens tokens;
  for (const char* name : {"tokenizer_config.json", "special_tokens_map.json"}) {
    const std::filesystem::path file = folder / name;
    if (!std::filesystem::exists(file)) continue;
    const nlohmann::json object = detail::read_object(file);
    if (!tokens.bos) tokens.bos = detail::token_text(object, "bos_token");
    if (!tokens.eos) tokens.eos = detail::token_text(object, "eos_token");
    if (!tokens.unk) tokens.unk = detail::token_text(object, "unk_token");
    if (tokens.chat_template.empty()) tokens.chat_template = detail::template_text(object);
    detail::read_texts(object, tokens);
  }
  if (const std::filesystem::path file = folder / "chat_template.jinja"; std::filesystem::exists(file)) {
    tokens.chat_template = read_text(file);  // newer folders keep it here, and here it wins
  }
  if (const std::filesystem::path more = folder / "additional_chat_templates"; std::filesystem::is_directory(more)) {
    std::vector<std::pair<std::string, std::string>> files;
    for (const auto& entry : std::filesystem::directory_iterator(more))
      if (entry.path().extension() == ".jinja")
        files.emplace_back(entry.path().stem().string(), read_text(entry.path()));
    std::sort(files.begin(), files.end());
    tokens.named_templates.insert(tokens.named_templates.end(), files.begin(), files.end());
  }
  for (const char* name : {"generation_config.json", "config.json"}) {
    const std::filesystem::path file = folder / name;
    if (tokens.eos_id || !std::filesystem::exists(file)) continue;
    const nlohmann::json object = detail::read_object(file);
    const auto found = object.find("eos_token_id");
    if (found == object.end()) continue;
    const nlohmann::json& id = found->is_array() && !found->empty() ? found->front() : *found;
    if (id.is_number_integer()) tokens.eos_id = id.get<std::int32_t>();
  }
  return tokens;
}

}  // namespace lodestone
