// Reads the fields of published evaluation data, so that every complaint names file, line and key.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include <lodestone/core/error.hpp>
#include <lodestone/text/jsonl.hpp>

namespace lodestone::eval::detail {

/// A value of a record. All members throw data_error at file:line.
class judge_field {
 public:
  judge_field(const nlohmann::json& value, std::string where, std::string key = {})
      : value_(&value), where_(std::move(where)), key_(std::move(key)) {}

  [[noreturn]] void fail(const std::string& what) const {
    throw data_error(what, where_, "is the file of the published version?");
  }
  /// Whether an object has the key, and not null.
  [[nodiscard]] bool has(const char* key) const {
    const auto found = value_->is_object() ? value_->find(key) : value_->end();
    return value_->is_object() && found != value_->end() && !found->is_null();
  }
  /// A member that must be there.
  [[nodiscard]] judge_field get(const char* key) const {
    const std::string name = key_.empty() ? key : key_ + "." + key;
    if (!value_->is_object()) fail((key_.empty() ? "the record" : key_) + " must be an object");
    if (!has(key)) fail("\"" + name + "\" is missing");
    return {value_->at(key), where_, name};
  }
  /// Elements of a list.
  [[nodiscard]] std::size_t size() const {
    if (!value_->is_array()) fail((key_.empty() ? "the record" : "\"" + key_ + "\"") + " must be a list");
    return value_->size();
  }
  /// Element `index` of a list.
  [[nodiscard]] judge_field at(std::size_t index) const {
    const std::string name = key_ + "[" + std::to_string(index) + "]";
    if (index >= size()) fail("\"" + name + "\" is missing");
    return {value_->at(index), where_, name};
  }
  /// The value as text.
  [[nodiscard]] std::string text() const {
    if (!value_->is_string()) fail("\"" + key_ + "\" must be text");
    return value_->get<std::string>();
  }
  [[nodiscard]] std::string text(const char* key) const { return get(key).text(); }
  /// A number, or text, as it is spelled.
  [[nodiscard]] std::string number_text(const char* key) const {
    const judge_field member = get(key);
    if (member.value_->is_string()) return member.text();
    if (!member.value_->is_number()) fail("\"" + member.key_ + "\" must be a number");
    return member.value_->dump();
  }
  /// A whole number.
  [[nodiscard]] std::int64_t whole(const char* key) const {
    const judge_field member = get(key);
    if (!member.value_->is_number_integer()) fail("\"" + member.key_ + "\" must be a whole number");
    return member.value_->get<std::int64_t>();
  }

 private:
  const nlohmann::json* value_;
  std::string where_;
  std::string key_;
};

/// Calls `each` with every record of a JSON array or JSONL file. Throws data_error for what is not JSON, or no record.
template <class Each>
void for_each_judge_record(const std::filesystem::path& file, const Each& each) {
  jsonl_reader reader(file);
  json_record record;
  while (reader.next(record)) {
    const nlohmann::json value = nlohmann::json::parse(record.text, nullptr, false);
    const judge_field field(value, reader.where(record.line));
    if (value.is_discarded()) field.fail("is not JSON");
    each(field);
  }
  if (reader.count() == 0) throw data_error("holds no record", reader.name(), "is the file of the published version?");
}

/// Whether a character of the Chinese script (U+4E00 to U+9FFF) stands in the text.
[[nodiscard]] inline bool has_chinese(std::string_view text) {
  for (std::size_t i = 0; i + 2 < text.size(); ++i) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const auto next = static_cast<unsigned char>(text[i + 1]);
    if ((lead == 0xE4 && next >= 0xB8) || (lead >= 0xE5 && lead <= 0xE9)) return true;
  }
  return false;
}

}  // namespace lodestone::eval::detail
