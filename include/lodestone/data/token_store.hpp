// A ragged store of tokenised examples in one memory-mapped safetensors file: prepared once, trained on many times.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include <lodestone/batching/example.hpp>
#include <lodestone/checkpoint/safetensors.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/core/file.hpp>
#include <lodestone/data/memory_store.hpp>
#include <lodestone/text/chat_encoder.hpp>

namespace lodestone {

/// The value of the metadata key "format" of every token store.
inline constexpr std::string_view token_store_format = "lodestone token store 1";

/// 16 hexadecimal digits that tell one tokenizer from another: FNV-1a over every token in order of ids, the prefix, and
/// the ids of a probe text.
template <class Tokenizer>
[[nodiscard]] std::string tokenizer_fingerprint(const Tokenizer& tokenizer) {
  static_assert(chat_tokenizer<Tokenizer>, "tokenizer_fingerprint: the tokenizer lacks a member of chat_tokenizer");
  std::uint64_t hash = 0xcbf2'9ce4'8422'2325U;
  const auto mix = [&](const void* data, std::size_t count) {
    const auto* bytes = static_cast<const unsigned char*>(data);
    for (std::size_t i = 0; i < count; ++i) hash = (hash ^ bytes[i]) * 0x0000'0100'0000'01b3U;
  };
  const auto mix_ids = [&](const std::vector<std::int32_t>& ids) {
    mix(ids.data(), ids.size() * sizeof(std::int32_t));
    mix("|", 1);
  };
  for (std::int32_t id = 0; id < tokenizer.vocabulary_size(); ++id) {
    const std::string_view token = tokenizer.token_of(id);
    mix(token.data(), token.size());
    mix("\n", 1);
  }
  mix_ids(tokenizer.prefix());
  mix_ids(tokenizer.encode("Caf\xC3\xA9 3.14  \n\xE4\xBD\xA0\xE5\xA5\xBD, it's a probe.\t", false, false));
  char digits[17];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(hash));
  return digits;
}

/// Examples in a safetensors file: a model of example_store whose pages are read when touched.
///
/// Tensors, for n examples of N tokens in all: tokens I32[N], labels I32[N] (shifted, -1 for none), weights F32[N],
/// offsets I64[n + 1], example_weights F64[n], origins I64[n, 2] (file, line; may be absent). Metadata: "format",
/// "tokenizer" (fingerprint), "vocabulary_size", and what the preparation adds ("template", "options", "sources").
class token_store {
 public:
  /// Throws io_error when the file cannot be read, format_error naming the tensor when it is not a token store.
  explicit token_store(const std::filesystem::path& name) : file_(name) {
    const std::string where = name.string();
    const auto format = file_.metadata().find("format");
    if (format == file_.metadata().end() || format->second != token_store_format) {
      throw format_error("not a token store", where, "make one with: lodestone prepare");
    }
    tokens_ = file_.values<std::int32_t>("tokens");
    labels_ = file_.values<std::int32_t>("labels");
    weights_ = file_.values<float>("weights");
    offsets_ = file_.values<std::int64_t>("offsets");
    example_weights_ = file_.values<double>("example_weights");
    if (file_.find("origins") != nullptr) origins_ = file_.values<std::int64_t>("origins");
    const auto require = [&](bool holds, const char* tensor, const char* what) {
      if (!holds) throw format_error(what, where + ": tensor '" + tensor + "'", "prepare the data again");
    };
    require(!offsets_.empty() && offsets_.front() == 0, "offsets", "does not begin with 0");
    require(std::is_sorted(offsets_.begin(), offsets_.end()), "offsets", "decreases");
    require(offsets_.back() == static_cast<std::int64_t>(tokens_.size()), "offsets", "does not end at the last token");
    require(labels_.size() == tokens_.size(), "labels", "has another length than tokens");
    require(weights_.size() == tokens_.size(), "weights", "has another length than tokens");
    require(example_weights_.size() + 1 == offsets_.size(), "example_weights", "has not one value an example");
    require(origins_.empty() || origins_.size() == 2 * example_weights_.size(), "origins", "is not [examples, 2]");
  }

