// Preference groups of a store: which examples belong together, whole groups chosen or held out, chosen answers alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <lodestone/batching/example.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/data/mixture.hpp>

namespace lodestone {

/// Where each unit of a store begins, and at the end the number of examples: unit u is the examples from begins[u] to
/// begins[u + 1]. A unit is a preference group, or an example that stands alone.
///
/// Throws data_error, naming the example, for a group that is not one chosen answer with one or more rejected ones side
/// by side behind it (roles 0, 1, 2, ...), group numbers that do not ascend, prompts of different lengths in a group, and
/// a prompt that leaves no room for an answer.
template <example_store Store>
[[nodiscard]] std::vector<std::int64_t> unit_begins(const Store& store) {
  std::vector<std::int64_t> begins;
  const auto size = static_cast<std::int64_t>(store.size());
  const auto require = [](bool holds, std::int64_t i, const std::string& what) {
    if (!holds) throw data_error(what, "example " + std::to_string(i), "a group is a chosen answer, then its rejected");
  };
  std::int64_t last_group = no_group;
  for (std::int64_t i = 0; i < size;) {
    begins.push_back(i);
    const example_view first = store[i];
    if (first.group == no_group) {
      ++i;
      continue;
    }
    const std::string name = "group " + std::to_string(first.group);
    require(first.group > last_group, i, name + " does not ascend, or lies in two places");
    last_group = first.group;
    const std::int64_t begin = i;
    for (; i < size; ++i) {
      const example_view answer = store[i];
      if (answer.group != first.group) break;
      require(answer.role == i - begin, i,
              name + " has role " + std::to_string(answer.role) + " at place " + std::to_string(i - begin));
      require(answer.prompt == first.prompt, i, name + " has prompts of different lengths");
      require(answer.prompt >= 0 && answer.prompt < static_cast<std::int64_t>(answer.tokens.size()), i,
              name + " has a prompt of " + std::to_string(answer.prompt) + " tokens, which leaves no answer");
    }
    require(i - begin > 1, begin, name + " has no rejected answer");
  }
  begins.push_back(size);
  return begins;
}

/// The examples of some units of a store, unit by unit in the order given; for selected_store. Throws shape_error for a
/// unit outside the store.
[[nodiscard]] inline std::vector<std::int64_t> examples_of(std::span<const std::int64_t> unit_begins,
                                                           std::span<const std::int64_t> units) {
  std::vector<std::int64_t> examples;
  for (const std::int64_t unit : units) {
    if (unit < 0 || unit + 1 >= static_cast<std::int64_t>(unit_begins.size()))
      throw shape_error("unit " + std::to_string(unit) + " is outside the store", "examples_of");
    const auto u = static_cast<std::size_t>(unit);
    for (std::int64_t i = unit_begins[u]; i < unit_begins[u + 1]; ++i) examples.push_back(i);
  }
  return examples;
}

/// Examples for training and examples held out, both in the order of the store.
struct held_out_split {
  std::vector<std::int64_t> training;  ///< indices of examples
  std::vector<std::int64_t> held_out;  ///< indices of examples, none of them in `training`
};

/// Holds out `count` units, which are whole groups, chosen uniformly by the seed. Throws config_error unless at least
/// one unit is left to train on.
[[nodiscard]] inline held_out_split hold_out(std::span<const std::int64_t> unit_begins, std::int64_t count,
                                             std::uint64_t seed) {
  const auto units = static_cast<std::int64_t>(unit_begins.size()) - 1;
  if (count < 0 || count >= units)
    throw config_error(std::to_string(count) + " of " + std::to_string(units) + " examples or groups held out",
                       "held_out", "hold out fewer than there are");
  constexpr std::uint64_t stream = 0x68656C64;  // apart from the parts of mixtures, which count from 0
  const std::vector<std::int32_t> chosen = choose_examples(units, count, seed, stream);
  held_out_split split;
  for (std::size_t u = 0; u < chosen.size(); ++u) {
    std::vector<std::int64_t>& side = chosen[u] > 0 ? split.held_out : split.training;
    for (std::int64_t i = unit_begins[u]; i < unit_begins[u + 1]; ++i) side.push_back(i);
  }
  return split;
}

/// Group numbers 0, 1, 2, ... for a selection of examples that keeps groups whole: [i] is that of selected example i,
/// no_group where it stands alone. Empty when no example has a group. Throws shape_error for an index outside the store
/// and for a group that is torn apart.
template <example_store Store>
[[nodiscard]] std::vector<std::int64_t> renumbered_groups(const Store& store, std::span<const std::int64_t> indices) {
  const auto size = static_cast<std::int64_t>(store.size());
  const auto group_of = [&](std::int64_t index) { return example_view(store[index]).group; };
  std::vector<std::int64_t> groups;
  std::int64_t next = 0;
  for (const std::int64_t index : indices) {
    if (index < 0 || index >= size)
      throw shape_error("index " + std::to_string(index) + " is outside the store", "selection");
  }
  for (std::size_t i = 0; i < indices.size();) {
    const std::int64_t begin = indices[i];
    const std::int64_t group = group_of(begin);
    if (group == no_group) {
      if (!groups.empty()) groups[i] = no_group;
      ++i;
      continue;
    }
    if (groups.empty()) groups.assign(indices.size(), no_group);
    bool is_whole = begin == 0 || group_of(begin - 1) != group;
    for (std::int64_t k = 0; is_whole && begin + k < size && group_of(begin + k) == group; ++k, ++i) {
      is_whole = i < indices.size() && indices[i] == begin + k;
      if (is_whole) groups[i] = next;
    }
    if (!is_whole)
      throw shape_error("the selection takes some answers of group " + std::to_string(group) + " and leaves others",
                        "example " + std::to_string(begin), "choose units with unit_begins and examples_of");
    ++next;
  }
  return groups;
}

/// The chosen answers of a store as examples that stand alone, and its examples without a group: what supervised
/// fine-tuning on preference data trains on. Refers to the store, which must outlive it.
template <example_store Store>
class chosen_answers {
 public:
  /// Reads no token.
  explicit chosen_answers(const Store& store) : store_(&store) {
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(store.size()); ++i) {
      const example_view example = store[i];
      if (example.group == no_group || example.role == 0) indices_.push_back(i);
    }
  }

  /// Number of examples.
  [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(indices_.size()); }
  /// Tokens of example i.
  [[nodiscard]] std::int64_t length(std::int64_t i) const { return store_->length(source(i)); }
  /// Example i with index i and no group; valid as the store's own view of it is.
  [[nodiscard]] example_view operator[](std::int64_t i) const {
    example_view view = (*store_)[source(i)];
    view.index = i;
    view.group = no_group;
    return view;
  }
  /// The index in the underlying store.
  [[nodiscard]] std::int64_t source(std::int64_t i) const { return indices_[static_cast<std::size_t>(i)]; }

 private:
  const Store* store_;
  std::vector<std::int64_t> indices_;
};

}  // namespace lodestone
