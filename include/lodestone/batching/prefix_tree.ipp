// Definitions of prefix_tree.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <limits>
#include <string>

#include <lodestone/batching/prefix_tree.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/core/inline.hpp>

namespace lodestone::batching {

LODESTONE_INLINE std::uint64_t prefix_tree::key(std::int32_t parent, std::int32_t token) {
  return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(parent)) << 32) | static_cast<std::uint32_t>(token);
}

LODESTONE_INLINE void prefix_tree::add(std::span<const scored_tail> group) {
  std::int64_t rows = size();
  for (const scored_tail& sequence : group) {
    const auto length = static_cast<std::int64_t>(sequence.tokens.size());
    if (sequence.first < 1 || sequence.first > length)
      throw shape_error("scores from token " + std::to_string(sequence.first) + " on of " + std::to_string(length),
                        "prefix tree", "score from token 1 on: nothing comes before the first");
    rows += length - 1;
  }
  if (rows > std::numeric_limits<std::int32_t>::max())
    throw shape_error("2^31 rows or more", "prefix tree", "score fewer sequences at once");
  nodes_before_ = nodes_.size();
  tails_before_ = tails_.size();
  for (const scored_tail& sequence : group) add(sequence);
}

LODESTONE_INLINE void prefix_tree::add(const scored_tail& sequence) {
  std::int32_t last = none;
  bool is_new = !shares_;
  const std::size_t rows = sequence.tokens.size() - 1;
  for (std::size_t i = 0; i < rows; ++i) {
    const std::int32_t token = sequence.tokens[i];
    if (!is_new) {
      const auto found = children_.find(key(last, token));
      if (found != children_.end()) {
        last = found->second;
        continue;
      }
    }
    is_new = true;
    last = child(last, token, static_cast<std::int32_t>(i));
  }
  const auto scored = sequence.tokens.subspan(static_cast<std::size_t>(sequence.first));
  tails_.push_back({last, {scored.begin(), scored.end()}});
}

LODESTONE_INLINE std::int32_t prefix_tree::child(std::int32_t parent, std::int32_t token, std::int32_t depth) {
  const auto number = static_cast<std::int32_t>(nodes_.size());
  node added{.token = token, .parent = parent, .depth = depth};
  if (parent == none) {
    roots_.push_back(number);
  } else {
    node& above = nodes_[static_cast<std::size_t>(parent)];
    added.previous_sibling = above.last_child;
    if (above.last_child == none) above.first_child = number;
    above.last_child = number;
  }
  nodes_.push_back(added);
  if (shares_) children_.emplace(key(parent, token), number);
  return number;
}

LODESTONE_INLINE void prefix_tree::drop_last() {
  while (nodes_.size() > nodes_before_) {  // the newest node is the last child of its parent
    const node& removed = nodes_.back();
    if (shares_) children_.erase(key(removed.parent, removed.token));
    if (removed.parent == none) {
      roots_.pop_back();
    } else {
      node& above = nodes_[static_cast<std::size_t>(removed.parent)];
      above.last_child = removed.previous_sibling;
      if (removed.previous_sibling == none) above.first_child = none;
    }
    nodes_.pop_back();
  }
  tails_.resize(tails_before_);
}

LODESTONE_INLINE token_batch prefix_tree::batch() const {
  const auto at = [](std::int64_t i) { return static_cast<std::size_t>(i); };
  const std::int64_t count = size();
  std::vector<std::int32_t> longest(at(count));   // of the sequences through a node: its rows
  std::vector<std::int32_t> below(at(count), 1);  // nodes of its subtree
  for (std::int64_t n = count - 1; n >= 0; --n) {
    const node& own = nodes_[at(n)];
    longest[at(n)] = std::max(longest[at(n)], own.depth + 1);
    if (own.parent == none) continue;
    longest[at(own.parent)] = std::max(longest[at(own.parent)], longest[at(n)]);
    below[at(own.parent)] += below[at(n)];
  }

  token_batch batch;
  batch.tokens.reserve(at(count));
  batch.positions.reserve(at(count));
  batch.lengths.reserve(at(count));
  std::vector<std::int64_t> row(at(count));
  for (const std::int32_t root : roots_) {
    std::vector<std::int32_t> open{root};  // first nodes of runs
    while (!open.empty()) {
      std::int32_t next = open.back();
      open.pop_back();
      const std::int64_t begin = batch.size();
      const std::int64_t end_of_subtree = begin + below[at(next)];
      for (std::int32_t only = next; only != none;) {
        const node& own = nodes_[at(only)];
        row[at(only)] = batch.size();
        batch.tokens.push_back(own.token);
        batch.positions.push_back(own.depth);
        batch.lengths.push_back(longest[at(only)]);
        next = only;
        only = own.first_child == own.last_child ? own.first_child : none;
      }
      const std::int64_t end = batch.size();
      batch.slices.push_back({begin, end, begin, end, slice_kind::causal, 0});
      if (end < end_of_subtree) batch.slices.push_back({end, end_of_subtree, begin, end, slice_kind::full, 0});
      for (std::int32_t c = nodes_[at(next)].last_child; c != none; c = nodes_[at(c)].previous_sibling)
        open.push_back(c);
    }
  }

  for (const tail& sequence : tails_) {
    lodestone::sequence own;
    own.example = static_cast<std::int64_t>(batch.sequences.size());
    own.scored_begin = static_cast<std::int64_t>(batch.scored.size());
    own.scored_end = own.scored_begin + static_cast<std::int64_t>(sequence.labels.size());
    own.target_weight = static_cast<double>(sequence.labels.size());
    batch.scored.resize(at(own.scored_end));
    std::int32_t from = sequence.last;
    own.end = from == none ? 0 : row[at(from)] + 1;
    for (std::int64_t k = own.scored_end; k-- > own.scored_begin;) {
      const std::int32_t label = sequence.labels[at(k - own.scored_begin)];
      batch.scored[at(k)] = {row[at(from)], label, static_cast<std::int32_t>(own.example), 1.0};
      from = nodes_[at(from)].parent;
    }
    own.begin = own.end;
    for (std::int32_t n = sequence.last; n != none && row[at(n)] == own.begin - 1; n = nodes_[at(n)].parent)
      own.begin = row[at(n)];
    batch.sequences.push_back(own);
  }
  return batch;
}

}  // namespace lodestone::batching
