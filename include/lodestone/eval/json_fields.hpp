// The fields of a record of an evaluation's data file; every complaint names file and line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <lodestone/checkpoint/json.hpp>
#include <lodestone/core/error.hpp>

namespace lodestone::eval::detail {

/// One JSON object and its place. All members throw data_error at the place for what is missing or of another kind.
class json_fields {
 public:
  /// An object of the record's text.
  [[nodiscard]] static json_fields parse(const std::string& text, const std::string& where) {
    nlohmann::json value;
    try {
      value = lodestone::detail::parse_json(text, where);
    } catch (const format_error& failure) {
      throw data_error(failure.what(), {}, "a record is one JSON object");
    }
    return {std::move(value), where, {}};
  }

  [[nodiscard]] bool has(const char* key) const { return value_.contains(key); }

  [[nodiscard]] bool has_object(const char* key) const { return has(key) && value_.at(key).is_object(); }

  [[nodiscard]] json_fields object(const char* key) const { return {need(key), where_, name(key)}; }
  [[nodiscard]] std::vector<json_fields> objects(const char* key) const {
    const nlohmann::json& value = need(key);
    if (!value.is_array()) fail("\"" + name(key) + "\" must be a list of objects");
    std::vector<json_fields> result;
    for (const nlohmann::json& item : value)
      result.push_back(json_fields(item, where_, name(key) + "[" + std::to_string(result.size()) + "]"));
    return result;
  }
  [[nodiscard]] std::string text(const char* key) const {
    const nlohmann::json& value = need(key);
    if (!value.is_string()) fail("\"" + name(key) + "\" must be text");
    return value.get<std::string>();
  }
  [[nodiscard]] std::vector<std::string> texts(const char* key) const {
    const nlohmann::json& value = need(key);
    if (!value.is_array()) fail("\"" + name(key) + "\" must be a list of texts");
    std::vector<std::string> result;
    for (const nlohmann::json& item : value) {
      if (!item.is_string()) fail("\"" + name(key) + "\" must be a list of texts");
      result.push_back(item.get<std::string>());
    }
    return result;
  }
  /// A whole number, also one that is written as text.
  [[nodiscard]] std::int64_t integer(const char* key) const { return integer_of(need(key), key); }
  [[nodiscard]] std::vector<std::int64_t> integers(const char* key) const {
    const nlohmann::json& value = need(key);
    if (!value.is_array()) fail("\"" + name(key) + "\" must be a list of whole numbers");
    std::vector<std::int64_t> result;
    for (const nlohmann::json& item : value) result.push_back(integer_of(item, key));
    return result;
  }
  /// A list of pairs of whole numbers.
  [[nodiscard]] std::vector<std::pair<std::int64_t, std::int64_t>> pairs(const char* key) const {
    const nlohmann::json& value = need(key);
    std::vector<std::pair<std::int64_t, std::int64_t>> result;
    if (!value.is_array()) fail("\"" + name(key) + "\" must be a list of pairs");
    for (const nlohmann::json& item : value) {
      if (!item.is_array() || item.size() != 2) fail("\"" + name(key) + "\" must be a list of pairs");
      result.emplace_back(integer_of(item[0], key), integer_of(item[1], key));
    }
    return result;
  }
  /// "id" as text, or `otherwise` when there is none.
  [[nodiscard]] std::string id(const std::string& otherwise, const char* key = "id") const {
    if (!has(key) || value_.at(key).is_null()) return otherwise;
    const nlohmann::json& value = value_.at(key);
    if (value.is_number_integer()) return std::to_string(value.get<std::int64_t>());
    return text(key);
  }

  [[noreturn]] void fail(const std::string& what, const std::string& remedy = {}) const {
    throw data_error(what, where_, remedy);
  }

 private:
  json_fields(nlohmann::json value, std::string where, std::string path)
      : value_(std::move(value)), where_(std::move(where)), path_(std::move(path)) {
    if (!value_.is_object())
      fail(path_.empty() ? "the record must be an object" : "\"" + path_ + "\" must be an object");
  }

  [[nodiscard]] std::string name(const char* key) const { return path_.empty() ? key : path_ + "." + key; }
  [[nodiscard]] const nlohmann::json& need(const char* key) const {
    const auto found = value_.find(key);
    if (found == value_.end()) fail("\"" + name(key) + "\" is missing", "is this another file, or another version?");
    return *found;
  }
  [[nodiscard]] std::int64_t integer_of(const nlohmann::json& value, const char* key) const {
    if (value.is_number_integer()) return value.get<std::int64_t>();
    if (value.is_string()) {
      const auto& digits = value.get_ref<const std::string&>();
      if (!digits.empty() && digits.size() < 18 && digits.find_first_not_of("0123456789") == std::string::npos)
        return std::stoll(digits);
    }
    fail("\"" + name(key) + "\" must be a whole number");
  }

  nlohmann::json value_;
  std::string where_;
  std::string path_;
};

}  // namespace lodestone::eval::detail
