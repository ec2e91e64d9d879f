// Tokenizer, chat format and examples of a run, from the settings.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <lodestone/batching/example.hpp>
#include <lodestone/core/thread_pool.hpp>
#include <lodestone/data/groups.hpp>
#include <lodestone/data/prepare.hpp>
#include <lodestone/text/chat_encoder.hpp>
#include <lodestone/text/tokenizer.hpp>

#include "options.hpp"

namespace lodestone_cli {

/// Examples of any store or of several, or a selection of them: one type that models example_store. Preference groups
/// are numbered over all of them.
class any_store {
 public:
  any_store() = default;

  /// Takes a store's examples behind those that are there.
  template <lodestone::example_store Store>
  void add(std::shared_ptr<const Store> store) {
    begins_.push_back(size());
    parts_.push_back(std::make_shared<model<Store>>(std::move(store)));
    first_groups_.push_back(groups_);
    size_ += parts_.back()->size();
    for (std::int64_t i = 0; i < parts_.back()->size(); ++i) {
      const std::int64_t group = parts_.back()->at(i).group;
      if (group != lodestone::no_group) groups_ = std::max(groups_, first_groups_.back() + group + 1);
    }
  }

  /// Keeps the examples of these indices only, in this order; an index may stand several times, a group must be whole.
  /// Call it once at most, before keep_chosen().
  void select(std::vector<std::int64_t> indices) {
    selected_groups_ = lodestone::renumbered_groups(*this, indices);
    size_ = static_cast<std::int64_t>(indices.size());
    selected_ = std::move(indices);
    is_selection_ = true;
  }

  /// Keeps the chosen answers of preference groups, as examples that stand alone, and all examples without a group.
  /// Returns how many rejected answers that leaves out.
  std::int64_t keep_chosen() {
    std::vector<std::int64_t> kept;
    for (std::int64_t i = 0; i < size_; ++i)
      if ((*this)[i].role == 0) kept.push_back(is_selection_ ? selected_[static_cast<std::size_t>(i)] : i);
    const std::int64_t left_out = size_ - static_cast<std::int64_t>(kept.size());
    if (left_out == 0) return 0;  // no group is without a rejected answer
    size_ = static_cast<std::int64_t>(kept.size());
    selected_ = std::move(kept);
    selected_groups_.assign(selected_.size(), lodestone::no_group);
    is_selection_ = true;
    return left_out;
  }

  [[nodiscard]] std::int64_t size() const { return size_; }
  [[nodiscard]] std::int64_t length(std::int64_t i) const {
    const auto [part, inner] = find(i);
    return parts_[part]->length(inner);
  }
  [[nodiscard]] lodestone::example_view operator[](std::int64_t i) const {
    const auto [part, inner] = find(i);
    lodestone::example_view view = parts_[part]->at(inner);
    view.index = i;
    if (view.group != lodestone::no_group)
      view.group =
          is_selection_ ? selected_groups_[static_cast<std::size_t>(i)] : view.group + first_groups_[part];
    return view;
  }

 private:
  struct base {
    virtual ~base() = default;
    [[nodiscard]] virtual std::int64_t size() const = 0;
    [[nodiscard]] virtual std::int64_t length(std::int64_t i) const = 0;
    [[nodiscard]] virtual lodestone::example_view at(std::int64_t i) const = 0;
  };
  template <class Store>
  struct model final : base {
    explicit model(std::shared_ptr<const Store> held) : store(std::move(held)) {}
    [[nodiscard]] std::int64_t size() const override { return store->size(); }
    [[nodiscard]] std::int64_t length(std::int64_t i) const override { return store->length(i); }
    [[nodiscard]] lodestone::example_view at(std::int64_t i) const override { return (*store)[i]; }
    std::shared_ptr<const Store> store;
  };

  /// The part of example i, and its index there.
  [[nodiscard]] std::pair<std::size_t, std::int64_t> find(std::int64_t i) const {
    if (is_selection_) i = selected_[static_cast<std::size_t>(i)];
    std::size_t part = parts_.size() - 1;
    while (begins_[part] > i) --part;  // a handful of parts
    return {part, i - begins_[part]};
  }

  std::vector<std::shared_ptr<const base>> parts_;
  std::vector<std::int64_t> begins_;
  std::vector<std::int64_t> first_groups_;  // what the group numbers of each part count from
  std::int64_t groups_ = 0;
  std::vector<std::int64_t> selected_;
  std::vector<std::int64_t> selected_groups_;
  bool is_selection_ = false;
  std::int64_t size_ = 0;
};
static_assert(lodestone::example_store<any_store>);

/// A model folder's tokenizer with the chosen chat format.
class text_parts {
 public:
  /// Reads the tokenizer and finds the chat format. A format that cannot be found is an error only when a conversation
  /// has to be encoded (require_template). Throws what tokenizer::load and the chat template functions throw.
  text_parts(const settings& s, bool end_of_text);
  text_parts(const text_parts&) = delete;  // the encoder refers to the tokenizer
  text_parts& operator=(const text_parts&) = delete;

  [[nodiscard]] const lodestone::tokenizer& tokenizer() const { return tokenizer_; }
  [[nodiscard]] const lodestone::chat_encoder<lodestone::tokenizer>& encoder() const { return *encoder_; }

  /// Throws config_error, saying why there is no chat format, when there is none.
  void require_template() const;

 private:
  lodestone::tokenizer tokenizer_;
  std::string no_template_;  ///< why, when there is none
  std::unique_ptr<lodestone::chat_encoder<lodestone::tokenizer>> encoder_;
};

/// The library's form of the settings that turn records into examples.
[[nodiscard]] lodestone::prepare_options make_prepare_options(const settings& s);
[[nodiscard]] std::vector<lodestone::data_source> make_sources(const std::vector<data_source>& sources);

/// Whether a file is a token store (by its first bytes and its format mark).
[[nodiscard]] bool is_token_store(const std::filesystem::path& name);

/// Which answers of preference data a command takes.
enum class answers {
  chosen,  ///< the chosen ones, as examples that stand alone
  all      ///< whole groups
};

/// The examples of `sources`: stores are mapped, other files are encoded on `pool`; counts and weights choose among
/// them, preference groups as wholes. What was read goes to standard error, and so do warnings unless `summary` takes
/// them. Throws data_error when no example is left, config_error when a store belongs to another tokenizer.
[[nodiscard]] any_store load_examples(const std::vector<data_source>& sources, const settings& s,
                                      const text_parts& text, std::int64_t model_vocabulary,
                                      lodestone::thread_pool& pool, std::string_view what,
                                      lodestone::data_summary* summary = nullptr, answers wanted = answers::chosen);

/// Throws data_error unless every example is an answer of a preference group, with what the settings' loss asks for.
void require_groups(const any_store& examples, std::string_view what, const settings& s);

/// Threads for the pool of a run.
[[nodiscard]] inline int thread_count(const settings& s) {
  return s.threads > 0 ? static_cast<int>(s.threads) : lodestone::thread_pool::default_threads();
}

}  // namespace lodestone_cli
