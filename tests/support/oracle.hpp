// Models and numbers of the outside oracles: weights from a folder into a store, tensor by tensor, and distances.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <lodestone/batching/token_batch.hpp>
#include <lodestone/checkpoint/safetensors.hpp>
#include <lodestone/core/dtype.hpp>
#include <lodestone/host/backend.hpp>
#include <lodestone/model/config_json.hpp>
#include <lodestone/model/names.hpp>
#include <lodestone/model/parameters.hpp>

namespace lodestone_test {

template <class T>
using oracle_store = lodestone::parameters::replicated<lodestone::host<T>>;

/// The elements of a weight file's tensor as T: exact, because no family is stored wider than float.
template <class T>
std::vector<T> elements(const lodestone::safetensors::file& file, const std::string& name) {
  std::vector<T> result;
  const auto take = [&](auto values) {
    for (const auto value : values) result.push_back(lodestone::convert<T>(value));
  };
  switch (file.at(name).type) {
    case lodestone::dtype::f32: take(file.values<float>(name)); break;
    case lodestone::dtype::bf16: take(file.values<lodestone::bf16>(name)); break;
    case lodestone::dtype::f16: take(file.values<lodestone::f16>(name)); break;
    default: throw std::runtime_error(name + ": an element type that no family is stored in");
  }
  return result;
}

/// Calls visit(unit, name, offset, gradient_offset, count) for each Hugging Face tensor of the model.
template <class Store, class Visit>
void for_each_tensor(const Store& store, const Visit& visit) {
  using namespace lodestone;
  for (std::int64_t unit = 0; unit < unit_count(store.config()); ++unit)
    for (std::size_t k = 0; k < parameter_kinds; ++k) {
      const auto kind = static_cast<parameter>(k);
      const parameter_place& place = store.layout(unit)[kind];
      if (place.rows == 0) continue;
      std::int64_t begin = 0;
      for (const row_block& block : row_blocks(store.config(), kind, is_of_layer(kind) ? unit - 1 : 0)) {
        const std::int64_t count = block.rows * place.columns;
        visit(unit, block.name, place.offset + begin, place.gradient_offset + begin, count);
        begin += count;
      }
    }
}

/// The folder's model with every weight filled from model.safetensors.
template <class T>
oracle_store<T> load(const std::filesystem::path& folder,
                     lodestone::parameters::purpose use = lodestone::parameters::purpose::training, int threads = 2) {
  oracle_store<T> store(lodestone::read_model_config(folder), std::make_unique<lodestone::host<T>>(threads), use);
  const lodestone::safetensors::file file(folder / "model.safetensors");
  for_each_tensor(store, [&](std::int64_t unit, const std::string& name, std::int64_t offset, std::int64_t,
                             std::int64_t count) {
    // TinyStories-656K keeps its one matrix under the head's name.
    const bool under_head = name == "model.embed_tokens.weight" && file.find(name) == nullptr;
    const std::vector<T> values = elements<T>(file, under_head ? "lm_head.weight" : name);
    if (static_cast<std::int64_t>(values.size()) != count) throw std::runtime_error(name + ": not the expected size");
    std::ranges::copy(values, store.mutable_weights(unit).data() + offset);
  });
  return store;
}

/// Adds a document to a batch: positions from 0, one causal slice, and a score for each label that is not negative.
inline void append_document(lodestone::token_batch& batch, std::span<const std::int64_t> ids,
                            std::span<const std::int64_t> labels) {
  const std::int64_t begin = batch.size();
  const auto end = begin + static_cast<std::int64_t>(ids.size());
  const auto number = static_cast<std::int32_t>(batch.sequences.size());
  lodestone::sequence own{.begin = begin, .end = end, .example = number};
  own.scored_begin = static_cast<std::int64_t>(batch.scored.size());
  for (std::size_t row = 0; row < ids.size(); ++row) {
    batch.tokens.push_back(static_cast<std::int32_t>(ids[row]));
    batch.positions.push_back(static_cast<std::int32_t>(row));
    batch.lengths.push_back(end - begin);
    const std::int64_t at = begin + static_cast<std::int64_t>(row);
    if (labels[row] >= 0) batch.scored.push_back({at, static_cast<std::int32_t>(labels[row]), number, 1.0});
  }
  own.scored_end = static_cast<std::int64_t>(batch.scored.size());
  own.target_weight = static_cast<double>(own.scored_end - own.scored_begin);
  batch.sequences.push_back(own);
  batch.slices.push_back({begin, end, begin, end, lodestone::slice_kind::causal, 0});
}

/// A text as a document whose every token but the first is a target.
inline lodestone::token_batch text_batch(std::span<const std::int64_t> ids) {
  std::vector<std::int64_t> labels(ids.begin() + 1, ids.end());
  labels.push_back(-100);
  lodestone::token_batch batch;
  append_document(batch, ids, labels);
  return batch;
}

/// ||ours - theirs|| / ||theirs||, both taken in double.
template <class T>
double distance(std::span<const T> ours, std::span<const double> theirs) {
  if (ours.size() != theirs.size()) throw std::runtime_error("the oracle has another number of elements");
  double difference = 0.0;
  double size = 0.0;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    const double apart = static_cast<double>(ours[i]) - theirs[i];
    difference += apart * apart;
    size += theirs[i] * theirs[i];
  }
  return std::sqrt(difference / size);
}

}  // namespace lodestone_test
