// Definitions of token_store.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include <lodestone/core/inline.hpp>
#include <lodestone/data/token_store.hpp>

namespace lodestone {

LODESTONE_INLINE token_store::token_store(const std::filesystem::path& name) : file_(name) {
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
  if (file_.find("groups") != nullptr) {
    groups_ = file_.values<std::int64_t>("groups");
    roles_ = file_.values<std::int32_t>("roles");
    prompts_ = file_.values<std::int64_t>("prompts");
    references_ = file_.values<double>("references");
  }
  if (file_.find("chunks") != nullptr) {
    chunks_ = file_.values<std::int64_t>("chunks");
    chunk_offsets_ = file_.values<std::int64_t>("chunk_offsets");
  }
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
  const std::size_t n = example_weights_.size();
  if (file_.find("groups") != nullptr) {
    require(groups_.size() == n, "groups", "has not one value an example");
    require(roles_.size() == n, "roles", "has not one value an example");
    require(prompts_.size() == n, "prompts", "has not one value an example");
    require(references_.size() == n, "references", "has not one value an example");
  }
  if (file_.find("chunks") != nullptr) {
    require(chunk_offsets_.size() == n + 1, "chunk_offsets", "has not one value an example and one more");
    require(chunk_offsets_.front() == 0, "chunk_offsets", "does not begin with 0");
    require(std::is_sorted(chunk_offsets_.begin(), chunk_offsets_.end()), "chunk_offsets", "decreases");
    require(chunk_offsets_.back() == static_cast<std::int64_t>(chunks_.size()), "chunk_offsets",
            "does not end at the last bound");
  }
}

LODESTONE_INLINE example_view token_store::operator[](std::int64_t i) const {
  const auto first = static_cast<std::size_t>(begin(i));
  const auto count = static_cast<std::size_t>(length(i));
  const auto at = static_cast<std::size_t>(i);
  example_view example{tokens_.subspan(first, count), labels_.subspan(first, count), weights_.subspan(first, count),
                       example_weights_[at], i};
  if (!groups_.empty()) {
    example.group = groups_[at];
    example.role = roles_[at];
    example.prompt = prompts_[at];
    example.reference = references_[at];
  }
  if (!chunk_offsets_.empty()) {
    const auto chunk = static_cast<std::size_t>(chunk_offsets_[at]);
    example.chunks = chunks_.subspan(chunk, static_cast<std::size_t>(chunk_offsets_[at + 1]) - chunk);
  }
  return example;
}

LODESTONE_INLINE example_origin token_store::origin(std::int64_t i) const {
  if (origins_.empty()) return {};
  return {origins_[2 * static_cast<std::size_t>(i)], origins_[2 * static_cast<std::size_t>(i) + 1]};
}

LODESTONE_INLINE void token_store::verify(std::int64_t vocabulary_size) const {
  const auto is_token = [&](std::int32_t id) { return id >= 0 && id < vocabulary_size; };
  if (!groups_.empty()) static_cast<void>(unit_begins(*this));
  example_view chosen;
  for (std::int64_t i = 0; i < size(); ++i) {
    const example_view example = (*this)[i];
    const auto fail = [&](const char* what) {
      throw format_error("example " + std::to_string(i) + ": " + what, name().string(), "prepare the data again");
    };
    for (std::size_t j = 0; j < example.chunks.size(); ++j) {
      const std::int64_t least = j == 0 ? 0 : example.chunks[j - 1] + 1;
      if (example.chunks[j] < least || example.chunks[j] > length(i)) fail("its chunks do not ascend within it");
    }
    if (example.group != no_group) {
      if (example.role == 0) chosen = example;
      if (!std::equal(example.chunks.begin(), example.chunks.end(), chosen.chunks.begin(), chosen.chunks.end()) ||
          !std::equal(example.tokens.begin(), example.tokens.begin() + example.prompt, chosen.tokens.begin(),
                      chosen.tokens.begin() + chosen.prompt)) {
        fail("its prompt differs from that of the chosen answer");
      }
    }
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

LODESTONE_INLINE void token_store::require_tokenizer(std::string_view fingerprint) const {
  const auto found = metadata().find("tokenizer");
  if (found == metadata().end() || found->second == fingerprint) return;
  throw config_error("the store was prepared with another tokenizer (" + found->second + ", the model has " +
                         std::string(fingerprint) + ")",
                     name().string(), "prepare the data again with this model's tokenizer");
}

namespace detail {

LODESTONE_INLINE spill_file::spill_file(const std::filesystem::path& final_name) : where_(final_name) {
  const std::filesystem::path name = partial_name(final_name);
  handle_ = descriptor(::open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!handle_) throw_errno("cannot create a temporary file for", final_name);
  ::unlink(name.c_str());
}

LODESTONE_INLINE void spill_file::write(std::span<const std::byte> bytes) {
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  if (buffer_.size() >= piece_bytes) flush();
}

LODESTONE_INLINE void spill_file::replay(safetensors::writer& out) {
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

LODESTONE_INLINE void spill_file::flush() {
  write_all(handle_.get(), buffer_, size_, where_);
  size_ += static_cast<std::int64_t>(buffer_.size());
  buffer_.clear();
}

}  // namespace detail

LODESTONE_INLINE token_store_writer::token_store_writer(std::filesystem::path final_name, bool replace)
    : final_name_(require_free(std::move(final_name), replace)),
      tokens_(final_name_),
      labels_(final_name_),
      weights_(final_name_) {}

LODESTONE_INLINE void token_store_writer::add(const example_view& example, example_origin origin) {
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
  groups_.push_back(example.group);
  roles_.push_back(example.role);
  prompts_.push_back(example.prompt);
  references_.push_back(example.reference);
  chunks_.insert(chunks_.end(), example.chunks.begin(), example.chunks.end());
  chunk_offsets_.push_back(static_cast<std::int64_t>(chunks_.size()));
  has_preferences_ = has_preferences_ || example.group != no_group || example.role != 0 || example.prompt != 0 ||
                     !std::isnan(example.reference);
}

LODESTONE_INLINE void token_store_writer::commit(std::map<std::string, std::string> metadata) {
  metadata["format"] = token_store_format;
  const std::int64_t n = size();
  const std::int64_t total = total_tokens();
  std::vector<safetensors::declaration> tensors{{"tokens", dtype::i32, {total}},
                                                {"labels", dtype::i32, {total}},
                                                {"weights", dtype::f32, {total}},
                                                {"offsets", dtype::i64, {n + 1}},
                                                {"example_weights", dtype::f64, {n}},
                                                {"origins", dtype::i64, {n, 2}}};
  if (has_preferences_) {
    tensors.push_back({"groups", dtype::i64, {n}});
    tensors.push_back({"roles", dtype::i32, {n}});
    tensors.push_back({"prompts", dtype::i64, {n}});
    tensors.push_back({"references", dtype::f64, {n}});
  }
  if (!chunks_.empty()) {
    tensors.push_back({"chunks", dtype::i64, {chunk_offsets_.back()}});
    tensors.push_back({"chunk_offsets", dtype::i64, {n + 1}});
  }
  safetensors::writer out(final_name_, std::move(tensors), metadata);
  const auto write = [&](const auto& values) { out.write(std::as_bytes(std::span(values))); };
  tokens_.replay(out);
  labels_.replay(out);
  weights_.replay(out);
  write(offsets_);
  write(example_weights_);
  write(origins_);
  if (has_preferences_) {
    write(groups_);
    write(roles_);
    write(prompts_);
    write(references_);
  }
  if (!chunks_.empty()) {
    write(chunks_);
    write(chunk_offsets_);
  }
  out.commit();
}

LODESTONE_INLINE std::filesystem::path token_store_writer::require_free(std::filesystem::path name, bool replace) {
  if (!replace && std::filesystem::exists(name)) {
    throw config_error("the output exists already", name.string(), "choose another name or allow overwriting");
  }
  return name;
}

}  // namespace lodestone

