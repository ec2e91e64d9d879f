// Definitions of edit_similarity.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <unordered_map>
#include <vector>

#include <lodestone/core/inline.hpp>
#include <lodestone/eval/answer_text.hpp>
#include <lodestone/eval/edit_similarity.hpp>
#include <lodestone/eval/subsequence.hpp>

namespace lodestone::eval {

namespace detail {

/// Finds the blocks that SequenceMatcher finds.
class block_matcher {
 public:
  block_matcher(std::u32string_view left, std::u32string_view right)
      : left_(left), right_(right), lengths_(right.size() + 1, 0), next_(right.size() + 1, 0) {
    for (std::size_t j = 0; j < right.size(); ++j) places_[right[j]].push_back(j);
    if (right.size() < 200) return;
    const std::size_t limit = right.size() / 100 + 1;
    for (auto& [character, where] : places_)
      if (where.size() > limit) where.clear();
  }

  /// Characters in matching blocks.
  [[nodiscard]] std::size_t matches() {
    std::size_t total = 0;
    std::vector<std::array<std::size_t, 4>> queue{{0, left_.size(), 0, right_.size()}};
    while (!queue.empty()) {
      const auto [a_begin, a_end, b_begin, b_end] = queue.back();
      queue.pop_back();
      const auto [a, b, length] = longest(a_begin, a_end, b_begin, b_end);
      if (length == 0) continue;
      total += length;
      if (a_begin < a && b_begin < b) queue.push_back({a_begin, a, b_begin, b});
      if (a + length < a_end && b + length < b_end) queue.push_back({a + length, a_end, b + length, b_end});
    }
    return total;
  }

 private:
  /// The longest block within the bounds; of several the one that begins first on the left, then on the right.
  [[nodiscard]] std::array<std::size_t, 3> longest(std::size_t a_begin, std::size_t a_end, std::size_t b_begin,
                                                   std::size_t b_end) {
    std::size_t a = a_begin;
    std::size_t b = b_begin;
    std::size_t length = 0;
    std::vector<std::size_t> touched;
    for (std::size_t i = a_begin; i < a_end; ++i) {
      // lengths_[j + 1]: of the block that ends with left[i - 1] and right[j]
      std::vector<std::size_t> now;
      if (const auto found = places_.find(left_[i]); found != places_.end()) {
        const auto first = std::lower_bound(found->second.begin(), found->second.end(), b_begin);
        for (auto j = first; j != found->second.end() && *j < b_end; ++j) {
          const std::size_t k = lengths_[*j] + 1;
          next_[*j + 1] = k;
          now.push_back(*j + 1);
          if (k > length) {
            a = i + 1 - k;
            b = *j + 1 - k;
            length = k;
          }
        }
      }
      for (const std::size_t j : touched) lengths_[j] = 0;
      for (const std::size_t j : now) {
        lengths_[j] = next_[j];
        next_[j] = 0;
      }
      touched = std::move(now);
    }
    for (const std::size_t j : touched) lengths_[j] = 0;
    while (a > a_begin && b > b_begin && left_[a - 1] == right_[b - 1]) {  // characters that start no block
      --a;
      --b;
      ++length;
    }
    while (a + length < a_end && b + length < b_end && left_[a + length] == right_[b + length]) ++length;
    return {a, b, length};
  }

  std::u32string_view left_;
  std::u32string_view right_;
  std::unordered_map<char32_t, std::vector<std::size_t>> places_;
  std::vector<std::size_t> lengths_;
  std::vector<std::size_t> next_;
};

[[nodiscard]] inline double share_of_both(std::size_t matches, std::size_t left, std::size_t right) {
  if (left + right == 0) return 1.0;
  return 2.0 * static_cast<double>(matches) / static_cast<double>(left + right);
}

}  // namespace detail

LODESTONE_INLINE double block_ratio(std::string_view left, std::string_view right) {
  const std::u32string a = code_points(left);
  const std::u32string b = code_points(right);
  return detail::share_of_both(detail::block_matcher(a, b).matches(), a.size(), b.size());
}

LODESTONE_INLINE double indel_ratio(std::string_view left, std::string_view right) {
  std::unordered_map<char32_t, std::int32_t> numbers;
  const auto symbols = [&](std::string_view text) {
    std::vector<std::int32_t> result;
    for (const char32_t c : code_points(text))
      result.push_back(numbers.try_emplace(c, static_cast<std::int32_t>(numbers.size())).first->second);
    return result;
  };
  const std::vector<std::int32_t> a = symbols(left);
  const std::vector<std::int32_t> b = symbols(right);
  return detail::share_of_both(common_subsequence_length(a, b, numbers.size()), a.size(), b.size());
}

LODESTONE_INLINE std::string first_code_line(std::string_view answer) {
  answer.remove_prefix(std::min(answer.find_first_not_of('\n'), answer.size()));
  while (true) {
    const std::size_t end = answer.find('\n');
    const std::string_view line = answer.substr(0, end);
    if (line.find_first_of("`#") == std::string_view::npos && line.find("//") == std::string_view::npos) {
      return std::string(line);
    }
    if (end == std::string_view::npos) return {};
    answer.remove_prefix(end + 1);
  }
}

LODESTONE_INLINE double code_similarity(std::string_view answer, std::string_view reference) {
  const std::string line = first_code_line(answer);
  if (line == reference) return 1.0;
  if (line.empty() || reference.empty()) return 0.0;
  return std::nearbyint(100 * block_ratio(line, reference)) / 100;
}

}  // namespace lodestone::eval
