// Definitions of marked_questions.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>

#include <lodestone/core/inline.hpp>
#include <lodestone/eval/marked_questions.hpp>

namespace lodestone::eval {

LODESTONE_INLINE std::string fill_prompt(std::string_view form,
                                         const std::vector<std::pair<std::string_view, std::string_view>>& fields) {
  std::string result;
  for (std::size_t i = 0; i < form.size();) {
    const char c = form[i];
    if (c != '{' && c != '}') {
      result += c;
      ++i;
      continue;
    }
    if (i + 1 < form.size() && form[i + 1] == c) {
      result += c;
      i += 2;
      continue;
    }
    const std::size_t end = c == '{' ? form.find('}', i) : std::string_view::npos;
    if (end == std::string_view::npos) {
      throw config_error(std::string("a '") + c + "' stands alone", "prompt", "write {{ and }} for braces");
    }
    const std::string_view name = form.substr(i + 1, end - i - 1);
    const auto field = std::find_if(fields.begin(), fields.end(), [&](const auto& each) { return each.first == name; });
    if (field == fields.end()) {
      std::string names;
      for (const auto& each : fields) names.append(names.empty() ? "{" : ", {").append(each.first).append("}");
      throw config_error("{" + std::string(name) + "} is not a field", "prompt", "the fields are " + names);
    }
    result += field->second;
    i = end + 1;
  }
  return result;
}

}  // namespace lodestone::eval
