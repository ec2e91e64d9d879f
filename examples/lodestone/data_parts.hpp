// Tokenizer, chat format and examples of a run, from the settings.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <lodestone/batching/example.hpp>
#include <lodestone/core/thread_pool.hpp>
#include <lodestone/data/prepare.hpp>
#include <lodestone/text/chat_encoder.hpp>
#include <lodestone/text/tokenizer.hpp>

#include "options.hpp"

namespace lodestone_cli {

/// Examples of any store or of several, or a selection of them: one type that models example_store.
class any_store {
 public:
  any_store() = default;

  /// Takes a store's examples behind those that are there.
  template <lodestone::example_store Store>
  void add(std::shared_ptr<const Store> store) {
    begins_.push_back(size());
    parts_.push_back(std::make_shared<model<Store>>(std::move(store)));
    size_ += parts_.back()->size();
  }

  /// Keeps the examples of these indices only, in this order; an index may stand several times.
  void select(std::vector<std::int64_t> indices) {
    size_ = static_cast<std::int64_t>(indices.size());
    selected_ = std::move(indices);
    is_selection_ = true;
  }

  [[nodiscard]] std::int64_t size() const { return size_; }
  [[nodiscard]] std::int64_t length(std::int64_t i) const {
    const auto [part, inner] = find(i);
    return part->length(inner);
  }
  [[nodiscard]] lodestone::example_view operator[](std::int64_t i) const {
    const auto [part, inner] = find(i);
    lodestone::example_view view = part->at(inner);
    view.index = i;
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

  [[nodiscard]] std::pair<const base*, std::int64_t> find(std::int64_t i) const {
    if (is_selection_) i = selected_[static_cast<std::size_t>(i)];
    std::size_t part = parts_.size() - 1;
    while (begins_[part] > i) --part;  // a handful of parts
    return {parts_[part].get(), i - begins_[part]};
  }

  std::vector<std::shared_ptr<const base>> parts_;
  std::vector<std::int64_t> begins_;
  std::vector<std::int64_t> selected_;
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

/// The examples of `sources`: stores are mapped, other files are encoded on `pool`; counts and weights choose among
/// them. What was read goes to standard error, and so do warnings unless `summary` takes them. Throws data_error when
/// no example is left, config_error when a store belongs to another tokenizer.
[[nodiscard]] any_store load_examples(const std::vector<data_source>& sources, const settings& s,
                                      const text_parts& text, std::int64_t model_vocabulary,
                                      lodestone::thread_pool& pool, std::string_view what,
                                      lodestone::data_summary* summary = nullptr);

/// Threads for the pool of a run.
[[nodiscard]] inline int thread_count(const settings& s) {
  return s.threads > 0 ? static_cast<int>(s.threads) : lodestone::thread_pool::default_threads();
}

}  // namespace lodestone_cli
