// Greedy generation with a key-value cache: the most likely token, again and again.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include <lodestone/batching/token_batch.hpp>
#include <lodestone/core/error.hpp>

namespace lodestone::generate {

/// A stream of one sequence of `tokens` that starts at position `begin` of a sequence of `length` tokens.
[[nodiscard]] token_batch continuation(std::span<const std::int32_t> tokens, std::int64_t begin,
                                              std::int64_t length);

/// Up to `max_new_tokens` tokens after `prompt`; `each(token)` hears every one and may return false to stop. Ends after
/// a token of `stop_tokens`, which is part of the result. Of equally likely tokens the one with the lowest id wins.
///
/// A model with dynamic NTK scaling is given the length of prompt and continuation together from the start, since keys
/// in the cache cannot be rotated anew. Throws config_error for an empty prompt.
template <class Model, class Each>
std::vector<std::int32_t> greedy(Model& model, std::span<const std::int32_t> prompt, std::int64_t max_new_tokens,
                                 std::span<const std::int32_t> stop_tokens, const Each& each) {
  if (prompt.empty())
    throw config_error("the prompt has no tokens", "prompt", "give some text, or a model whose tokenizer adds BOS");
  std::vector<std::int32_t> result;
  if (max_new_tokens <= 0) return result;
  const std::int64_t length = static_cast<std::int64_t>(prompt.size()) + max_new_tokens;
  auto cache = model.make_cache(length);
  token_batch next = continuation(prompt, 0, length);
  for (;;) {
    const auto logits = model.extend(cache, next);
    const auto values = model.backend().to_host(logits.view());
    const auto row = values.flat();
    const auto token = static_cast<std::int32_t>(std::max_element(row.begin(), row.end()) - row.begin());
    result.push_back(token);
    if (!each(token) || std::find(stop_tokens.begin(), stop_tokens.end(), token) != stop_tokens.end() ||
        static_cast<std::int64_t>(result.size()) == max_new_tokens)
      return result;
    next = continuation({&result.back(), 1}, cache.rooms[0].length, length);
  }
}

}  // namespace lodestone::generate

#ifndef LODESTONE_COMPILED
#include <lodestone/generate/greedy.ipp>
#endif