  [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(example_weights_.size()); }
  [[nodiscard]] std::int64_t length(std::int64_t i) const { return end(i) - begin(i); }
  [[nodiscard]] example_view operator[](std::int64_t i) const {
    const auto first = static_cast<std::size_t>(begin(i));
    const auto count = static_cast<std::size_t>(length(i));
    return {tokens_.subspan(first, count), labels_.subspan(first, count), weights_.subspan(first, count),
            example_weights_[static_cast<std::size_t>(i)], i};
  }
  [[nodiscard]] example_origin origin(std::int64_t i) const {
    if (origins_.empty()) return {};
    return {origins_[2 * static_cast<std::size_t>(i)], origins_[2 * static_cast<std::size_t>(i) + 1]};
  }
  [[nodiscard]] std::int64_t total_tokens() const { return static_cast<std::int64_t>(tokens_.size()); }
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const { return file_.metadata(); }
  [[nodiscard]] const std::filesystem::path& name() const { return file_.name(); }

  /// Reads every token, label and weight and throws format_error at the first that no model of that vocabulary can
  /// train on: call it once before training on a store of uncertain origin.
  void verify(std::int64_t vocabulary_size) const {
    const auto is_token = [&](std::int32_t id) { return id >= 0 && id < vocabulary_size; };
    for (std::int64_t i = 0; i < size(); ++i) {
      const example_view example = (*this)[i];
      for (std::size_t r = 0; r < example.tokens.size(); ++r) {
        const std::int32_t label = example.labels[r];
        const float weight = example.weights[r];
        const bool is_target_good = label == no_label ? weight == 0.0F : is_token(label) && weight >= 0.0F;
        if (is_token(example.tokens[r]) && is_target_good) continue;
        throw format_error("example " + std::to_string(i) + ", row " + std::to_string(r) +
                               ": token, label or weight is outside a vocabulary of " + std::to_string(vocabulary_size),
                           name().string(), "prepare the data with the tokenizer of this model");
      }
    }
  }

  /// Throws config_error unless the store was made with the tokenizer of that fingerprint.
  void require_tokenizer(std::string_view fingerprint) const {
    const auto found = metadata().find("tokenizer");
    if (found == metadata().end() || found->second == fingerprint) return;
    throw config_error("the store was prepared with another tokenizer (" + found->second + ", the model has " +
                           std::string(fingerprint) + ")",
                       name().string(), "prepare the data again with this model's tokenizer");
  }

 private:
  [[nodiscard]] std::int64_t begin(std::int64_t i) const { return offsets_[static_cast<std::size_t>(i)]; }
  [[nodiscard]] std::int64_t end(std::int64_t i) const { return offsets_[static_cast<std::size_t>(i) + 1]; }

  safetensors::file file_;
  std::span<const std::int32_t> tokens_;
  std::span<const std::int32_t> labels_;
  std::span<const float> weights_;
  std::span<const std::int64_t> offsets_;
  std::span<const double> example_weights_;
  std::span<const std::int64_t> origins_;
};
static_assert(example_store<token_store>);

namespace detail {

/// A nameless temporary file beside the final one: what it holds is gone when the process is, however it ends.
class spill_file {
 public:
  explicit spill_file(const std::filesystem::path& final_name) : where_(final_name) {
    const std::filesystem::path name = partial_name(final_name);
    handle_ = descriptor(::open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!handle_) throw_errno("cannot create a temporary file for", final_name);
    ::unlink(name.c_str());
  }

  void write(std::span<const std::byte> bytes) {
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
    if (buffer_.size() >= piece_bytes) flush();
  }

