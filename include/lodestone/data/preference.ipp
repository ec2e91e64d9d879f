// Definitions of preference.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include <lodestone/core/inline.hpp>
#include <lodestone/data/preference.hpp>
#include <lodestone/data/record.ipp>
#include <lodestone/text/chat_template.hpp>

namespace lodestone {

namespace detail {

/// Where the common beginning of several texts or lists of messages ends, as TRL's extract_prompt (0.19.1) finds it:
/// at the first place where they differ; where the shortest ends first, one place before its end, so that no rest is
/// empty. `is_same(i)` tells whether all agree at place i.
template <class IsSame>
[[nodiscard]] std::size_t common_beginning(std::size_t shortest, const IsSame& is_same) {
  for (std::size_t i = 0; i < shortest; ++i) {
    if (!is_same(i)) return i;
  }
  return shortest == 0 ? 0 : shortest - 1;
}

/// Reads the fields of one preference record, with its place for messages.
class preference_reader : record_reader {
 public:
  using record_reader::record_reader;

  [[nodiscard]] preference_record read() {
    if (!object_.is_object()) fail("the record is not a JSON object", "a preference is {\"prompt\", \"chosen\", ...}");
    read_answers();
    if (is_set(object_, "context") || is_set(object_, "question")) {
      context();
    } else if (is_set(object_, "prompt")) {
      if (is_message_list(object_.at("prompt"))) {
        conversation("prompt");
      } else {
        plain_prompt_field();
      }
    } else if (is_set(object_, "messages")) {
      conversation("messages");
    } else {
      implicit_prompt();
    }
    check_answers();
    numbers();
    return std::move(record_);
  }

 private:
  [[nodiscard]] static bool is_message_list(const json& value) {
    return value.is_array() && !value.empty() && value.front().is_object() &&
           (value.front().contains("role") || value.front().contains("from"));
  }

  [[nodiscard]] std::string name(std::size_t answer) const {
    if (answer == 0) return "the chosen answer";
    return record_.answers.size() == 2 ? "the rejected answer" : "rejected answer " + std::to_string(answer);
  }

  [[nodiscard]] std::vector<chat_message> messages(const json& list, const std::string& whose) const {
    std::vector<chat_message> result;
    for (const json& item : list) {
      result.push_back(message(item, whose + ", message " + std::to_string(result.size() + 1)));
    }
    return result;
  }

  /// An answer as it stands: text, a list of messages, or one message.
  void read_answer(const json& value, const std::string& whose) {
    preference_answer& answer = record_.answers.emplace_back();
    if (value.is_string()) {
      answer.text = value.get<std::string>();
      if (options_.strip_zero_width) strip_zero_width(answer.text);
    } else if (value.is_object()) {
      answer.messages.push_back(message(value, whose));
    } else if (is_message_list(value)) {
      answer.messages = messages(value, whose);
    } else {
      fail(whose + " is neither text nor a list of messages");
    }
    for (chat_message& one : answer.messages) {
      if (one.role == chat_role::assistant && options_.strip_zero_width) strip_zero_width(one.content);
    }
  }

  void read_answers() {
    for (const char* key : {"chosen", "rejected"}) {
      if (!is_set(object_, key)) {
        fail(std::string("no field ") + key, "a preference record has a prompt, chosen and rejected");
      }
    }
    read_answer(object_.at("chosen"), "chosen");
    const json& rejected = object_.at("rejected");
    if (!rejected.is_array() || is_message_list(rejected)) {
      read_answer(rejected, "rejected");
    } else {
      if (rejected.empty()) fail("rejected is an empty list", "a preference needs an answer to avoid");
      for (const json& one : rejected) read_answer(one, "rejected " + std::to_string(record_.answers.size()));
    }
    has_messages_ = !record_.answers.front().messages.empty();
    for (std::size_t i = 0; i < record_.answers.size(); ++i) {
      const preference_answer& answer = record_.answers[i];
      if (answer.messages.empty() != !has_messages_) {
        fail(name(i) + " and the chosen one are of two kinds: text and messages", "write all answers alike");
      }
      if (answer.messages.empty() && trimmed(answer.text).empty()) fail_empty(i);
    }
  }

