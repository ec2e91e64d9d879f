// Token ids after token ids: many prompts at once over one key-value cache, each with its own draws.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <lodestone/batching/token_batch.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/generate/concept.hpp>
#include <lodestone/generate/sampling.hpp>
#include <lodestone/model/kv_cache.hpp>

namespace lodestone::generate {

/// Puts `tokens` behind a batch; they start at position `begin` of a sequence of `length` tokens.
void append(token_batch& batch, std::span<const std::int32_t> tokens, std::int64_t begin, std::int64_t length);

/// A batch of one sequence of `tokens` that starts at position `begin` of a sequence of `length` tokens.
[[nodiscard]] token_batch continuation(std::span<const std::int32_t> tokens, std::int64_t begin, std::int64_t length);

/// Tokens that are asked for.
struct token_request {
  std::vector<std::int32_t> prompt{};      ///< at least one
  std::int64_t max_new_tokens = 256;       ///< at least 1
  std::int64_t min_new_tokens = 0;         ///< none of end_tokens is drawn before
  sampling draw{};                         ///< how tokens are chosen
  std::vector<std::int32_t> end_tokens{};  ///< the answer ends after any of these

  /// Rows of the cache: the last new token is never fed.
  [[nodiscard]] std::int64_t rows() const { return length() - 1; }
  /// Tokens of prompt and answer together.
  [[nodiscard]] std::int64_t length() const { return static_cast<std::int64_t>(prompt.size()) + max_new_tokens; }
};

/// How many answers are made at once.
struct serving_options {
  std::int64_t sequences = 16;       ///< at once at most
  std::int64_t cache_tokens = 0;     ///< of all sequences at once; 0: as many as three quarters of the free memory hold
  std::int64_t chunk_tokens = 4096;  ///< of prompts in one pass: bounds the memory of a long one
};

/// Throws config_error or data_error for a request that a model with `vocabulary` tokens and a cache of `cache_tokens`
/// cannot serve.
void check(const token_request& asked, std::int64_t vocabulary, std::int64_t cache_tokens);

/// Hears token `token` of answer i; false ends the answer.
using token_listener = std::function<bool(std::size_t i, std::int32_t token)>;
/// Hears that answer i has ended.
using end_listener = std::function<void(std::size_t i, finish why)>;

/// Continues prompts with a model (model/llama.hpp).
///
/// Requests are served in their order, up to `sequences` at once; one that ends makes room for the next. Prompts pass
/// through the model in chunks, several short ones together; then every pass adds a token to each answer.
///
/// The tokens of an answer depend on its request alone, up to rounding: with more rows a backend may sum its products
/// in another order. A model with dynamic NTK scaling is given the length of prompt and longest answer together from
/// the start, since keys in the cache cannot be rotated anew.
template <class Model>
class token_generator {
 public:
  /// `model` must outlive the generator. Throws config_error for options that are not positive.
  explicit token_generator(Model& model, serving_options options = {}) : model_(&model), options_(options) {
    if (options.sequences < 1 || options.chunk_tokens < 1 || options.cache_tokens < 0)
      throw config_error("sequences and chunk_tokens must be positive, cache_tokens 0 or more", "serving options");
  }

  [[nodiscard]] Model& model() const { return *model_; }  ///< as the constructor took it

  /// Rows that the cache may have: the option, or what the memory holds now.
  [[nodiscard]] std::int64_t cache_limit() {
    if (options_.cache_tokens > 0) return options_.cache_tokens;
    const auto& config = model_->config();
    const std::int64_t row = 2 * config.kv_size() * config.layers *
                             static_cast<std::int64_t>(sizeof(typename Model::value_type));
    const std::int64_t own = cache_ ? cache_->rooms.capacity() : 0;
    return std::max(own, (model_->backend().available_memory() / row + own) / 4 * 3);
  }

  /// Serves all requests; every token is heard at once. Throws what check() throws before the first, and what the model
  /// or a listener throws: then the other answers are lost.
  void run(std::span<const token_request> requests, const token_listener& hears, const end_listener& ends) {
    const std::int64_t limit = cache_limit();
    for (const token_request& asked : requests) check(asked, model_->config().vocabulary, limit);
    prepare_cache(requests, limit);
    active_.clear();
    for (std::size_t next = 0; next < requests.size() || !active_.empty();) {
      while (next < requests.size() && std::ssize(active_) < options_.sequences) {
        const std::optional<std::size_t> room = cache_->rooms.open(requests[next].rows());
        if (!room) break;  // an answer that ends makes some
        active_.push_back({&requests[next], next, *room,
                           sampler(requests[next].draw, model_->config().vocabulary, requests[next].prompt)});
        ++next;
      }
      step(hears, ends);
    }
  }

 private:
  /// An answer in the making.
  struct answering {
    const token_request* asked;
    std::size_t index;
    std::size_t room;
    sampler choose;
    std::int64_t fed = 0;   // tokens of the prompt in the cache
    std::int32_t last = 0;  // drawn, not yet in the cache
    bool is_over = false;

    /// Tokens that may not be drawn next.
    [[nodiscard]] std::span<const std::int32_t> forbidden() const {
      if (static_cast<std::int64_t>(choose.drawn()) >= asked->min_new_tokens) return {};
      return asked->end_tokens;
    }
    [[nodiscard]] std::int64_t left() const { return static_cast<std::int64_t>(asked->prompt.size()) - fed; }
  };

