// Examples in ordinary memory, and a selection of another store's examples: models of example_store.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include <lodestone/batching/example.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/data/groups.hpp>
#include <lodestone/text/chat_encoder.hpp>

namespace lodestone {

/// Where an example comes from: the number of its file in the list of sources, and the line (0: unknown).
struct example_origin {
  std::int64_t file = 0;  ///< place in source_files(), from 0
  std::int64_t line = 0;  ///< from 1; 0: unknown
  friend bool operator==(const example_origin&, const example_origin&) = default;
};

/// Examples kept in vectors: for tests, small data and programs that make their own examples.
class in_memory_store {
 public:
  /// Appends an example. Throws shape_error when labels or weights are not as many as tokens.
  void add(encoded_sequence example, example_origin origin = {}) {
    if (example.labels.size() != example.tokens.size() || example.weights.size() != example.tokens.size()) {
      throw shape_error("an example needs one label and one weight for each token", "in_memory_store::add");
    }
    tokens_ += example.size();
    examples_.push_back(std::move(example));
    origins_.push_back(origin);
  }

  /// Number of examples.
  [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(examples_.size()); }
  [[nodiscard]] std::int64_t length(std::int64_t i) const { return at(i).size(); }  ///< tokens of example i
  /// Example i, for 0 <= i < size(), unchecked; valid as long as the store.
  [[nodiscard]] example_view operator[](std::int64_t i) const { return at(i).view(i); }
  /// What add() was given for example i.
  [[nodiscard]] example_origin origin(std::int64_t i) const { return origins_[static_cast<std::size_t>(i)]; }
  [[nodiscard]] std::int64_t total_tokens() const { return tokens_; }  ///< of all examples

 private:
  [[nodiscard]] const encoded_sequence& at(std::int64_t i) const { return examples_[static_cast<std::size_t>(i)]; }

  std::vector<encoded_sequence> examples_;
  std::vector<example_origin> origins_;
  std::int64_t tokens_ = 0;
};
static_assert(example_store<in_memory_store>);

/// Some examples of a store, in a chosen order and possibly repeated; refers to the store, which must outlive it.
/// Example i has index i: a repeated example has random numbers of its own. Preference groups are selected whole and
/// numbered anew, so that a repeated group is another group.
template <example_store Store>
class selected_store {
 public:
  /// Throws shape_error for an index outside the store and for a group of which some answers are left out.
  selected_store(const Store& store, std::vector<std::int64_t> indices)
      : store_(&store), indices_(std::move(indices)), groups_(renumbered_groups(store, indices_)) {}

  /// Number of examples, repeats included.
  [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(indices_.size()); }
  /// Tokens of example i.
  [[nodiscard]] std::int64_t length(std::int64_t i) const { return store_->length(source(i)); }
  /// Example i with index i; valid as the store's own view of it is.
  [[nodiscard]] example_view operator[](std::int64_t i) const {
    example_view view = (*store_)[source(i)];
    view.index = i;
    if (!groups_.empty()) view.group = groups_[static_cast<std::size_t>(i)];
    return view;
  }
  /// The index in the underlying store.
  [[nodiscard]] std::int64_t source(std::int64_t i) const { return indices_[static_cast<std::size_t>(i)]; }

 private:
  const Store* store_;
  std::vector<std::int64_t> indices_;
  std::vector<std::int64_t> groups_;  // of each example; empty: no example has one
};
static_assert(example_store<selected_store<in_memory_store>>);
static_assert(example_store<chosen_answers<in_memory_store>>);

}  // namespace lodestone