  [[noreturn]] void fail_empty(std::size_t answer) const { fail(name(answer) + " is empty", "remove the record"); }

  /// Joins turns of one role in a row, or says that there are such turns.
  void put_in_order(std::vector<chat_message>& list, const std::string& whose) {
    std::vector<chat_message> kept;
    for (std::size_t i = 0; i < list.size(); ++i) {
      if (kept.empty() || kept.back().role != list[i].role) {
        kept.push_back(std::move(list[i]));
        continue;
      }
      if (!options_.join_turns) {
        fail(whose + ", message " + std::to_string(i + 1) + ": a second " + std::string(to_string(kept.back().role)) +
                 " turn in a row",
             "merge the two turns, or set join_turns");
      }
      kept.back().content += "\n\n" + list[i].content;
      ++record_.joined_turns;
    }
    list = std::move(kept);
  }

  void add_system() {
    if (!is_set(object_, "system")) return;
    record_.messages.insert(record_.messages.begin(), {chat_role::system, text_field("system"), std::nullopt});
  }

  /// The answers' texts become assistant turns.
  void answers_are_turns() {
    if (has_messages_) return;
    for (preference_answer& answer : record_.answers) {
      answer.messages.push_back({chat_role::assistant, std::move(answer.text), std::nullopt});
      answer.text.clear();
    }
    has_messages_ = true;
  }

  /// The prompt is a list of messages; an answer may repeat it.
  void conversation(const char* key) {
    const json& list = object_.at(key);
    if (!is_message_list(list)) fail(std::string(key) + " is not a list of messages");
    record_.messages = messages(list, key);
    answers_are_turns();
    const std::vector<chat_message>& prompt = record_.messages;
    for (std::size_t i = 0; i < record_.answers.size(); ++i) {
      std::vector<chat_message>& own = record_.answers[i].messages;
      if (own.front().role == chat_role::assistant) continue;
      const bool repeats = own.size() > prompt.size() && std::equal(prompt.begin(), prompt.end(), own.begin(), is_same);
      if (!repeats) {
        fail("the prompt of " + name(i) + " differs from " + key, "give each answer the same prompt, or none");
      }
      own.erase(own.begin(), own.begin() + static_cast<std::ptrdiff_t>(prompt.size()));
    }
    add_system();
  }

  [[nodiscard]] static bool is_same(const chat_message& a, const chat_message& b) {
    return a.role == b.role && a.content == b.content;
  }

  void plain_prompt_field() {
    if (has_messages_ && record_.answers.front().messages.front().role != chat_role::assistant) {
      implicit_prompt();  // data sets name the first question beside whole conversations
      return;
    }
    std::string prompt = text_field("prompt");
    if (has_messages_ || options_.plain == plain_prompt::chat) {
      answers_are_turns();
      record_.messages.push_back({chat_role::user, std::move(prompt), std::nullopt});
      add_system();
      return;
    }
    plain(std::move(prompt));
  }

  void plain(std::string prompt) {
    if (is_set(object_, "system")) {
      fail("a system message beside a prompt that is plain text", "use messages, or set plain_prompt to chat");
    }
    if (prompt.empty()) fail("the prompt is empty", "remove the record");
    record_.text = std::move(prompt);
    record_.is_text = true;
  }

