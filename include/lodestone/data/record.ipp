// Definitions of record.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include <lodestone/core/inline.hpp>
#include <lodestone/data/record.hpp>

namespace lodestone {

LODESTONE_INLINE data_format parse_data_format(std::string_view name) {
  if (name == "auto") return data_format::automatic;
  if (name == "messages") return data_format::messages;
  if (name == "conversations" || name == "sharegpt") return data_format::conversations;
  if (name == "alpaca") return data_format::alpaca;
  if (name == "prompt") return data_format::prompt;
  if (name == "text") return data_format::text;
  if (name == "preference") return data_format::preference;
  throw config_error("no data format is called '" + std::string(name) + "'", "format",
                     "the names are: auto, messages, conversations (or sharegpt), alpaca, prompt, text, preference");
}

namespace detail {

/// Parses the text of a record; data_error names the line of the fault, which for an array's record may be a later one.
[[nodiscard]] inline nlohmann::json parse_record_json(const json_record& record, std::string_view file) {
  if (record.text.find('\0') != std::string::npos)
    throw data_error("invalid JSON: a zero byte", source_line(file, record.line), "write the file again");
  try {
    return nlohmann::json::parse(record.text);
  } catch (const nlohmann::json::parse_error& failure) {
    const std::size_t byte = std::min(failure.byte, record.text.size());
    const std::string_view before = std::string_view(record.text).substr(0, byte);
    const auto lines = std::count(before.begin(), before.end(), '\n');
    const std::size_t line_begin = before.find_last_of('\n') + 1;  // npos + 1 is 0
    std::string_view what = failure.what();
    if (const std::size_t colon = what.find(": "); colon != std::string_view::npos) what.remove_prefix(colon + 2);
    throw data_error("invalid JSON at column " + std::to_string(byte - line_begin) + ": " + std::string(what),
                     source_line(file, record.line + lines), "a JSONL file holds one complete JSON object a line");
  }
}

/// Reads the fields of one record, with its place for messages.
class record_reader {
 public:
  record_reader(const nlohmann::json& object, std::string where, const record_options& options)
      : object_(object), where_(std::move(where)), options_(options) {}

  [[nodiscard]] training_record read() {
    if (!object_.is_object()) fail("the record is not a JSON object", "a record is {\"messages\": [...]} or alike");
    data_format format = options_.format;
    if (format == data_format::automatic) format = detect();
    training_record record;
    record.weight = number(object_, "weight", "the record").value_or(1.0);
    switch (format) {
      case data_format::messages: conversation(record, "messages"); break;
      case data_format::conversations:
        conversation(record, object_.contains("conversations") ? "conversations" : "conversation");
        break;
      case data_format::alpaca: alpaca(record); break;
      case data_format::prompt: prompt(record); break;
      case data_format::preference:
        fail("the source holds preferences, which are not read here", "choose another format for it");
      default: document(record); break;
    }
    if (!record.is_text) validate(record);
    return record;
  }

 protected:
  using json = nlohmann::json;

  [[noreturn]] void fail(const std::string& what, std::string_view remedy = {}) const {
    throw data_error(what, where_, remedy);
  }

  [[nodiscard]] data_format detect() const {
    if (object_.contains("messages")) return data_format::messages;
    if (object_.contains("conversations") || object_.contains("conversation")) return data_format::conversations;
    if (object_.contains("instruction")) return data_format::alpaca;
    if (object_.contains("prompt")) return data_format::prompt;
    if (object_.contains("text")) return data_format::text;
    std::string keys;
    for (const auto& item : object_.items()) {
      if (keys.size() > 100) {
        keys += ", ...";
        break;
      }
      keys += (keys.empty() ? "" : ", ") + item.key();
    }
    fail("the record has none of the fields messages, conversations, instruction, prompt, text (it has: " + keys + ")",
         "rename its fields");
  }

  [[nodiscard]] static bool is_set(const json& object, const char* key) {
    const auto found = object.find(key);
    return found != object.end() && !found->is_null();
  }

  /// A weight: a finite number that is not negative.
  [[nodiscard]] std::optional<double> number(const json& object, const char* key, const std::string& whose) const {
    if (!is_set(object, key)) return std::nullopt;
    const json& value = object.at(key);
    if (!value.is_number()) fail(whose + ": " + key + " is not a number");
    const double result = value.get<double>();
    if (!std::isfinite(result) || result < 0.0) fail(whose + ": " + key + " must be finite and not negative");
    return result;
  }

