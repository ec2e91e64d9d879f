// The fields of one JSON record, read for .ipp files: every complaint names file and line.
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include <lodestone/core/error.hpp>
#include <lodestone/text/jsonl.hpp>

namespace lodestone::detail {

/// One record. Members throw data_error at file:line.
class record_fields {
 public:
  record_fields(const json_record& record, std::string_view file) : where_(source_line(file, record.line)) {
    json_ = nlohmann::json::parse(record.text, nullptr, false);
    if (json_.is_discarded()) fail("not valid JSON", "write one object a line");
    if (!json_.is_object()) fail("the record is not a JSON object", "write one object a line");
  }

  [[noreturn]] void fail(const std::string& what, std::string_view remedy) const {
    throw data_error(what, where_, remedy);
  }

  [[nodiscard]] const nlohmann::json& json() const { return json_; }

  /// A text that may be missing or null: then it is empty.
  [[nodiscard]] std::string text(const char* key) const {
    const auto found = json_.find(key);
    if (found == json_.end() || found->is_null()) return {};
    if (!found->is_string()) fail(std::string(key) + " is not text", "put it in quotes");
    return found->get<std::string>();
  }

  /// An id may be a number.
  [[nodiscard]] std::string text_or_number(const char* key) const {
    const auto found = json_.find(key);
    if (found != json_.end() && found->is_number_integer()) return found->dump();
    return text(key);
  }

  /// A text that says something.
  [[nodiscard]] std::string need(const char* key) const {
    std::string value = text(key);
    if (!json_.contains(key)) fail(std::string("no field ") + key, "every record needs it");
    if (value.find_first_not_of(" \t\r\n") == std::string::npos)
      fail(std::string(key) + " is empty", "remove the record");
    return value;
  }

 private:
  std::string where_;
  nlohmann::json json_;
};

}  // namespace lodestone::detail
