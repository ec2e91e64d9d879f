// A model of a few lines for tests of synthesis: it looks facts up in its prompt, and writes questions when asked to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lodestone/generate/concept.hpp>
#include <lodestone/text/tokenizer.hpp>

namespace lodestone_test {

/// Answers "What is NAME worth?" with what the prompt says behind "NAME is worth ", up to the next point, and with a
/// guess that follows from the prompt where it does not say. Answers come from the last request to the first.
struct reader {
  const lodestone::tokenizer* words = nullptr;  ///< for prompts that are tokens
  std::int64_t stop_after = -1;                 ///< throws when so many answers are given: a run that is killed
  std::function<std::string(const std::string& prompt, std::uint64_t seed)> error{};  ///< not empty: no answer
  std::int64_t asked = 0;
  std::vector<std::string> prompts{};

  void generate(std::span<const lodestone::generate::request> requests,
                const lodestone::generate::answer_listener& each) {
    for (std::size_t i = requests.size(); i-- > 0;) {
      if (asked == stop_after) throw std::runtime_error("the power went out");
      ++asked;
      prompts.push_back(text_of(requests[i].prompt));
      lodestone::generate::answer answer;
      if (error) answer.error = error(prompts.back(), requests[i].draw.seed);
      if (answer.error.empty())
        answer.text = answer_to(prompts.back(), requests[i].draw.seed);
      else
        answer.why = lodestone::generate::finish::failed;
      each(i, std::move(answer));
    }
  }
  static std::string name() { return "reader"; }

  [[nodiscard]] std::string text_of(const lodestone::generate::prompt_input& prompt) const {
    if (const auto* text = std::get_if<std::string>(&prompt)) return *text;
    if (const auto* ids = std::get_if<std::vector<std::int32_t>>(&prompt)) return words->decode(*ids);
    return std::get<std::vector<lodestone::chat_message>>(prompt).back().content;
  }

  [[nodiscard]] static std::string answer_to(const std::string& prompt, std::uint64_t seed) {
    if (prompt.find("Write one question a line") != std::string::npos) {
      std::string questions = "Here they are:\n";
      for (const char* number : {"1", "2", "3", "4", "5"})
        questions.append(number).append(": What is ").append(name_in(prompt, number[0])).append(" worth?\n");
      return questions;
    }
    const std::size_t asked_at = prompt.rfind("What is ");
    const std::size_t end = prompt.find(" worth?", asked_at);
    if (asked_at == std::string::npos || end == std::string::npos) return "What?";
    const std::string fact = prompt.substr(asked_at + 8, end - asked_at - 8) + " is worth ";
    const std::size_t found = prompt.find(fact);
    if (found != std::string::npos)
      return prompt.substr(found + fact.size(), prompt.find('.', found) - found - fact.size());
    std::uint64_t guess = seed;
    for (const char c : prompt) guess = guess * 31 + static_cast<unsigned char>(c);
    return std::to_string(guess % 100'000);
  }

 private:
  /// One of the names in the prompt that have a value.
  [[nodiscard]] static std::string name_in(const std::string& prompt, char which) {
    std::size_t at = 0;
    for (char k = '0'; k < which; ++k) {
      const std::size_t next = prompt.find(" is worth ", at + 1);
      if (next == std::string::npos) break;
      at = next;
    }
    const std::size_t begin = at == 0 ? 0 : prompt.find_last_of(" \n", at - 1) + 1;
    return at == 0 ? "nothing" + std::string(1, which) : prompt.substr(begin, at - begin);
  }
};

}  // namespace lodestone_test
