// Checkpoints of a run: weights, moments and progress by tensor name, so that a resumed run goes on bit for bit.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <lodestone/checkpoint/training_state.hpp>
#include <lodestone/core/dtype.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/dist/any.hpp>
#include <lodestone/model/stored_tensors.hpp>
#include <lodestone/train/loop.hpp>

namespace lodestone::train {

/// What a state keeps of each trained tensor: "weight.NAME", "first.NAME" and "second.NAME", in the accumulation type.
inline constexpr const char* state_parts[] = {"weight.", "first.", "second."};

/// The metadata of a state that holds what its backend chose by timing.
inline constexpr const char* choices_key = "backend.choices";

namespace detail {

[[nodiscard]] inline std::string exact(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%a", value);  // hexadecimal: every bit comes back
  return text;
}

template <class Integer>
[[nodiscard]] Integer integer_of(const training_state& state, const std::string& key) {
  const std::string& text = state.metadata(key);
  Integer value{};
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc{} || end != text.data() + text.size())
    throw format_error("is not a number: '" + text + "'", state.folder().string() + ": " + key,
                       "resume from another step");
  return value;
}

/// The owned part of a unit, which must be the whole: states do not depend on the number of ranks.
template <class Store>
[[nodiscard]] auto whole(Store& store, std::int64_t unit) {
  const auto part = store.owned(unit);
  if (part.begin != 0 || part.end != store.layout(unit).gradient_count)
    throw config_error("this store keeps only a part of each unit on a rank", "checkpoints",
                       "gather the units before they are written");
  return part;
}

/// Calls visit(name, flat view) for the three parts of every trained tensor, in the order of a state's file.
template <class Store, class Visit>
void for_each_state(Store& store, const Visit& visit) {
  for (const stored_tensor& tensor : stored_tensors(store)) {
    if (!tensor.is_trained) continue;
    const auto part = whole(store, tensor.unit);
    const auto cut = [&](auto view) {
      return view.rows(tensor.gradient_offset, tensor.gradient_offset + tensor.count);
    };
    visit(state_parts[0] + tensor.name, tensor, cut(part.master));
    visit(state_parts[1] + tensor.name, tensor, cut(part.first));
    visit(state_parts[2] + tensor.name, tensor, cut(part.second));
  }
}

}  // namespace detail

/// Writes weights, moments and progress as the state of step `at.step` below `root` and returns its folder. `metadata`
/// is kept beside them, and what the backend chose by timing where it does (`choices()`): a resumed run repeats it.
/// Throws what training_state_writer throws.
template <class Store>
std::filesystem::path write_state(Store& store, const progress& at, const std::filesystem::path& root,
                                  std::map<std::string, std::string> metadata = {}) {
  using element = std::remove_cvref_t<decltype(store.owned(0).master(0))>;
  std::vector<safetensors::declaration> declarations;
  detail::for_each_state(store, [&](const std::string& name, const stored_tensor& tensor, auto) {
    declarations.push_back({name, dtype_of<element>, tensor.shape});
  });
  metadata["progress.step"] = std::to_string(at.step);
  metadata["progress.steps"] = std::to_string(at.steps);
  metadata["progress.seed"] = std::to_string(at.seed);
  metadata["progress.data"] = std::to_string(at.data_fingerprint);
  metadata["progress.tokens"] = std::to_string(at.tokens);
  metadata["progress.best_loss"] = detail::exact(at.best_loss);
  metadata["progress.best_step"] = std::to_string(at.best_step);
  if constexpr (requires { store.backend().choices(); }) metadata[choices_key] = store.backend().choices();
  training_state_writer writer(root, at.step, std::move(declarations), std::move(metadata));
  detail::for_each_state(store, [&](const std::string&, const stored_tensor&, auto view) {
    const auto values = store.backend().to_host(view);
    writer.write_values(std::span<const element>{values.flat()});
  });
  return writer.commit();
}

