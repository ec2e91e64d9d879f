// Definitions of perplexity.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>

#include <lodestone/core/error.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/eval/perplexity.hpp>

namespace lodestone::eval {

namespace detail {

/// The stride of windows, checked.
[[nodiscard]] inline std::int64_t stride_of(const perplexity_options& options) {
  if (options.window < 0) throw config_error("must be 0 or more", "window", "0 predicts from all that comes before");
  if (options.window == 0 && options.stride != 0)
    throw config_error("belongs to a window", "stride", "give a window too");
  const std::int64_t stride = options.stride == 0 ? std::max<std::int64_t>(1, options.window / 4) : options.stride;
  if (options.window > 0 && (stride < 1 || stride > options.window))
    throw config_error(std::to_string(stride) + " is outside [1, " + std::to_string(options.window) + "]", "stride",
                       "a larger stride would leave tokens out");
  return stride;
}

/// "0-1023", or "4096-" for the last of given edges.
[[nodiscard]] inline std::string bucket_name(std::int64_t begin, std::int64_t end) {
  return std::to_string(begin) + "-" + (end == 0 ? std::string() : std::to_string(end - 1));
}

/// The ranges of positions, of which the last is open (end 0) when edges were given.
[[nodiscard]] inline std::vector<std::pair<std::int64_t, std::int64_t>> buckets_of(
    const std::vector<std::int64_t>& edges, std::int64_t length) {
  std::vector<std::pair<std::int64_t, std::int64_t>> buckets;
  std::int64_t begin = 0;
  if (edges.empty()) {
    for (std::int64_t end = 1024; begin < length; begin = end, end *= 2) buckets.emplace_back(begin, end);
    return buckets;
  }
  for (const std::int64_t edge : edges) {
    if (edge <= begin) throw config_error("must be above 0 and ascend", "edges", "for example 1024, 4096, 16384");
    buckets.emplace_back(begin, edge);
    begin = edge;
  }
  buckets.emplace_back(begin, 0);
  return buckets;
}

}  // namespace detail

LODESTONE_INLINE document tokenise(const text_document& own, const tokenizer& words, std::vector<label> labels) {
  document result{.id = own.id, .tokens = words.prefix(), .labels = std::move(labels)};
  const std::vector<std::int32_t> ids = words.encode(own.text, false);
  result.tokens.insert(result.tokens.end(), ids.begin(), ids.end());
  return result;
}

LODESTONE_INLINE std::vector<scoring_window> scoring_windows(std::int64_t length, std::int64_t window,
                                                             std::int64_t stride) {
  std::vector<scoring_window> windows;
  std::int64_t counted = 1;  // token 0 has nothing before it
  for (std::int64_t begin = 0; counted < length; begin += stride) {
    const std::int64_t end = std::min(begin + window + 1, length);
    windows.push_back({begin, end, counted});
    counted = end;
  }
  return windows;
}

LODESTONE_INLINE std::vector<double> token_losses(const any_scoring_model& model, std::span<const std::int32_t> tokens,
                                                  const perplexity_options& options) {
  const std::int64_t stride = detail::stride_of(options);
  const auto length = static_cast<std::int64_t>(tokens.size());
  std::vector<double> losses;
  if (length < 2) return losses;
  losses.reserve(tokens.size() - 1);
  if (options.window == 0) {
    losses = score_tail(model, tokens);
  } else {
    // Overlapping windows begin at different tokens: what they see differs, so there is no prefix to share.
    const std::vector<scoring_window> windows = scoring_windows(length, options.window, stride);
    score_groups(
        model,
        [&](std::size_t i, scored_group& group) {
          if (i == windows.size()) return false;
          const scoring_window& own = windows[i];
          group.assign(
              1, {tokens.subspan(static_cast<std::size_t>(own.begin), static_cast<std::size_t>(own.end - own.begin)),
                  own.first - own.begin});
          return true;
        },
        options.batch_tokens,
        [&](std::size_t, const std::vector<std::vector<double>>& scores) {
          losses.insert(losses.end(), scores.front().begin(), scores.front().end());
        });
  }
  for (double& loss : losses) loss = -loss;
  return losses;
}

LODESTONE_INLINE void perplexity(const any_scoring_model& model, std::span<const document> documents,
                                 const perplexity_options& options, const record_listener& each) {
  const std::int64_t stride = detail::stride_of(options);
  if (options.max_tokens < 0) throw config_error("must be 0 or more", "max_tokens");
  for (const document& own : documents) {
    std::span<const std::int32_t> tokens = own.tokens;
    if (options.max_tokens > 0)
      tokens = tokens.first(std::min(tokens.size(), static_cast<std::size_t>(options.max_tokens)));
    const auto length = static_cast<std::int64_t>(tokens.size());
    if (length < 2)
      throw data_error("has " + std::to_string(length) + " tokens, so nothing to predict", "document " + own.id,
                       "leave it out");
    std::string stem = own.id;
    std::vector<label> labels = own.labels;
    if (options.window > 0) {
      stem += "/window-" + std::to_string(options.window) + "-" + std::to_string(stride);
      labels.push_back({"window", std::to_string(options.window)});
      labels.push_back({"stride", std::to_string(stride)});
    }
    std::vector<std::pair<std::int64_t, std::int64_t>> buckets = detail::buckets_of(options.edges, length);
    const auto begin_of = [](const auto& bucket) { return std::max<std::int64_t>(bucket.first, 1); };
    const auto end_of = [&](const auto& bucket) {
      return bucket.second == 0 ? length : std::min(bucket.second, length);
    };
    std::erase_if(buckets, [&](const auto& bucket) { return begin_of(bucket) >= end_of(bucket); });
    const auto id_of = [&](const auto& bucket) {
      return stem + "/" + detail::bucket_name(bucket.first, bucket.second);
    };
    if (options.is_done &&
        std::all_of(buckets.begin(), buckets.end(), [&](const auto& bucket) { return options.is_done(id_of(bucket)); }))
      continue;
    const std::vector<double> losses = token_losses(model, tokens, options);
    for (const auto& bucket : buckets) {
      record result{.id = id_of(bucket), .labels = labels};
      if (options.is_done && options.is_done(result.id)) continue;
      double sum = 0.0;
      for (std::int64_t p = begin_of(bucket); p < end_of(bucket); ++p) sum += losses[static_cast<std::size_t>(p - 1)];
      const auto count = static_cast<double>(end_of(bucket) - begin_of(bucket));
      if (!std::isfinite(sum))
        throw numeric_error("a log-probability is not finite", "document " + own.id,
                            "look at the model's weights and their type");
      result.labels.push_back({"position", detail::bucket_name(bucket.first, bucket.second)});
      result.scores.push_back({"nll", sum / count, count});
      each(std::move(result));
    }
  }
}

}  // namespace lodestone::eval
