// Typed access to the keys of config.json, with errors that name the key.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include <lodestone/core/error.hpp>

namespace lodestone::detail {

/// Typed access to the keys of one JSON object; a null value counts as absent. Errors are config_error at "file: key".
class config_keys {
 public:
  config_keys(const nlohmann::json& object, std::string where, std::string prefix = {})
      : object_(&object), where_(std::move(where)), prefix_(std::move(prefix)) {}

  [[nodiscard]] config_error fail(std::string_view key, const std::string& what, std::string_view remedy = {}) const {
    return config_error(what, where_ + ": " + prefix_ + std::string(key), remedy);
  }
  /// The value, or null when it is absent or null.
  [[nodiscard]] const nlohmann::json* find(const char* key) const {
    const auto found = object_->find(key);
    return found == object_->end() || found->is_null() ? nullptr : &*found;
  }
  /// True when the key is there, even as null.
  [[nodiscard]] bool mentions(const char* key) const { return object_->contains(key); }

  [[nodiscard]] std::optional<std::int64_t> integer(const char* key) const {
    const nlohmann::json* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (!value->is_number_integer() ||
        (value->is_number_unsigned() && value->get<std::uint64_t>() > std::uint64_t{1} << 62))
      throw fail(key, "expected an integer, found " + value->dump());
    return value->get<std::int64_t>();
  }
  /// A size: an integer in [1, 2^31). Without `fallback` the key must be there.
  [[nodiscard]] std::int64_t size(const char* key, std::optional<std::int64_t> fallback = std::nullopt) const {
    const auto value = integer(key);
    if (!value && !fallback) throw fail(key, "missing", "the model cannot be built without it");
    const std::int64_t result = value ? *value : *fallback;
    if (result < 1 || result > std::numeric_limits<std::int32_t>::max())
      throw fail(key, std::to_string(result) + " is not a possible size");
    return result;
  }
  [[nodiscard]] std::optional<double> number(const char* key) const {
    const nlohmann::json* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (!value->is_number()) throw fail(key, "expected a number, found " + value->dump());
    return value->get<double>();
  }
  [[nodiscard]] bool boolean(const char* key, bool fallback) const {
    const nlohmann::json* value = find(key);
    if (value == nullptr) return fallback;
    if (!value->is_boolean()) throw fail(key, "expected true or false, found " + value->dump());
    return value->get<bool>();
  }
  [[nodiscard]] std::optional<std::string> text(const char* key) const {
    const nlohmann::json* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (!value->is_string()) throw fail(key, "expected a string, found " + value->dump());
    return value->get<std::string>();
  }
  [[nodiscard]] const nlohmann::json& object() const { return *object_; }
  [[nodiscard]] const std::string& where() const { return where_; }

 private:
  const nlohmann::json* object_;
  std::string where_;
  std::string prefix_;
};

}  // namespace lodestone::detail
