// A JSON record as one line, for the .ipp files of this room.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

namespace lodestone::synthesis::detail {

/// JSON as one line; text that is not UTF-8 is replaced, so that no answer of a model can break a file.
[[nodiscard]] inline std::string to_line(const nlohmann::ordered_json& record) {
  return record.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace lodestone::synthesis::detail
