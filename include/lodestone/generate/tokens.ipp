// Definitions of tokens.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <numeric>

#include <lodestone/core/inline.hpp>
#include <lodestone/generate/tokens.hpp>

namespace lodestone::generate {

LODESTONE_INLINE void append(token_batch& batch, std::span<const std::int32_t> tokens, std::int64_t begin,
                             std::int64_t length) {
  const auto before = static_cast<std::ptrdiff_t>(batch.tokens.size());
  const std::int64_t row = batch.size();
  batch.tokens.insert(batch.tokens.end(), tokens.begin(), tokens.end());
  batch.positions.resize(batch.tokens.size());
  std::iota(batch.positions.begin() + before, batch.positions.end(), static_cast<std::int32_t>(begin));
  batch.lengths.resize(batch.tokens.size(), length);
  batch.slices.push_back({row, batch.size(), row, batch.size()});
}

LODESTONE_INLINE token_batch continuation(std::span<const std::int32_t> tokens, std::int64_t begin,
                                          std::int64_t length) {
  token_batch batch;
  append(batch, tokens, begin, length);
  return batch;
}

LODESTONE_INLINE void check(const token_request& asked, std::int64_t vocabulary, std::int64_t cache_tokens) {
  if (asked.prompt.empty())
    throw config_error("the prompt has no tokens", "prompt", "give some text, or a model whose tokenizer adds BOS");
  for (std::size_t i = 0; i < asked.prompt.size(); ++i)
    if (asked.prompt[i] < 0 || asked.prompt[i] >= vocabulary)
      throw data_error("token " + std::to_string(i) + " of the prompt is " + std::to_string(asked.prompt[i]) +
                           ", outside the model's vocabulary of " + std::to_string(vocabulary),
                       "prompt", "use the tokenizer that belongs to the model");
  if (asked.max_new_tokens < 1)
    throw config_error(std::to_string(asked.max_new_tokens) + " new tokens are no answer", "max_new_tokens",
                       "give 1 or more");
  check(asked.draw);
  if (asked.rows() > cache_tokens)
    throw config_error(std::to_string(asked.prompt.size()) + " prompt tokens and " +
                           std::to_string(asked.max_new_tokens) + " new ones do not fit the cache of " +
                           std::to_string(cache_tokens) + " tokens",
                       "prompt", "shorten the prompt, ask for fewer tokens, or give the cache more memory");
}

}  // namespace lodestone::generate