  /// Copies everything to the writer.
  void replay(safetensors::writer& out) {
    flush();
    buffer_.resize(piece_bytes);
    for (std::int64_t at = 0; at < size_;) {
      const ssize_t count = ::pread(handle_.get(), buffer_.data(), buffer_.size(), static_cast<off_t>(at));
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) throw_errno("cannot read back a temporary file for", where_);
      out.write(std::span<const std::byte>(buffer_).first(static_cast<std::size_t>(count)));
      at += count;
    }
    buffer_.clear();
  }

 private:
  static constexpr std::size_t piece_bytes = std::size_t{1} << 20;

  void flush() {
    write_all(handle_.get(), buffer_, size_, where_);
    size_ += static_cast<std::int64_t>(buffer_.size());
    buffer_.clear();
  }

  std::filesystem::path where_;
  descriptor handle_;
  std::vector<std::byte> buffer_;
  std::int64_t size_ = 0;
};

}  // namespace detail

/// Writes a token store example by example. Memory: 32 bytes an example and a few buffers, whatever the number of
/// tokens; they wait in nameless temporary files in the folder of the store, so the disk holds them twice for a moment.
/// The store appears under its name with commit() or not at all.
class token_store_writer {
 public:
  /// Throws config_error when the file exists and may not be replaced, io_error when the folder cannot be written.
  explicit token_store_writer(std::filesystem::path final_name, bool replace = false)
      : final_name_(require_free(std::move(final_name), replace)),
        tokens_(final_name_),
        labels_(final_name_),
        weights_(final_name_) {}

  /// Appends an example. Throws shape_error when labels or weights are not as many as tokens, io_error.
  void add(const encoded_sequence& example, example_origin origin = {}) { add(example.view(), origin); }
  void add(const example_view& example, example_origin origin = {}) {
    if (example.labels.size() != example.tokens.size() || example.weights.size() != example.tokens.size()) {
      throw shape_error("an example needs one label and one weight for each token", "token_store_writer::add");
    }
    tokens_.write(std::as_bytes(example.tokens));
    labels_.write(std::as_bytes(example.labels));
    weights_.write(std::as_bytes(example.weights));
    offsets_.push_back(offsets_.back() + static_cast<std::int64_t>(example.tokens.size()));
    example_weights_.push_back(example.weight);
    origins_.push_back(origin.file);
    origins_.push_back(origin.line);
  }

  [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(example_weights_.size()); }
  [[nodiscard]] std::int64_t total_tokens() const { return offsets_.back(); }
  [[nodiscard]] const std::filesystem::path& name() const { return final_name_; }

  /// Assembles the file and publishes it; "format" is added to the metadata. Throws io_error.
  void commit(std::map<std::string, std::string> metadata) {
    metadata["format"] = token_store_format;
    const std::int64_t n = size();
    const std::int64_t total = total_tokens();
    safetensors::writer out(final_name_,
                            {{"tokens", dtype::i32, {total}},
                             {"labels", dtype::i32, {total}},
                             {"weights", dtype::f32, {total}},
                             {"offsets", dtype::i64, {n + 1}},
                             {"example_weights", dtype::f64, {n}},
                             {"origins", dtype::i64, {n, 2}}},
                            metadata);
    tokens_.replay(out);
    labels_.replay(out);
    weights_.replay(out);
    out.write(std::as_bytes(std::span<const std::int64_t>(offsets_)));
    out.write(std::as_bytes(std::span<const double>(example_weights_)));
    out.write(std::as_bytes(std::span<const std::int64_t>(origins_)));
    out.commit();
  }

 private:
  static std::filesystem::path require_free(std::filesystem::path name, bool replace) {
    if (!replace && std::filesystem::exists(name)) {
      throw config_error("the output exists already", name.string(), "choose another name or allow overwriting");
    }
    return name;
  }

  std::filesystem::path final_name_;
  detail::spill_file tokens_;
  detail::spill_file labels_;
  detail::spill_file weights_;
  std::vector<std::int64_t> offsets_{0};
  std::vector<double> example_weights_;
  std::vector<std::int64_t> origins_;
};

}  // namespace lodestone
