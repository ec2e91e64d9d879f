// Finds the rating in a judge's reply, as the published evaluation codes do.
#pragma once

#include <optional>
#include <string_view>

namespace lodestone::eval {

/// The ratings that a judge may give.
struct rating_scale {
  double least = 1.0;  ///< the worst
  double most = 10.0;  ///< the best
};

/// The first number inside the last [[...]]: LongBench-Chat's and LongReward's rule. Nothing where there is none, or,
/// unlike there, where it lies outside the scale: the judge is then asked again. Digits of full width count as digits.
[[nodiscard]] std::optional<double> last_bracketed_rating(std::string_view reply, rating_scale scale = {});

/// The number of the first [[n]], else of the first [n]: FastChat's rule for MT-Bench (one_score_pattern and its
/// backup), with the same two additions.
[[nodiscard]] std::optional<double> first_bracketed_rating(std::string_view reply, rating_scale scale = {});

}  // namespace lodestone::eval

#ifndef LODESTONE_COMPILED
#include <lodestone/eval/judge_rating.ipp>
#endif
