// Definitions of judge_template.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>

#include <lodestone/core/file.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/eval/judge_template.hpp>

namespace lodestone::eval {

LODESTONE_INLINE judge_template::judge_template(std::string_view text, std::string_view where)
    : where_(where), pieces_(1) {
  const auto fail = [&](std::size_t at, const std::string& what) {
    const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n');
    throw format_error(what, where_ + ":" + std::to_string(line), "slots are {} or {name}; write {{ for a brace");
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c != '{' && c != '}') {
      pieces_.back() += c;
      continue;
    }
    if (i + 1 < text.size() && text[i + 1] == c) {
      pieces_.back() += c;
      ++i;
      continue;
    }
    if (c == '}') fail(i, "a brace closes nothing");
    const std::size_t end = text.find('}', i);
    if (end == std::string_view::npos) fail(i, "a brace is not closed");
    const std::string_view name = text.substr(i + 1, end - i - 1);
    const auto is_letter = [](char l) { return l == '_' || (l >= 'a' && l <= 'z') || (l >= 'A' && l <= 'Z'); };
    const auto is_allowed = [&](char l) { return is_letter(l) || (l >= '0' && l <= '9'); };
    if (!name.empty() && !(is_letter(name[0]) && std::all_of(name.begin(), name.end(), is_allowed)))
      fail(i, "{" + std::string(name) + "} is no slot");
    if (!names_.empty() && names_.front().empty() != name.empty()) fail(i, "some slots have names and some have none");
    names_.emplace_back(name);
    pieces_.emplace_back();
    i = end;
  }
}

LODESTONE_INLINE judge_template judge_template::read(const std::filesystem::path& file) {
  return judge_template(read_text(file), file.string());
}

LODESTONE_INLINE bool judge_template::has(std::string_view name) const {
  return std::find(names_.begin(), names_.end(), name) != names_.end();
}

LODESTONE_INLINE std::string judge_template::join(std::span<const std::string_view> values) const {
  std::string text = pieces_.front();
  for (std::size_t i = 0; i < names_.size(); ++i) text.append(values[i]).append(pieces_[i + 1]);
  return text;
}

LODESTONE_INLINE std::string judge_template::fill(std::span<const std::string_view> values) const {
  if (!names_.empty() && !names_.front().empty())
    throw format_error("the slots have names", where_, "write {} for each");
  if (values.size() != names_.size())
    throw format_error("has " + std::to_string(names_.size()) + " slots for " + std::to_string(values.size()) +
                           " texts",
                       where_);
  return join(values);
}

LODESTONE_INLINE std::string judge_template::fill(std::span<const named_value> values) const {
  std::vector<std::string_view> ordered;
  for (const std::string& name : names_) {
    const auto found =
        std::find_if(values.begin(), values.end(), [&](const named_value& one) { return one.first == name; });
    if (found != values.end()) {
      ordered.push_back(found->second);
      continue;
    }
    std::string known;
    for (const named_value& one : values) known.append(known.empty() ? "" : ", ").append(one.first);
    throw format_error("there is nothing to fill {" + name + "} with", where_, "use " + known);
  }
  return join(ordered);
}

}  // namespace lodestone::eval
