// Reads the records of a benchmark's file and their fields; whatever is amiss is named with file, line and field.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <lodestone/core/error.hpp>
#include <lodestone/text/jsonl.hpp>

namespace lodestone::eval::detail {

/// One record, or an object inside it.
class record_fields {
 public:
  record_fields(const nlohmann::json& object, std::string where, std::string path = {})
      : object_(&object), where_(std::move(where)), path_(std::move(path)) {
    if (!object_->is_object()) fail(path_.empty() ? "the record is not a JSON object" : path_ + " is not an object");
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw data_error(what, where_, "use the benchmark's file as it was published");
  }
  [[nodiscard]] const std::string& where() const { return where_; }
  [[nodiscard]] bool has(const char* key) const {
    const auto found = object_->find(key);
    return found != object_->end() && !found->is_null();
  }
  [[nodiscard]] const nlohmann::json& value(const char* key) const {
    if (!has(key)) fail("the field " + name(key) + " is missing");
    return *object_->find(key);
  }
  [[nodiscard]] const std::string& text(const char* key) const { return text_of(value(key), name(key)); }
  [[nodiscard]] std::string text_or(const char* key, std::string_view otherwise) const {
    return has(key) ? text(key) : std::string(otherwise);
  }
  /// An id, which some files write as a number.
  [[nodiscard]] std::string id(const char* key) const {
    const nlohmann::json& found = value(key);
    return found.is_number_integer() ? std::to_string(found.get<std::int64_t>()) : text(key);
  }
  [[nodiscard]] std::int64_t integer(const char* key) const {
    const nlohmann::json& found = value(key);
    if (!found.is_number_integer()) fail("the field " + name(key) + " is not an integer");
    return found.get<std::int64_t>();
  }
  [[nodiscard]] const nlohmann::json& list(const char* key) const {
    const nlohmann::json& found = value(key);
    if (!found.is_array()) fail("the field " + name(key) + " is not a list");
    return found;
  }
  /// A list of one string or more.
  [[nodiscard]] std::vector<std::string> texts(const char* key) const {
    std::vector<std::string> result;
    for (const nlohmann::json& each : list(key)) result.push_back(text_of(each, "each of " + name(key)));
    if (result.empty()) fail("the field " + name(key) + " is empty");
    return result;
  }
  /// A string, or a list of them.
  [[nodiscard]] std::vector<std::string> text_or_texts(const char* key) const {
    if (value(key).is_string()) return {text(key)};
    return texts(key);
  }
  [[nodiscard]] const std::string& text_of(const nlohmann::json& found, const std::string& what) const {
    if (!found.is_string()) fail("the field " + what + " is not a string");
    return found.get_ref<const std::string&>();
  }
  [[nodiscard]] record_fields inside(const char* key) const { return {value(key), where_, name(key)}; }
  [[nodiscard]] record_fields element(const char* key, std::size_t i) const {
    return {list(key)[i], where_, name(key) + "[" + std::to_string(i) + "]"};
  }

 private:
  [[nodiscard]] std::string name(const char* key) const { return path_.empty() ? std::string(key) : path_ + "." + key; }

  const nlohmann::json* object_;
  std::string where_;
  std::string path_;
};

/// Calls record(fields, line) for each record of a JSONL file or a JSON array.
template <class Record>
void each_record(const std::filesystem::path& file, const Record& record) {
  jsonl_reader reader(file);
  json_record line;
  while (reader.next(line)) {
    nlohmann::json value;
    const std::string where = reader.where(line.line);
    if (line.text.find('\0') != std::string::npos) throw data_error("a zero byte", where, "write the file again");
    try {
      value = nlohmann::json::parse(line.text);
    } catch (const nlohmann::json::exception& failure) {
      throw data_error(std::string("invalid JSON: ") + failure.what(), where, "use the file as it was published");
    }
    record(record_fields(value, where), line.line);
  }
}

}  // namespace lodestone::eval::detail