  void context() {
    for (const char* key : {"prompt", "messages"}) {
      if (is_set(object_, key)) fail(std::string("both ") + key + " and context with question", "keep one of them");
    }
    for (const char* key : {"context", "question"}) {
      if (!is_set(object_, key)) fail(std::string("no field ") + key, "context and question go together");
    }
    const json& value = object_.at("context");
    if (value.is_string()) {
      record_.context.push_back(value.get<std::string>());
    } else if (value.is_array()) {
      for (const json& chunk : value) {
        if (!chunk.is_string()) {
          fail("chunk " + std::to_string(record_.context.size() + 1) + " of the context is not text");
        }
        record_.context.push_back(chunk.get<std::string>());
      }
    } else {
      fail("the field context is neither text nor a list of texts");
    }
    for (std::size_t i = 0; i < record_.context.size(); ++i) {
      if (record_.context[i].empty()) fail("chunk " + std::to_string(i + 1) + " of the context is empty", "remove it");
    }
    if (record_.context.empty()) fail("the context is empty", "remove the record");
    if (!object_.at("question").is_string()) fail("the field question is not text");
    record_.question = object_.at("question").get<std::string>();
    answers_are_turns();
    add_system();
  }

  void implicit_prompt() {
    std::size_t shortest = std::string::npos;
    for (const preference_answer& answer : record_.answers) {
      shortest = std::min(shortest, has_messages_ ? answer.messages.size() : answer.text.size());
    }
    const preference_answer& chosen = record_.answers.front();
    const auto all = [&](const auto& holds) {
      return std::all_of(record_.answers.begin() + 1, record_.answers.end(), holds);
    };
    if (has_messages_) {
      const std::size_t end = common_beginning(shortest, [&](std::size_t i) {
        return all([&](const preference_answer& other) { return is_same(chosen.messages[i], other.messages[i]); });
      });
      const auto count = static_cast<std::ptrdiff_t>(end);
      record_.messages.assign(chosen.messages.begin(), chosen.messages.begin() + count);
      for (std::size_t i = 0; i < record_.answers.size(); ++i) {
        std::vector<chat_message>& own = record_.answers[i].messages;
        own.erase(own.begin(), own.begin() + count);
        if (own.front().role != chat_role::assistant) {
          fail("the prompt of " + name(std::max<std::size_t>(i, 1)) + " differs from that of the chosen answer",
               "all answers of a record answer one prompt");
        }
      }
      if (record_.messages.empty()) fail("no prompt: the answers share no message", "add the field prompt");
      add_system();
      return;
    }
    const auto is_inside = [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0U) == 0x80U; };
    std::size_t end = 0;  // bytes; TRL counts characters
    while (end < shortest && all([&](const preference_answer& other) { return other.text[end] == chosen.text[end]; })) {
      ++end;
    }
    const bool is_whole = end == shortest;  // one answer is the beginning of all others
    if (is_whole) --end;
    while (end > 0 && is_inside(chosen.text[end])) --end;
    if (!is_whole && end > 0 && chosen.text[end - 1] == ' ') --end;  // the space belongs to the first word
    if (end == 0) fail("no prompt: the answers share no beginning", "add the field prompt");
    std::string prompt = chosen.text.substr(0, end);
    for (preference_answer& answer : record_.answers) answer.text.erase(0, end);
    plain(std::move(prompt));
  }

  /// Every answer has text and differs from the others; turns alternate, from a user's to an assistant's.
  void check_answers() {
    std::vector<chat_message>& prompt = record_.messages;
    if (!record_.is_text) {
      put_in_order(prompt, "the prompt");
      const bool has_question = record_.context.empty();  // a context is a user turn
      if (has_question && (prompt.empty() || prompt.back().role != chat_role::user)) {
        fail("the prompt does not end with a user turn", "the answers must answer something");
      }
    }
    for (std::size_t i = 0; i < record_.answers.size(); ++i) {
      preference_answer& answer = record_.answers[i];
      if (!record_.is_text) {
        put_in_order(answer.messages, name(i));
        if (answer.messages.front().role != chat_role::assistant ||
            answer.messages.back().role != chat_role::assistant) {
          fail(name(i) + " does not begin and end with an assistant turn");
        }
        for (const chat_message& turn : answer.messages) {
          if (turn.role == chat_role::assistant && trimmed(turn.content).empty()) fail_empty(i);
        }
      } else if (trimmed(answer.text).empty()) {
        fail_empty(i);
      }
      for (std::size_t j = 0; j < i; ++j) {
        const preference_answer& other = record_.answers[j];
        if (answer.text == other.text && answer.messages.size() == other.messages.size() &&
            std::equal(answer.messages.begin(), answer.messages.end(), other.messages.begin(), is_same)) {
          fail(name(i) + " equals " + name(j), "remove it");
        }
      }
    }
  }

