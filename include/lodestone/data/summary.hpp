// What happened to the data on its way to tokens: every record is counted somewhere.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lodestone {

/// Counts of a preparation. Law: every record is accounted for,
/// records - split + split_parts - groups + answers
///   == examples + skipped + over_long_dropped + without_targets_dropped.
struct data_summary {
  std::int64_t records = 0;                  ///< read, repeats of a mixture included
  std::int64_t conversations = 0;            ///< records with turns, skipped ones not among them
  std::int64_t documents = 0;                ///< plain text
  std::int64_t skipped = 0;                  ///< faulty records, when faults are skipped
  std::int64_t over_long_dropped = 0;        ///< records too long to use
  std::int64_t truncated = 0;                ///< records that were cut to the limit
  std::int64_t split = 0;                    ///< records that became several examples
  std::int64_t split_parts = 0;              ///< the examples they became
  std::int64_t without_targets_dropped = 0;  ///< records, or parts of split ones
  std::int64_t without_targets_kept = 0;     ///< examples, for no_target_policy::keep
  std::int64_t examples = 0;                 ///< written
  std::int64_t tokens = 0;                   ///< written
  std::int64_t targets = 0;                  ///< written
  std::int64_t longest = 0;                  ///< tokens of the longest example written
  std::int64_t unknown_tokens = 0;           ///< unknown tokens among the tokens read
  std::int64_t tokens_read = 0;              ///< before anything was cut
  std::int64_t empty_answers = 0;            ///< masked unless all tokens are targets
  std::int64_t unanswered_turns = 0;         ///< turns after the last answer, left out
  std::int64_t leading_dropped = 0;          ///< assistant turns before the first user turn, left out
  std::int64_t joined_turns = 0;             ///< turns joined to the one before, which had the same role
  std::int64_t doubled_bos = 0;              ///< removed
  std::int64_t literal_tokens = 0;           ///< control tokens in content, kept as characters
  std::int64_t groups = 0;                   ///< preference records written
  std::int64_t answers = 0;                  ///< examples of these groups
  std::int64_t seams = 0;                    ///< answers that get other tokens when tokenised together with the prompt
  std::vector<std::string> faults{};         ///< the messages of the first ten skipped records

  static constexpr std::size_t most_faults = 10;  ///< longest that `faults` becomes

  /// Adds the counts of another part of the same data.
  void add(const data_summary& other);

  /// The share of unknown tokens in the tokens read, 0 to 1.
  [[nodiscard]] double unknown_share() const;

  /// What the user should look at before training.
  [[nodiscard]] std::vector<std::string> warnings() const;

  /// The counts as lines "name: value"; zeros are left out except for the first ones.
  [[nodiscard]] std::string to_text() const;

 private:
  [[nodiscard]] static std::string percent(double share);
  [[nodiscard]] std::string first_fault() const { return faults.empty() ? "(unknown)" : faults.front(); }
};

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/data/summary.ipp>
#endif
