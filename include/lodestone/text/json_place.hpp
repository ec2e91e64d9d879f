// A JSON value that knows where it stands, so that every complaint names file and key.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include <lodestone/core/error.hpp>

namespace lodestone::text::detail {

/// A view of a value of a document, which must outlive it; or of a missing one. All members throw format_error.
class json_place {
 public:
  json_place(const nlohmann::json& value, std::string where) : value_(&value), where_(std::move(where)) {}

  /// False for a missing value and for null.
  [[nodiscard]] bool is_present() const { return value_ != nullptr && !value_->is_null(); }
  [[nodiscard]] const nlohmann::json& value() const { return *value_; }
  [[nodiscard]] const std::string& where() const { return where_; }

  [[noreturn]] void fail(const std::string& what, std::string_view remedy = {}) const {
    throw format_error(what, where_, remedy);
  }

  /// A member of an object; missing if there is none.
  [[nodiscard]] json_place get(const char* key) const {
    expect_object();
    const auto found = value_->find(key);
    json_place member = *this;
    member.value_ = found == value_->end() ? nullptr : &*found;
    member.where_ += where_.find(": ") == std::string::npos ? ": " : ".";
    member.where_ += key;
    return member;
  }
  /// A member that must be there.
  [[nodiscard]] json_place need(const char* key) const {
    json_place member = get(key);
    if (!member.is_present()) member.fail("this key is missing");
    return member;
  }
  /// An element of an array.
  [[nodiscard]] json_place at(std::size_t index) const {
    expect_array();
    if (index >= value_->size()) fail("element " + std::to_string(index) + " is missing");
    return {(*value_)[index], where_ + '[' + std::to_string(index) + ']'};
  }

  void expect_object() const {
    if (!is_present() || !value_->is_object()) fail("this must be an object");
  }
  void expect_array() const {
    if (!is_present() || !value_->is_array()) fail("this must be an array");
  }
  [[nodiscard]] std::string_view text() const {
    if (!is_present() || !value_->is_string()) fail("this must be a string");
    return value_->get_ref<const std::string&>();
  }
  [[nodiscard]] std::int64_t integer() const {
    if (!is_present() || !value_->is_number_integer()) fail("this must be an integer");
    return value_->get<std::int64_t>();
  }
  [[nodiscard]] double number() const {
    if (!is_present() || !value_->is_number()) fail("this must be a number");
    return value_->get<double>();
  }
  [[nodiscard]] bool flag(bool otherwise) const {
    if (!is_present()) return otherwise;
    if (!value_->is_boolean()) fail("this must be true or false");
    return value_->get<bool>();
  }

 private:
  const nlohmann::json* value_;
  std::string where_;
};

}  // namespace lodestone::text::detail