  void prepare_cache(std::span<const token_request> requests, std::int64_t limit) {
    std::vector<std::int64_t> rows;
    for (const token_request& asked : requests) rows.push_back(asked.rows());
    std::sort(rows.begin(), rows.end(), std::greater<>());
    std::int64_t wanted = 0;  // by the largest requests, if they meet
    for (std::size_t i = 0; i < rows.size() && i < static_cast<std::size_t>(options_.sequences); ++i) wanted += rows[i];
    wanted = std::min(wanted, limit);
    if (cache_ && cache_->rooms.capacity() >= wanted) {
      cache_->rooms.clear();
      return;
    }
    cache_.reset();
    cache_ = model_->make_cache(wanted);
  }

  /// One pass: chunks of prompts while there are any, else the last token of every answer.
  void step(const token_listener& hears, const end_listener& ends) {
    token_batch batch;
    std::vector<cache_part> parts;
    std::vector<answering*> whose;
    const auto add = [&](answering& a, std::span<const std::int32_t> tokens) {
      append(batch, tokens, cache_->rooms[a.room].length, a.asked->length());
      parts.push_back({a.room, static_cast<std::int64_t>(tokens.size())});
      whose.push_back(&a);
    };
    for (answering& a : active_)
      if (const std::int64_t count = std::min(a.left(), options_.chunk_tokens - batch.size()); count > 0) {
        add(a, std::span(a.asked->prompt).subspan(static_cast<std::size_t>(a.fed), static_cast<std::size_t>(count)));
        a.fed += count;
      }
    if (batch.size() == 0)
      for (answering& a : active_) add(a, {&a.last, 1});
    const auto logits = model_->extend(*cache_, parts, batch);
    if (std::none_of(whose.begin(), whose.end(), [](const answering* a) { return a->left() == 0; })) return;
    if (const std::vector<std::int32_t> ids = largest(logits, whose); !ids.empty()) {
      for (std::size_t k = 0; k < whose.size(); ++k) {
        if (whose[k]->left() != 0) continue;
        whose[k]->choose.take(ids[k]);
        advance(*whose[k], ids[k], hears, ends);
      }
    } else {
      using value = typename Model::accumulate_type;
      const auto values = model_->backend().to_host(logits.view());
      const std::span<const value> all = values.flat();
      const std::size_t vocabulary = all.size() / whose.size();
      for (std::size_t k = 0; k < whose.size(); ++k) {
        if (whose[k]->left() != 0) continue;
        const std::span<const value> own = all.subspan(k * vocabulary, vocabulary);
        const std::int32_t token = whose[k]->choose.draw(own, whose[k]->forbidden());
        advance(*whose[k], token, hears, ends);
      }
    }
    std::erase_if(active_, [](const answering& a) { return a.is_over; });
  }

  /// The tokens of all parts where each takes the largest logit and the backend finds it, so that no logits come to the
  /// host; nothing where logits are not numbers, for the sampler to say so.
  template <class Logits>
  [[nodiscard]] std::vector<std::int32_t> largest(const Logits& logits, const std::vector<answering*>& whose) {
    if constexpr (requires(std::span<std::int32_t> ids) { model_->backend().largest(const_view(logits.view()), ids); })
      if (std::all_of(whose.begin(), whose.end(), [](const answering* a) {
            return a->choose.takes_the_largest() && a->forbidden().empty();
          })) {
        std::vector<std::int32_t> ids(whose.size());
        model_->backend().largest(const_view(logits.view()), std::span<std::int32_t>{ids});
        if (std::all_of(ids.begin(), ids.end(), [](std::int32_t id) { return id >= 0; })) return ids;
      }
    return {};
  }

  /// The next token of an answer is here.
  void advance(answering& a, std::int32_t token, const token_listener& hears, const end_listener& ends) {
    const token_request& asked = *a.asked;
    const auto drawn = static_cast<std::int64_t>(a.choose.drawn()) - 1;
    a.last = token;
    const bool is_end = std::find(asked.end_tokens.begin(), asked.end_tokens.end(), a.last) != asked.end_tokens.end();
    const bool goes_on = hears(a.index, a.last);
    a.is_over = is_end || !goes_on || drawn + 1 == asked.max_new_tokens;
    if (!a.is_over) return;
    cache_->rooms.close(a.room);
    ends(a.index, is_end || !goes_on ? finish::stop : finish::length);
  }

  Model* model_;
  serving_options options_;
  std::optional<kv_cache<typename Model::backend_type>> cache_;  // kept for the next call
  std::vector<answering> active_;
};

/// Up to `max_new_tokens` most likely tokens after `prompt`, up to and with one of `end_tokens`.
template <class Model>
[[nodiscard]] std::vector<std::int32_t> greedy(Model& model, std::span<const std::int32_t> prompt,
                                               std::int64_t max_new_tokens,
                                               std::span<const std::int32_t> end_tokens = {}) {
  token_request asked;
  asked.prompt.assign(prompt.begin(), prompt.end());
  asked.max_new_tokens = max_new_tokens;
  asked.end_tokens.assign(end_tokens.begin(), end_tokens.end());
  std::vector<std::int32_t> result;
  const auto hears = [&](std::size_t, std::int32_t token) {
    result.push_back(token);
    return true;
  };
  token_generator<Model>(model).run({&asked, 1}, hears, [](std::size_t, finish) {});
  return result;
}

}  // namespace lodestone::generate

#ifndef LODESTONE_COMPILED
#include <lodestone/generate/tokens.ipp>
#endif
