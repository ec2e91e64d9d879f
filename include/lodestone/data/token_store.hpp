// A ragged store of tokenised examples in one memory-mapped safetensors file: prepared once, trained on many times.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

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
/// offsets I64[n + 1], example_weights F64[n], origins I64[n, 2] (file, line; may be absent). With preferences also
/// groups I64[n] (-1 for none), roles I32[n], prompts I64[n], references F64[n] (not a number for none); with chunks
/// also chunks I64[...] and chunk_offsets I64[n + 1]. Metadata: "format", "tokenizer" (fingerprint), "vocabulary_size",
/// and what the preparation adds ("template", "options", "sources").
class token_store {
 public:
  /// Throws io_error when the file cannot be read, format_error naming the tensor when it is not a token store.
  explicit token_store(const std::filesystem::path& name);

  /// Number of examples.
  [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(example_weights_.size()); }
  [[nodiscard]] std::int64_t length(std::int64_t i) const { return end(i) - begin(i); }  ///< tokens of example i
  /// Example i, for 0 <= i < size(), unchecked; valid as long as the store.
  [[nodiscard]] example_view operator[](std::int64_t i) const;
  /// Where example i comes from; {0, 0} when the file has no origins.
  [[nodiscard]] example_origin origin(std::int64_t i) const;
  /// N, of all examples.
  [[nodiscard]] std::int64_t total_tokens() const { return static_cast<std::int64_t>(tokens_.size()); }
  /// The strings of the file by key; the class names the usual ones.
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const { return file_.metadata(); }
  [[nodiscard]] const std::filesystem::path& name() const { return file_.name(); }  ///< the file's path

  /// Reads every token, label and weight and throws format_error at the first that no model of that vocabulary can
  /// train on, and for chunks that do not ascend within their example and prompts that differ within a group; what
  /// unit_begins() throws for groups. Call it once before training on a store of uncertain origin.
  void verify(std::int64_t vocabulary_size) const;

  /// Throws config_error unless the store was made with the tokenizer of that fingerprint.
  void require_tokenizer(std::string_view fingerprint) const;

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
  // Empty where the file has none:
  std::span<const std::int64_t> groups_;
  std::span<const std::int32_t> roles_;
  std::span<const std::int64_t> prompts_;
  std::span<const double> references_;
  std::span<const std::int64_t> chunks_;
  std::span<const std::int64_t> chunk_offsets_;
};
static_assert(example_store<token_store>);

namespace detail {

/// A nameless temporary file beside the final one: what it holds is gone when the process is, however it ends.
class spill_file {
 public:
  explicit spill_file(const std::filesystem::path& final_name);

  void write(std::span<const std::byte> bytes);

  /// Copies everything to the writer.
  void replay(safetensors::writer& out);

 private:
  static constexpr std::size_t piece_bytes = std::size_t{1} << 20;

  void flush();

  std::filesystem::path where_;
  descriptor handle_;
  std::vector<std::byte> buffer_;
  std::int64_t size_ = 0;
};

}  // namespace detail

/// Writes a token store example by example. Memory: 72 bytes an example, 8 for every bound of its chunks, and a few
/// buffers, whatever the number of tokens; they wait in nameless temporary files in the folder of the store, so the
/// disk holds them twice for a moment. The store appears under its name with commit() or not at all.
class token_store_writer {
 public:
  /// Throws config_error when the file exists and may not be replaced, io_error when the folder cannot be written.
  explicit token_store_writer(std::filesystem::path final_name, bool replace = false);

  /// Appends an example. Throws shape_error when labels or weights are not as many as tokens, io_error.
  ///@{
  void add(const encoded_sequence& example, example_origin origin = {}) { add(example.view(), origin); }
  void add(const example_view& example, example_origin origin = {});
  ///@}

  /// Examples so far.
  [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(example_weights_.size()); }
  [[nodiscard]] std::int64_t total_tokens() const { return offsets_.back(); }      ///< tokens so far
  [[nodiscard]] const std::filesystem::path& name() const { return final_name_; }  ///< the store's final name

  /// Assembles the file and publishes it; "format" is added to the metadata. Throws io_error.
  void commit(std::map<std::string, std::string> metadata);

 private:
  static std::filesystem::path require_free(std::filesystem::path name, bool replace);

  std::filesystem::path final_name_;
  detail::spill_file tokens_;
  detail::spill_file labels_;
  detail::spill_file weights_;
  std::vector<std::int64_t> offsets_{0};
  std::vector<double> example_weights_;
  std::vector<std::int64_t> origins_;
  std::vector<std::int64_t> groups_;
  std::vector<std::int32_t> roles_;
  std::vector<std::int64_t> prompts_;
  std::vector<double> references_;
  std::vector<std::int64_t> chunks_;
  std::vector<std::int64_t> chunk_offsets_{0};
  bool has_preferences_ = false;
};

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/data/token_store.ipp>
#endif