  /// As many numbers as there are rejected answers; one may stand without a list.
  [[nodiscard]] std::vector<double> list_of(const char* key) const {
    const json& value = object_.at(key);
    const std::size_t wanted = record_.answers.size() - 1;
    std::vector<double> result;
    for (const json& one : value.is_array() ? value : json::array({value})) {
      if (!one.is_number()) fail(std::string(key) + " holds something that is not a number");
      result.push_back(one.get<double>());
    }
    if (result.size() != wanted) {
      fail(std::string(key) + " has " + std::to_string(result.size()) + " numbers for " + std::to_string(wanted) +
               " rejected answers",
           "give one for each");
    }
    return result;
  }

  void set_reference(preference_answer& answer, double value, const char* key) const {
    if (!std::isfinite(value) || value > 0.0) {
      fail(std::string(key) + " is " + std::to_string(value) + ", which is no logarithm of a probability",
           "store the sum of the answer's log-probabilities");
    }
    answer.reference = value;
  }

  void numbers() {
    std::vector<preference_answer>& answers = record_.answers;
    answers.front().weight = number(object_, "weight", "the record").value_or(1.0);
    if (is_set(object_, "rejected_weights")) {
      const std::vector<double> weights = list_of("rejected_weights");
      bool has_weight = false;
      for (std::size_t j = 0; j < weights.size(); ++j) {
        if (!std::isfinite(weights[j]) || weights[j] < 0.0) fail("rejected_weights must be finite and not negative");
        answers[j + 1].weight = weights[j];
        has_weight = has_weight || weights[j] > 0.0;
      }
      if (!has_weight) fail("all rejected_weights are 0", "leave the record out, or give it weight 0");
    }
    const bool has_chosen = is_set(object_, "reference_chosen");
    if (has_chosen != is_set(object_, "reference_rejected")) {
      fail("reference_chosen and reference_rejected go together", "store both or none");
    }
    if (!has_chosen) return;
    const json& chosen = object_.at("reference_chosen");
    if (!chosen.is_number()) fail("reference_chosen is not a number");
    set_reference(answers.front(), chosen.get<double>(), "reference_chosen");
    const std::vector<double> rejected = list_of("reference_rejected");
    for (std::size_t j = 0; j < rejected.size(); ++j) set_reference(answers[j + 1], rejected[j], "reference_rejected");
  }

  preference_record record_;
  bool has_messages_ = false;  // the answers are turns, not text
};

}  // namespace detail

LODESTONE_INLINE preference_record parse_preference(const json_record& text, std::string_view file,
                                                    const record_options& options) {
  const nlohmann::json object = detail::parse_record_json(text, file);
  preference_record record = detail::preference_reader(object, source_line(file, text.line), options).read();
  record.line = text.line;
  return record;
}

LODESTONE_INLINE std::variant<training_record, preference_record> parse_any_record(const json_record& text,
                                                                                   std::string_view file,
                                                                                   const record_options& options) {
  const nlohmann::json object = detail::parse_record_json(text, file);
  const bool is_preference =
      options.format == data_format::preference ||
      (options.format == data_format::automatic && object.contains("chosen") && object.contains("rejected"));
  if (is_preference) {
    preference_record record = detail::preference_reader(object, source_line(file, text.line), options).read();
    record.line = text.line;
    return record;
  }
  training_record record = detail::record_reader(object, source_line(file, text.line), options).read();
  record.line = text.line;
  return record;
}

}  // namespace lodestone
