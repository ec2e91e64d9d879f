// Prefix trees: sequences that are only scored, in one stream in which every beginning that they share stands once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include <lodestone/batching/token_batch.hpp>

namespace lodestone::batching {

/// A sequence whose tokens from `first` on are scored, each after all tokens before it.
struct scored_tail {
  std::span<const std::int32_t> tokens;  ///< [n]
  std::int64_t first = 1;                ///< in [1, n]: nothing comes before token 0, so it has no score
};

/// Whether sequences share what they have in common.
enum class prefixes {
  shared,   ///< one row for every different beginning
  separate  ///< a causal slice for each sequence, as layers with a sliding window need
};

/// Few-shot examples, then questions, then choices: a question's rows see the examples, a choice's rows both, and each
/// row is computed once. Sequences that begin alike share rows up to the first token that differs, however many they
/// are and wherever they part; the last token of a sequence is only predicted and takes no row. A row sees exactly the
/// tokens that come before it in its sequences, with positions from 0, so every log-probability is that of the sequence
/// alone, to rounding. The shared-prompt arrangement of a batch plan is the special case of one prompt and its answers.
///
/// The stream lists the tree depth first: what stands behind a run of tokens and sees it is one range of rows, hence
/// two slices a run, whatever the number of sequences. Needs the memory of some 100 bytes a row.
class prefix_tree {
 public:
  explicit prefix_tree(prefixes kind = prefixes::shared) : shares_(kind == prefixes::shared) {}  ///< an empty tree

  /// Adds sequences, the next group. Throws shape_error for a tail outside [1, n], or 2^31 rows; then it adds none.
  void add(std::span<const scored_tail> group);

  /// Takes the last group out again; only once after each add().
  void drop_last();

  [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(nodes_.size()); }  ///< rows
  [[nodiscard]] bool empty() const { return tails_.empty(); }                                   ///< no sequences

  /// The stream. sequences[i] is the i-th sequence added, its scored entries in the order of its tokens; [begin, end)
  /// are the neighbouring rows that end with its last one. `lengths` is that of the longest sequence through a row.
  [[nodiscard]] token_batch batch() const;

 private:
  static constexpr std::int32_t none = -1;

  struct node {
    std::int32_t token;
    std::int32_t parent;  // none: begins a sequence
    std::int32_t depth;   // position id
    std::int32_t first_child = none;
    std::int32_t last_child = none;
    std::int32_t previous_sibling = none;
  };
  struct tail {
    std::int32_t last;                 // node of the last row
    std::vector<std::int32_t> labels;  // the scored tokens: they follow the last rows of the path to `last`
  };

  void add(const scored_tail& sequence);
  [[nodiscard]] std::int32_t child(std::int32_t parent, std::int32_t token, std::int32_t depth);
  [[nodiscard]] static std::uint64_t key(std::int32_t parent, std::int32_t token);

  bool shares_;
  std::vector<node> nodes_;  // parents before children
  std::vector<tail> tails_;
  std::vector<std::int32_t> roots_;
  std::unordered_map<std::uint64_t, std::int32_t> children_;  // by parent and token
  std::size_t nodes_before_ = 0;                              // before the last group
  std::size_t tails_before_ = 0;
};

}  // namespace lodestone::batching

#ifndef LODESTONE_COMPILED
#include <lodestone/batching/prefix_tree.ipp>
#endif