  [[nodiscard]] std::optional<double> message_weight(const json& message, const std::string& whose) const {
    std::optional<double> result = number(message, "weight", whose);
    if (const auto other = number(message, "loss_weight", whose)) {
      if (result && *result != *other) fail(whose + ": weight and loss_weight contradict each other", "keep one");
      result = other;
    }
    if (is_set(message, "train")) {
      const json& train = message.at("train");
      double other = 0.0;
      if (train.is_boolean()) {
        other = train.get<bool>() ? 1.0 : 0.0;
      } else if (train.is_number() && (train.get<double>() == 0.0 || train.get<double>() == 1.0)) {
        other = train.get<double>();
      } else {
        fail(whose + ": train is neither true nor false");
      }
      if (result && (*result > 0.0) != (other > 0.0)) {
        fail(whose + ": weight and train contradict each other", "keep one");
      }
      if (!result) result = other;
    }
    return result;
  }

  [[nodiscard]] chat_role role(const json& message, const std::string& whose) const {
    const char* key = message.contains("role") ? "role" : "from";
    if (!message.contains(key) || !message.at(key).is_string()) {
      fail(whose + ": no role", "add \"role\": \"user\" or alike");
    }
    const auto name = message.at(key).get<std::string>();
    if (name == "user" || name == "human" || name == "prompter") return chat_role::user;
    if (name == "assistant" || name == "gpt" || name == "model" || name == "chatgpt" || name == "bot" ||
        name == "bing" || name == "bard") {
      return chat_role::assistant;
    }
    if (name == "system" || name == "developer") return chat_role::system;
    fail(whose + ": unknown role '" + name + "'",
         "the roles are: system (developer), user (human, prompter), assistant (gpt, model, chatgpt, bot, bing, bard); "
         "tool turns cannot be trained on");
  }

  /// Content: a string, null, or a list of text parts.
  [[nodiscard]] std::string content(const json& value, const std::string& whose) const {
    if (value.is_null()) return {};
    if (value.is_string()) return value.get<std::string>();
    if (!value.is_array()) fail(whose + ": the content is neither text nor a list of parts");
    std::string text;
    for (const json& part : value) {
      if (part.is_string()) {
        text += part.get<std::string>();
        continue;
      }
      if (!part.is_object()) fail(whose + ": a content part is neither text nor an object");
      const bool has_type = is_set(part, "type") && part.at("type").is_string();
      const std::string kind = has_type ? part.at("type").get<std::string>() : "";
      const char* key = part.contains("text") ? "text" : "value";
      if (kind != "text" || !part.contains(key) || !part.at(key).is_string()) {
        fail(whose + ": a content part of type '" + kind + "'", "only text parts can be trained on: remove the others");
      }
      text += part.at(key).get<std::string>();
    }
    return text;
  }

  void conversation(training_record& record, const char* key) {
    if (!object_.contains(key) || !object_.at(key).is_array()) fail(std::string(key) + " is not a list of messages");
    if (is_set(object_, "system")) add(record, chat_role::system, text_field("system"));
    std::size_t number = 0;
    for (const json& item : object_.at(key)) {
      record.messages.push_back(message(item, "message " + std::to_string(++number)));
    }
  }

  [[nodiscard]] chat_message message(const json& item, const std::string& whose) const {
    if (!item.is_object()) fail(whose + ": not an object");
    for (const char* call : {"tool_calls", "function_call"}) {
      if (is_set(item, call) && !item.at(call).empty()) {
        fail(whose + ": " + call + " cannot be trained on", "remove it");
      }
    }
    chat_message result;
    result.role = role(item, whose);
    const char* text = item.contains("content") ? "content" : "value";
    if (!item.contains(text)) fail(whose + ": no content", "add \"content\"");
    result.content = content(item.at(text), whose);
    result.weight = message_weight(item, whose);
    return result;
  }

  /// A field that is text, or absent or null: then empty.
  [[nodiscard]] std::string text_field(const char* key) const {
    if (!is_set(object_, key)) return {};
    return content(object_.at(key), std::string("field ") + key);
  }

  static void add(training_record& record, chat_role role, std::string text) {
    record.messages.push_back({role, std::move(text), std::nullopt});
  }

