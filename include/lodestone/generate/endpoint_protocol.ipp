// Definitions of endpoint_protocol.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>
#include <variant>

#include <nlohmann/json.hpp>

#include <lodestone/core/inline.hpp>
#include <lodestone/core/random.hpp>
#include <lodestone/generate/endpoint_protocol.hpp>
#include <lodestone/text/jsonl.hpp>

namespace lodestone::generate::detail {

LODESTONE_INLINE std::chrono::milliseconds retry_delay(const endpoint_options& options, std::uint64_t index,
                                                       std::int64_t attempt) {
  const double first = static_cast<double>(options.first_delay.count());
  const double most = static_cast<double>(options.longest_delay.count());
  // 2^60 ms is beyond every limit: larger exponents would overflow to infinity, and 0 * infinity is not a number.
  const double delay = std::min(most, std::ldexp(first, static_cast<int>(std::min<std::int64_t>(attempt, 60))));
  random_stream random(options.seed, random_purpose::user, static_cast<std::uint64_t>(attempt), index);
  return std::chrono::milliseconds(static_cast<std::int64_t>(delay * (0.5 + 0.5 * random.uniform())));
}

LODESTONE_INLINE std::string endpoint_body(const request& what, const endpoint_options& options) {
  nlohmann::json body{{"model", options.model},
                      {options.length_field, what.max_new_tokens},
                      {"temperature", what.draw.temperature},
                      {"top_p", what.draw.top_p}};
  if (const auto* text = std::get_if<std::string>(&what.prompt)) {
    body["prompt"] = *text;
  } else if (const auto* tokens = std::get_if<std::vector<std::int32_t>>(&what.prompt)) {
    body["prompt"] = *tokens;
  } else {
    nlohmann::json& messages = body["messages"] = nlohmann::json::array();
    for (const chat_message& message : std::get<std::vector<chat_message>>(what.prompt))
      messages.push_back({{"role", to_string(message.role)}, {"content", message.content}});
  }
  // Endpoints hold seeds in signed 64-bit integers.
  if (what.draw.temperature > 0.0) body["seed"] = what.draw.seed & 0x7fff'ffff'ffff'ffffU;
  if (!what.stop.empty()) body["stop"] = what.stop;
  if (what.draw.top_k > 0) body["top_k"] = what.draw.top_k;
  if (what.draw.min_p > 0.0) body["min_p"] = what.draw.min_p;
  if (what.draw.repetition_penalty != 1.0) body["repetition_penalty"] = what.draw.repetition_penalty;
  if (what.min_new_tokens > 0) body["min_tokens"] = what.min_new_tokens;
  if (!what.stop_tokens.empty()) body["stop_token_ids"] = what.stop_tokens;
  return body.dump();
}

LODESTONE_INLINE std::string endpoint_fault(const request& what) {
  if (std::visit([](const auto& prompt) { return prompt.empty(); }, what.prompt)) return "the prompt is empty";
  if (what.max_new_tokens < 1) return "max_new_tokens must be at least 1";
  const auto is_broken = [](std::string_view text) { return find_broken_utf8(text) != std::string_view::npos; };
  bool has_broken = std::any_of(what.stop.begin(), what.stop.end(), is_broken);
  if (const auto* text = std::get_if<std::string>(&what.prompt)) has_broken |= is_broken(*text);
  if (const auto* messages = std::get_if<std::vector<chat_message>>(&what.prompt))
    for (const chat_message& message : *messages) has_broken |= is_broken(message.content);
  return has_broken ? "the prompt is not UTF-8" : "";
}

LODESTONE_INLINE std::string endpoint_quote(std::string_view text, std::string_view key) {
  constexpr std::size_t most = 300;
  std::string line;
  while (!text.empty() && line.size() < most) {
    if (!key.empty() && text.starts_with(key)) {
      line += "[key]";
      text.remove_prefix(key.size());
      continue;
    }
    const char c = text.front();
    const bool is_blank = c == ' ' || c == '\t' || c == '\r' || c == '\n';
    if (!is_blank)
      line += c;
    else if (!line.empty() && line.back() != ' ')
      line += ' ';
    text.remove_prefix(1);
  }
  // A character that was cut in its middle goes.
  for (int bytes = 0; bytes < 3 && !text.empty() && find_broken_utf8(line) != std::string_view::npos; ++bytes)
    line.pop_back();
  if (!text.empty()) return line + "...";
  while (line.ends_with(' ')) line.pop_back();
  return line;
}

/// The endpoint's own words about a failure.
[[nodiscard]] inline std::string endpoint_words(const nlohmann::json& body, std::string_view response) {
  if (body.is_object())
    for (const char* key : {"error", "message", "detail"}) {
      const auto found = body.find(key);
      if (found == body.end()) continue;
      if (found->is_string()) return found->get<std::string>();
      if (found->is_object() && found->contains("message") && (*found)["message"].is_string())
        return (*found)["message"].get<std::string>();
    }
  return std::string(response);
}

/// A text in an object; null for anything else.
[[nodiscard]] inline const std::string* endpoint_text(const nlohmann::json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() ? nullptr : found->get_ptr<const std::string*>();
}

/// What a response of success says.
[[nodiscard]] inline endpoint_outcome endpoint_answer(const endpoint_response& response, const nlohmann::json& body,
                                                      std::string_view key) {
  using kind = endpoint_outcome::kind;
  endpoint_outcome result;
  const auto end = [&](kind what, std::string why) {
    result.what = what;
    result.why = std::move(why);
    return result;
  };
  if (response.body.empty()) return end(kind::again, "the response is empty");
  if (!body.is_object())
    return end(kind::again,
               "the response is no JSON object" +
                   (response.content_type.empty() ? "" : ", but " + endpoint_quote(response.content_type, key)) + ": " +
                   endpoint_quote(response.body, key));
  if (body.contains("error") && !body["error"].is_null())
    return end(kind::again, "the endpoint failed: " + endpoint_quote(endpoint_words(body, response.body), key));
  const auto choices = body.find("choices");
  if (choices == body.end() || !choices->is_array() || choices->empty())
    return end(kind::again, "the response holds no answer (choices): " + endpoint_quote(response.body, key));
  const nlohmann::json& choice = choices->front();
  const std::string* const reason = endpoint_text(choice, "finish_reason");
  if (reason != nullptr && *reason == "content_filter")
    return end(kind::failed, "the endpoint's filter withheld the answer");
  if (reason != nullptr && (*reason == "error" || *reason == "abort"))
    return end(kind::again, "the endpoint broke the answer off");
  const std::string* text = nullptr;
  if (response.is_text) {
    text = endpoint_text(choice, "text");
  } else if (choice.is_object() && choice.contains("message")) {
    text = endpoint_text(choice["message"], "content");
    if (text == nullptr) text = endpoint_text(choice["message"], "refusal");
  }
  if (text == nullptr)
    return end(kind::again, "the answer holds no text" +
                                (reason == nullptr ? "" : " (it ended by " + endpoint_quote(*reason, key) + ")"));
  result.what = kind::answered;
  result.reply.text = *text;
  result.reply.why = reason != nullptr && *reason == "length" ? finish::length : finish::stop;
  const auto count_of = [&](const char* name) -> std::int64_t {
    const auto usage = body.find("usage");
    if (usage == body.end() || !usage->is_object()) return 0;
    const auto count = usage->find(name);
    if (count == usage->end() || !count->is_number_integer()) return 0;
    return std::max<std::int64_t>(count->get<std::int64_t>(), 0);
  };
  result.reply.prompt_tokens = count_of("prompt_tokens");
  result.answer_tokens = count_of("completion_tokens");
  return result;
}

LODESTONE_INLINE endpoint_outcome read_endpoint_response(const endpoint_response& response, std::string_view key,
                                                         const std::string& key_variable) {
  using kind = endpoint_outcome::kind;
  const nlohmann::json body = nlohmann::json::parse(response.body, nullptr, false);
  const long status = response.status;
  if (status >= 200 && status < 300) return endpoint_answer(response, body, key);
  endpoint_outcome result;
  const auto end = [&](kind what, std::string why, std::string remedy = {}) {
    result.what = what;
    result.why = std::move(why);
    result.remedy = std::move(remedy);
    return result;
  };
  const std::string text = "HTTP " + std::to_string(status);
  const std::string words = endpoint_quote(endpoint_words(body, response.body), key);
  const std::string why = words.empty() ? text : text + ": " + words;
  if (status >= 300 && status < 400)
    return end(kind::wrong_settings, text + ": the endpoint is elsewhere: " + endpoint_quote(response.location, key),
               "give the address where it is: keys do not follow redirects");
  switch (status) {
    case 401:  // endpoints repeat parts of the key: their words are left out
      return end(kind::wrong_settings, text + ": the key is " + (key.empty() ? "missing" : "refused"),
                 key_variable.empty() ? "name the environment variable that holds the key"
                                      : "put the right one into the environment variable " + key_variable);
    case 403: return end(kind::wrong_settings, why, "may this key use this model?");
    case 404:
    case 405:
      return end(kind::wrong_settings, why,
                 "check the base of the address (it often ends with /v1) and the model's name");
    case 429:
      if (response.body.find("\"insufficient_quota\"") != std::string_view::npos)
        return end(kind::exhausted, why, "the account is out of credit");
      return end(kind::again, why);
    case 408:
    case 409:
    case 425: return end(kind::again, why);
    default: return end(status < 500 ? kind::failed : kind::again, why);
  }
}

}  // namespace lodestone::generate::detail
