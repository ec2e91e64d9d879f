// Tests of long context that are made on the spot, after RULER's idea (arXiv 2404.06654): look-up, tracing, counting.
//
// The texts, words and forms are Lodestone's own: scores compare models and lengths with each other, not with numbers
// that were published for RULER.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/eval/concept.hpp>
#include <lodestone/eval/needle.hpp>

namespace lodestone::eval {

/// What is asked.
enum class ruler_kind : std::uint8_t {
  kv_single,          ///< one number under a name, between sentences of no interest
  kv_multikey,        ///< one number among the numbers of other names, which are the whole text
  kv_multivalue,      ///< all four numbers of a name, among those of others
  kv_multiquery,      ///< the numbers of four names, among those of others
  variable_tracking,  ///< all variables that hold a number, through four assignments, beside a chain with another one
  common_words,       ///< the ten words of a list that are repeated
  frequent_words,     ///< the three most frequent words of a text of made-up words, which follow Zipf's law
  multi_hop           ///< who has a thing after four people passed it on, beside three other things
};

/// All of them, in this order.
inline constexpr ruler_kind ruler_kinds[] = {
    ruler_kind::kv_single,         ruler_kind::kv_multikey,  ruler_kind::kv_multivalue,  ruler_kind::kv_multiquery,
    ruler_kind::variable_tracking, ruler_kind::common_words, ruler_kind::frequent_words, ruler_kind::multi_hop};

/// The name of the task.
[[nodiscard]] constexpr const char* to_string(ruler_kind kind) {
  switch (kind) {
    case ruler_kind::kv_single: return "kv_single";
    case ruler_kind::kv_multikey: return "kv_multikey";
    case ruler_kind::kv_multivalue: return "kv_multivalue";
    case ruler_kind::kv_multiquery: return "kv_multiquery";
    case ruler_kind::variable_tracking: return "variable_tracking";
    case ruler_kind::common_words: return "common_words";
    case ruler_kind::frequent_words: return "frequent_words";
    case ruler_kind::multi_hop: return "multi_hop";
  }
  return "?";
}

/// How many, how long.
struct ruler_options {
  std::vector<std::int64_t> lengths{1024, 2048, 4096};  ///< tokens of the whole prompt
  std::int64_t repeats = 10;                            ///< questions of each length
  std::int64_t max_new_tokens = 128;                    ///< of the answer
  bool is_chat = true;                                  ///< a user's turn, or the text as it is
  std::uint64_t seed = 42;                              ///< of everything that is drawn
};

/// One kind of test as a task. A prompt is as long as whole sentences, or words of a list, make it, and never longer
/// than asked.
///
/// Labels: length. Scores: found, the share of what was asked for that the answer holds as whole words, which is
/// RULER's measure; exact_match, 1 when that is all.
class ruler {
 public:
  /// `count` measures prompts of the kind that `options.is_chat` names. Throws config_error for a length that the
  /// smallest text of this kind exceeds, and for settings out of range.
  ruler(ruler_kind kind, token_count count, ruler_options options = {});

  /// The parts of a task.
  ///@{
  [[nodiscard]] std::string name() const { return to_string(kind_); }
  [[nodiscard]] std::size_t size() const;
  [[nodiscard]] std::string id(std::size_t i) const;
  [[nodiscard]] question ask(std::size_t i) const;
  [[nodiscard]] std::vector<score> mark(std::size_t i, std::string_view answer) const;
  ///@}

  /// What the answer to question i must hold.
  [[nodiscard]] std::vector<std::string> expected(std::size_t i) const;

 private:
  ruler_kind kind_;
  token_count count_;
  ruler_options options_;
};
static_assert(task<ruler>);

}  // namespace lodestone::eval

#ifndef LODESTONE_COMPILED
#include <lodestone/eval/ruler.ipp>
#endif