/// Restores weights and moments from a state, and what its backend chose by timing where this one does, and returns its
/// progress. `warning`, when not null, becomes empty, or a sentence when the backend cannot repeat those choices and
/// the bits of the run that goes on may differ. Throws format_error when a tensor is missing or has another size or
/// element type than the store's: a state belongs to one model and one precision.
template <class Store>
[[nodiscard]] progress read_state(Store& store, const training_state& state, std::string* warning = nullptr) {
  using element = std::remove_cvref_t<decltype(store.owned(0).master(0))>;
  std::size_t expected = 0;
  detail::for_each_state(store, [&](const std::string& name, const stored_tensor& tensor, auto) {
    ++expected;
    const safetensors::entry& entry = state.tensors().at(name);
    if (entry.type != dtype_of<element> || entry.shape != tensor.shape)
      throw format_error("belongs to another model or precision", state.folder().string() + ": " + name,
                         "resume with the model and dtype of the run that wrote it");
  });
  if (expected != state.tensors().entries().size())
    throw format_error("holds tensors that this model does not train", state.folder().string(),
                       "resume with the model of the run that wrote it");
  detail::for_each_state(store, [&](const std::string& name, const stored_tensor& tensor, auto view) {
    const std::span<const element> values = state.tensors().template values<element>(name);
    if (name.starts_with(state_parts[0]))
      store.set_weights(tensor, values);  // the master and what is computed with
    else
      store.backend().from_host(values, view);
  });
  for (std::int64_t unit = 0; unit < unit_count(store.config()); ++unit) store.updated(unit);
  if (warning != nullptr) warning->clear();
  if constexpr (requires { store.backend().set_choices(std::string()); }) {
    const auto found = state.metadata().find(choices_key);
    const std::string told = found != state.metadata().end()
                                 ? std::string(store.backend().set_choices(found->second))
                                 : std::string("the checkpoint says nothing of how products were computed; that is "
                                               "chosen anew, and last bits may differ from the run before");
    if (warning != nullptr) *warning = told;
  }
  progress at;
  at.step = detail::integer_of<std::int64_t>(state, "progress.step");
  at.steps = detail::integer_of<std::int64_t>(state, "progress.steps");
  at.seed = detail::integer_of<std::uint64_t>(state, "progress.seed");
  at.data_fingerprint = detail::integer_of<std::uint64_t>(state, "progress.data");
  at.tokens = detail::integer_of<std::int64_t>(state, "progress.tokens");
  at.best_loss = std::strtod(state.metadata("progress.best_loss").c_str(), nullptr);
  at.best_step = detail::integer_of<std::int64_t>(state, "progress.best_step");
  return at;
}

/// The saver of a run folder: states in `root`, the newest `keep_last` of them and, if asked, the best. Rank 0 writes,
/// the others wait for it.
template <class Store>
class checkpoints {
 public:
  /// `store` and the communicator behind `group` must outlive the object. A `keep_last` below 1 counts as 1, the best
  /// step is kept beside those; `metadata` goes into every state.
  checkpoints(Store& store, std::filesystem::path root, dist::any_communicator group, std::int64_t keep_last = 3,
              bool keep_best = true, std::map<std::string, std::string> metadata = {})
      : store_(&store),
        root_(std::move(root)),
        group_(group),
        keep_last_(keep_last),
        keep_best_(keep_best),
        metadata_(std::move(metadata)) {}

  /// Writes the state of at.step and removes what is not kept; a collective. Returns the line for the log, empty except
  /// on rank 0. Throws as write_state() and prune_training_states().
  [[nodiscard]] std::string save(const progress& at, bool is_best) {
    std::string text;
    if (group_.rank() == 0) {
      const std::filesystem::path folder = write_state(*store_, at, root_, metadata_);
      std::vector<std::int64_t> kept;
      if (keep_best_ && at.best_step > 0) kept.push_back(at.best_step);
      prune_training_states(root_, keep_last_, kept);
      text = "checkpoint " + folder.string() + (is_best ? " (the best so far)" : "");
    }
    group_.barrier();
    return text;
  }

 private:
  Store* store_;
  std::filesystem::path root_;
  dist::any_communicator group_;
  std::int64_t keep_last_;
  bool keep_best_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace lodestone::train
