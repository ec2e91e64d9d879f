// Definitions of selection.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <utility>

#include <lodestone/core/inline.hpp>
#include <lodestone/synthesis/selection.hpp>

namespace lodestone::synthesis {

LODESTONE_INLINE void check(const selection_options& options) {
  if (options.rejected < 1) throw config_error("must be at least 1", "rejected_answers", "the paper takes 2");
  if (options.important < 1) throw config_error("must be at least 1", "important_chunks", "give 8");
  if (options.context < 2) throw config_error("must be at least 2", "context_chunks", "the paper takes 16");
  if (options.important >= options.context && options.rule != selection_rule::original)
    throw config_error("leaves no room for an irrelevant chunk", "important_chunks",
                       "give less than context_chunks (" + std::to_string(options.context) + ")");
}

namespace detail {

using chunk_numbers = std::vector<std::int64_t>;

[[nodiscard]] inline chunk_numbers first_of(const chunk_numbers& list, std::size_t count) {
  return {list.begin(), list.begin() + static_cast<std::ptrdiff_t>(std::min(count, list.size()))};
}
[[nodiscard]] inline chunk_numbers last_of(const chunk_numbers& list, std::size_t count) {
  return {list.end() - static_cast<std::ptrdiff_t>(std::min(count, list.size())), list.end()};
}
[[nodiscard]] inline chunk_numbers random_of(chunk_numbers list, std::size_t count, random_stream& random) {
  shuffle(std::span(list), random);
  return first_of(list, count);
}
inline void append(chunk_numbers& to, const chunk_numbers& more) { to.insert(to.end(), more.begin(), more.end()); }
[[nodiscard]] inline chunk_numbers ascending(chunk_numbers list) {
  std::sort(list.begin(), list.end());
  return list;
}

/// All answers of the released code come from the chunks it kept.
[[nodiscard]] inline std::optional<selection> select_as_released(const chunk_numbers& best,
                                                                 std::span<const double> scores,
                                                                 const selection_options& options) {
  const chunk_numbers kept = first_of(best, static_cast<std::size_t>(options.context));
  if (kept.size() < 2 || scores[static_cast<std::size_t>(kept.back())] < options.least) return std::nullopt;
  selection chosen{
      .important = ascending(kept), .preferred = ascending(kept), .rejected = {}, .context = ascending(kept)};
  const std::size_t half = kept.size() / 2;
  for (std::int64_t j = 0; j < options.rejected; ++j)
    chosen.rejected.push_back(ascending(j % 2 == 0 ? first_of(kept, half) : last_of(kept, half)));
  return chosen;
}

}  // namespace detail

LODESTONE_INLINE std::optional<selection> select_chunks(std::span<const double> scores,
                                                        const selection_options& options, random_stream random) {
  check(options);
  const auto score = [&](std::int64_t i) { return scores[static_cast<std::size_t>(i)]; };
  detail::chunk_numbers best(scores.size());  // from the highest score to the lowest
  std::iota(best.begin(), best.end(), 0);
  std::stable_sort(best.begin(), best.end(), [&](std::int64_t a, std::int64_t b) { return score(a) > score(b); });
  if (options.rule == selection_rule::original) return detail::select_as_released(best, scores, options);

  const auto limit = static_cast<std::size_t>(options.important);
  const bool is_by_rank = options.rule == selection_rule::rank;
  detail::chunk_numbers important, irrelevant;
  for (const std::int64_t i : best) {
    const bool is_important =
        is_by_rank ? important.size() < limit && score(i) >= options.least : score(i) > options.threshold;
    (is_important ? important : irrelevant).push_back(i);
  }
  if (important.empty() || irrelevant.empty()) return std::nullopt;
  selection chosen{.important = detail::ascending(important)};
  const detail::chunk_numbers preferred = detail::first_of(important, limit);
  const std::size_t n = preferred.size();
  chosen.preferred = detail::ascending(preferred);
  const auto shown_to = [&](std::int64_t j) {
    if (j == 0) return detail::last_of(irrelevant, n);
    if (j % 2 == 0) return detail::random_of(irrelevant, n, random);
    detail::chunk_numbers mixed = detail::random_of(preferred, n / 2, random);
    detail::append(mixed, detail::random_of(irrelevant, n - n / 2, random));
    return mixed;
  };
  for (std::int64_t j = 0; j < options.rejected; ++j) {
    detail::chunk_numbers shown = detail::ascending(shown_to(j));
    const auto is_shown_before = [&] {
      return std::find(chosen.rejected.begin(), chosen.rejected.end(), shown) != chosen.rejected.end();
    };
    // Two answers from the same chunks would be alike; of few chunks they may have to be.
    for (int attempt = 0; attempt < 8 && is_shown_before(); ++attempt) shown = detail::ascending(shown_to(j));
    chosen.rejected.push_back(std::move(shown));
  }
  // The rest of the important chunks, best first, and then random irrelevant ones.
  const auto room = static_cast<std::size_t>(options.context);
  chosen.context = detail::first_of(important, room > 1 ? room - 1 : room);
  detail::append(chosen.context, detail::random_of(irrelevant, room - chosen.context.size(), random));
  chosen.context = detail::ascending(std::move(chosen.context));
  return chosen;
}

}  // namespace lodestone::synthesis
