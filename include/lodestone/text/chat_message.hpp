// One message of a conversation: who speaks, what is said, and how much its tokens weigh in the loss.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace lodestone {

/// Who speaks.
enum class chat_role { system, user, assistant };

/// The name that data and messages use.
[[nodiscard]] constexpr std::string_view to_string(chat_role role) {
  switch (role) {
    case chat_role::system: return "system";
    case chat_role::user: return "user";
    case chat_role::assistant: return "assistant";
  }
  return "?";
}

/// A message. `weight` is a_t of its tokens in the loss; when it is absent the answers weigh 1 and all else 0.
struct chat_message {
  chat_role role = chat_role::user;  ///< chooses the template's strings around it
  std::string content;               ///< what is said, UTF-8, without those strings
  std::optional<double> weight{};    ///< a_t, 0 or more; absent: by the role

  friend bool operator==(const chat_message&, const chat_message&) = default;
};

}  // namespace lodestone
