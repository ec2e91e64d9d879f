// Asks a generator what a log does not hold yet: the part of every synthesis that can be interrupted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/data/result_log.hpp>
#include <lodestone/generate/concept.hpp>

namespace lodestone::synthesis {

/// How a generator is asked.
struct ask_options {
  std::uint64_t seed = 42;    ///< an item's sampling is seeded by it, the stage and the item's id alone
  std::int64_t at_once = 64;  ///< requests that the generator gets together
  /// How tokens are drawn, as the released code of LOGO does; its own seed is not looked at.
  generate::sampling draw{.temperature = 0.7, .top_p = 0.95};
  std::int64_t max_new_tokens = 512;  ///< of an answer, as the released code has it
  std::int64_t min_new_tokens = 0;    ///< of an answer; the released code asks for 16
  std::int64_t attempts = 3;          ///< for an answer that has not the form that was asked for, each seeded anew
  std::vector<std::string> stop{};    ///< an answer ends before the first of these
  /// Hears how many items of a stage are done, after every answer.
  std::function<void(std::string_view stage, std::int64_t done, std::int64_t of)> progress{};
};

/// An item that has no answer.
struct failed_item {
  std::string id{};     ///< of the item
  std::string error{};  ///< what the generator said
};

/// What asking came to.
struct ask_counts {
  std::int64_t items = 0;             ///< that were to be asked
  std::int64_t done_before = 0;       ///< that the log held
  std::int64_t asked = 0;             ///< that were asked now
  std::vector<failed_item> failed{};  ///< of those: the next run asks them again

  /// Both together.
  ask_counts& operator+=(const ask_counts& other);
};

/// Items of a stage: a name for each that never changes, what is asked, and the line that records the answer. A line
/// is one JSON object with the item's "id".
struct ask_items {
  std::vector<std::string> ids{};                                           ///< unique
  std::function<generate::request(std::size_t)> request{};                  ///< sampling and limits are filled in
  std::function<std::string(std::size_t, const generate::answer&)> line{};  ///< empty: counts as failed
};

/// Asks what `log` does not hold. Every answer is in the log before the next one is waited for, so a killed run loses
/// at most what the generator was busy with. Throws what the generator and the log throw.
ask_counts ask(const generate::any_generator& model, const ask_items& items, std::string_view stage, result_log& log,
               const ask_options& options);

}  // namespace lodestone::synthesis

#ifndef LODESTONE_COMPILED
#include <lodestone/synthesis/ask.ipp>
#endif