  void alpaca(training_record& record) {
    if (is_set(object_, "system")) add(record, chat_role::system, text_field("system"));
    if (is_set(object_, "history")) {
      const json& history = object_.at("history");
      if (!history.is_array()) fail("history is not a list of [question, answer] pairs");
      for (const json& pair : history) {
        if (!pair.is_array() || pair.size() != 2) fail("history is not a list of [question, answer] pairs");
        add(record, chat_role::user, content(pair.at(0), "history"));
        add(record, chat_role::assistant, content(pair.at(1), "history"));
      }
    }
    if (!object_.contains("instruction")) fail("no field instruction");
    if (!object_.contains("output")) fail("no field output", "an Alpaca record has instruction, input and output");
    std::string question = text_field("instruction");
    if (const std::string input = text_field("input"); !input.empty()) {
      if (!question.empty()) question += '\n';
      question += input;
    }
    add(record, chat_role::user, std::move(question));
    add(record, chat_role::assistant, text_field("output"));
  }

  /// {"prompt": text or messages, "completion" (or "response"): text or messages}.
  void prompt(training_record& record) {
    if (!object_.contains("prompt")) fail("no field prompt");
    const char* answer = object_.contains("completion") ? "completion" : "response";
    if (!object_.contains(answer)) fail("no field completion", "a record with a prompt has a completion or response");
    if (is_set(object_, "system")) add(record, chat_role::system, text_field("system"));
    for (const auto& [key, role_of] : {std::pair{"prompt", chat_role::user}, std::pair{answer, chat_role::assistant}}) {
      const json& value = object_.at(key);
      const bool is_list = value.is_array() && !value.empty() && value.front().is_object();
      if (is_list && value.front().contains("role")) {
        conversation(record, key);
      } else {
        add(record, role_of, text_field(key));
      }
    }
  }

  void document(training_record& record) {
    if (!object_.contains("text") || !object_.at("text").is_string()) fail("the field text is not a string");
    record.text = object_.at("text").get<std::string>();
    record.is_text = true;
    if (record.text.empty()) fail("the document is empty", "remove the line");
  }

  static void strip_zero_width(std::string& text) {
    constexpr std::string_view marks[] = {"\xE2\x80\x8B", "\xE2\x80\x8C", "\xE2\x80\x8D", "\xEF\xBB\xBF"};
    std::size_t out = 0;
    for (std::size_t i = 0; i < text.size();) {
      const std::string_view rest = std::string_view(text).substr(i, 3);
      if (rest == marks[0] || rest == marks[1] || rest == marks[2] || rest == marks[3]) {
        i += 3;
      } else {
        text[out++] = text[i++];
      }
    }
    text.resize(out);
  }

  /// Brings the turns into an order that templates can write, or says why not.
  void validate(training_record& record) const {
    std::vector<chat_message>& messages = record.messages;
    if (messages.empty()) fail("the conversation has no messages");
    std::vector<chat_message> kept;
    bool has_user = false;
    bool has_answer = false;
    for (std::size_t i = 0; i < messages.size(); ++i) {
      chat_message& message = messages[i];
      if (message.role == chat_role::user) has_user = true;
      if (message.role == chat_role::assistant && !has_user) {
        ++record.leading_dropped;
        continue;
      }
      if (message.role == chat_role::assistant) {
        has_answer = true;
        if (options_.strip_zero_width) strip_zero_width(message.content);
      }
      if (!kept.empty() && kept.back().role == message.role) {
        if (!options_.join_turns) {
          fail("message " + std::to_string(i + 1) + ": a second " + std::string(to_string(message.role)) +
                   " turn in a row",
               "merge the two turns, or set join_turns");
        }
        if (kept.back().weight.value_or(-1.0) != message.weight.value_or(-1.0)) {
          fail("message " + std::to_string(i + 1) + ": turns with different weights cannot be joined");
        }
        kept.back().content += "\n\n" + message.content;
        ++record.joined_turns;
        continue;
      }
      kept.push_back(std::move(message));
    }
    if (!has_answer) {
      fail(record.leading_dropped > 0 ? "no assistant turn follows a user turn" : "no assistant turn",
           "training needs an answer; plain documents use the field text");
    }
    messages = std::move(kept);
  }

  const json& object_;
  std::string where_;
  const record_options& options_;
};

}  // namespace detail

LODESTONE_INLINE training_record parse_record(const json_record& text, std::string_view file,
                                              const record_options& options) {
  const nlohmann::json object = detail::parse_record_json(text, file);
  training_record record = detail::record_reader(object, source_line(file, text.line), options).read();
  record.line = text.line;
  return record;
}

}  // namespace lodestone

