// The text of a judge's prompt with slots for what is judged, as published evaluation code keeps it in files.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lodestone/core/error.hpp>

namespace lodestone::eval {

/// A text with slots: {} in order, or {name}; {{ and }} stand for braces. What is filled in is taken as it is, braces
/// included.
class judge_template {
 public:
  /// A value for a slot with a name.
  using named_value = std::pair<std::string_view, std::string_view>;

  /// Throws format_error for a brace that opens or closes nothing, a slot with a format, and slots of both kinds;
  /// `where` is the place that messages name.
  explicit judge_template(std::string_view text = {}, std::string_view where = "judge template");
  /// Reads a file, whole: blank space at its ends is part of the prompt.
  [[nodiscard]] static judge_template read(const std::filesystem::path& file);

  [[nodiscard]] std::size_t slots() const { return names_.size(); }  ///< slots, each as often as it stands there
  /// Whether a slot of that name stands there.
  [[nodiscard]] bool has(std::string_view name) const;
  /// The names of the slots in their order; empty names for {}.
  [[nodiscard]] const std::vector<std::string>& names() const { return names_; }

  /// Fills {} in order. Throws format_error when there are not as many values as slots, or the slots have names.
  [[nodiscard]] std::string fill(std::span<const std::string_view> values) const;
  /// Fills slots by name. Throws format_error for a slot that has no value.
  [[nodiscard]] std::string fill(std::span<const named_value> values) const;

 private:
  [[nodiscard]] std::string join(std::span<const std::string_view> values) const;

  std::string where_;
  std::vector<std::string> pieces_;  ///< [slots + 1]: the text around the slots
  std::vector<std::string> names_;
};

}  // namespace lodestone::eval

#ifndef LODESTONE_COMPILED
#include <lodestone/eval/judge_template.ipp>
#endif
