// What an error says, for tests of messages.
#pragma once

#include <functional>
#include <string>

namespace lodestone_test {

/// The message of the Error that `act` throws.
template <class Error>
std::string complaint(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

/// Whether `part` stands in `text`.
[[nodiscard]] inline bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace lodestone_test
