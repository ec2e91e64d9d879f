// Strict JSON parsing for files from outside: no duplicate keys, bounded depth, errors that name the file.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include <lodestone/core/error.hpp>

namespace lodestone::detail {

/// Parses `text`; `where` is the file for messages. Throws format_error for anything but one JSON value in valid UTF-8
/// whose objects repeat no key and that nests at most 64 deep. Json is nlohmann::json or nlohmann::ordered_json.
template <class Json = nlohmann::json>
[[nodiscard]] Json parse_json(std::string_view text, const std::string& where) {
  constexpr int deepest = 64;
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  const auto watch = [&](int depth, nlohmann::json::parse_event_t event, Json& value) {
    using events = nlohmann::json::parse_event_t;
    if (depth > deepest) throw format_error("JSON nested too deeply", where);
    if (event == events::object_start) keys.emplace_back();
    if (event == events::object_end) keys.pop_back();
    if (event == events::key) {
      auto name = value.template get<std::string>();
      if (!keys.back().insert(name).second) throw format_error("the key '" + name + "' appears twice", where);
    }
    return true;
  };
  refuse_zero_byte(text, where);
  try {
    return Json::parse(text.begin(), text.end(), watch);
  } catch (const nlohmann::json::exception& failure) {
    throw format_error(std::string("invalid JSON: ") + failure.what(), where);
  }
}

}  // namespace lodestone::detail
