// Definitions of runner.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <optional>

#include <lodestone/core/inline.hpp>
#include <lodestone/eval/runner.hpp>

namespace lodestone::eval::detail {

LODESTONE_INLINE std::string fit_prompt(const std::string& prompt, bool is_chat, std::int64_t room,
                                        const prompt_meter& meter) {
  if (meter.tokens(prompt, is_chat) <= room) return prompt;
  // Both ends are tokenised anew once they are joined, and may then be a few tokens more: those are cut off too.
  std::int64_t limit = room - std::max<std::int64_t>(meter.tokens("a", is_chat) - 1, 0);
  for (int attempt = 0; attempt < 16 && limit >= 2; ++attempt) {
    std::string text = meter.cut(prompt, limit);
    const std::int64_t tokens = meter.tokens(text, is_chat);
    if (tokens <= room) return text;
    limit -= tokens - room;
  }
  throw config_error("no prompt fits into the " + std::to_string(room) + " tokens that its answer leaves", "window",
                     "give a longer window, or ask for shorter answers");
}

LODESTONE_INLINE generate::request make_request(const question& asked, const run_options& options, bool& is_cut) {
  const bool is_chat = asked.is_chat && !options.always_plain;
  std::string prompt = asked.prompt;
  if (options.window > 0) {
    prompt = fit_prompt(asked.prompt, is_chat, options.window - asked.max_new_tokens, options.meter);
    is_cut = prompt != asked.prompt;
  }
  generate::request made{.max_new_tokens = asked.max_new_tokens,
                         .min_new_tokens = asked.min_new_tokens,
                         .draw = options.draw,
                         .stop = asked.stop};
  made.draw.seed = question_seed(options.draw.seed, asked.id);
  if (!is_chat) {
    made.prompt = std::move(prompt);
    return made;
  }
  std::vector<chat_message> messages;
  if (!options.system.empty()) messages.push_back({.role = chat_role::system, .content = options.system});
  messages.push_back({.role = chat_role::user, .content = std::move(prompt)});
  made.prompt = std::move(messages);
  return made;
}

}  // namespace lodestone::eval::detail
