// The generator on this machine: a model, its tokenizer and its chat format, many requests at once.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/generate/concept.hpp>
#include <lodestone/generate/text_stream.hpp>
#include <lodestone/generate/tokens.hpp>
#include <lodestone/text/chat_message.hpp>
#include <lodestone/text/tokenizer.hpp>

namespace lodestone::generate {

/// How a model's prompts become tokens, and which tokens end its answers.
struct model_text {
  const tokenizer* words = nullptr;         ///< must outlive the generator
  std::vector<std::int32_t> prefix{};       ///< before a prompt that is text
  std::vector<std::int32_t> end_tokens{};   ///< that the model's folder names
  std::vector<std::int32_t> turn_ends{};    ///< of the chat format: they too end the answer to a conversation
  /// The tokens of a conversation, up to where the answer begins. Throws when the model has no chat format.
  std::function<std::vector<std::int32_t>(std::span<const chat_message>)> conversation{};
};

/// The text of a chat encoder (text/chat_encoder.hpp), which must outlive it; `end_tokens` are those of the model.
template <class Encoder>
[[nodiscard]] model_text text_of(const Encoder& encoder, std::vector<std::int32_t> end_tokens) {
  model_text text{&encoder.tokenizer(), {encoder.prefix().begin(), encoder.prefix().end()}, std::move(end_tokens), {},
                  [&encoder](std::span<const chat_message> messages) { return encoder.encode_prompt(messages); }};
  if (const auto end = encoder.end_id()) text.turn_ends.push_back(*end);
  return text;
}

/// What a local generator may use, and how it is called.
struct local_options {
  std::string name = "local";                      ///< in records
  serving_options serving{};                       ///< how many answers at once
  std::function<void(std::string_view)> warns{};   ///< hears of prompts beyond the model's positions, once a call
};

/// A model of this machine that answers prompts; it models `streaming_generator`.
///
/// Text behind a prompt that is text or ids goes on as the tokenizer would write it there, with its space; the answer
/// to a conversation is a text of its own. A request that cannot be served (an empty prompt, ids without a token, more
/// tokens than the cache may hold) is answered by finish::failed.
template <class Model>
class local {
 public:
  /// `model` must outlive the generator.
  local(Model& model, model_text text, local_options options = {})
      : text_(std::move(text)), options_(std::move(options)), tokens_(model, options_.serving) {
    if (text_.words == nullptr) throw config_error("a local model needs its tokenizer", "model_text");
  }

  [[nodiscard]] std::string name() const { return options_.name; }  ///< the option

  /// Answers all requests; `grows` hears text while it comes, on the caller's thread.
  void generate(std::span<const request> requests, const answer_listener& each, const text_listener& grows = {}) {
    std::vector<growing> all;  // those that can be served
    std::vector<token_request> asked;
    const std::int64_t limit = tokens_.cache_limit();
    bool has_warned = false;
    for (std::size_t i = 0; i < requests.size(); ++i) {
      try {
        token_request own = tokens_of(requests[i]);
        check(own, tokens_.model().config().vocabulary, limit);
        const bool is_chat = std::holds_alternative<std::vector<chat_message>>(requests[i].prompt);
        const std::span<const std::int32_t> before =
            is_chat ? std::span<const std::int32_t>{} : std::span<const std::int32_t>{own.prompt};
        growing one{i, {}, text_stream(*text_.words, before, requests[i].stop)};
        warn(own, has_warned);
        asked.push_back(std::move(own));
        all.push_back(std::move(one));
      } catch (const error& failure) {
        answer failed;
        failed.why = finish::failed;
        failed.error = failure.what();
        each(i, std::move(failed));
      }
    }
    const auto hears = [&](std::size_t k, std::int32_t token) {
      growing& one = all[k];
      one.tokens.push_back(token);
      const bool is_end =
          std::find(asked[k].end_tokens.begin(), asked[k].end_tokens.end(), token) != asked[k].end_tokens.end();
      if (is_end) return true;  // it has no text
      const std::string fresh = one.text.push(token, std::ssize(one.tokens) > asked[k].min_new_tokens);
      if (grows && !fresh.empty()) grows(one.index, fresh);
      return !one.text.is_stopped();
    };
    const auto ends = [&](std::size_t k, finish why) {
      growing& one = all[k];
      if (!one.text.is_stopped())
        if (const std::string rest = one.text.finish(); grows && !rest.empty()) grows(one.index, rest);
      answer whole;
      whole.text = one.text.text();
      whole.tokens = std::move(one.tokens);
      whole.why = why;
      whole.prompt_tokens = std::ssize(asked[k].prompt);
      each(one.index, std::move(whole));
    };
    tokens_.run(asked, hears, ends);
  }

 private:
  /// An answer that grows.
  struct growing {
    std::size_t index = 0;
    std::vector<std::int32_t> tokens;
    text_stream text;
  };

  [[nodiscard]] token_request tokens_of(const request& one) const {
    token_request own;
    if (const auto* const plain = std::get_if<std::string>(&one.prompt)) {
      own.prompt = text_.prefix;
      const std::vector<std::int32_t> ids = text_.words->encode(*plain, false);
      own.prompt.insert(own.prompt.end(), ids.begin(), ids.end());
    } else if (const auto* const ids = std::get_if<std::vector<std::int32_t>>(&one.prompt)) {
      own.prompt = *ids;
    } else {
      const auto& messages = std::get<std::vector<chat_message>>(one.prompt);
      if (messages.empty()) throw config_error("the conversation has no messages", "prompt", "ask something");
      if (!text_.conversation)
        throw config_error("this model has no chat format", "prompt", "give the prompt as text");
      own.prompt = text_.conversation(messages);
      own.end_tokens = text_.turn_ends;
    }
    own.end_tokens.insert(own.end_tokens.end(), text_.end_tokens.begin(), text_.end_tokens.end());
    own.end_tokens.insert(own.end_tokens.end(), one.stop_tokens.begin(), one.stop_tokens.end());
    own.max_new_tokens = one.max_new_tokens;
    own.min_new_tokens = one.min_new_tokens;
    own.draw = one.draw;
    return own;
  }

  void warn(const token_request& own, bool& has_warned) const {
    const std::int64_t positions = tokens_.model().config().max_positions;
    if (has_warned || !options_.warns || positions <= 0 || own.length() <= positions) return;
    has_warned = true;
    options_.warns(std::to_string(own.prompt.size()) + " prompt tokens and " + std::to_string(own.max_new_tokens) +
                   " new ones pass the " + std::to_string(positions) + " positions that the model was trained for");
  }

  model_text text_;
  local_options options_;
  token_generator<Model> tokens_;
};

}  // namespace lodestone::generate
