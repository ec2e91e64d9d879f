// Definitions of adapter.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include <lodestone/checkpoint/adapter.hpp>
#include <lodestone/checkpoint/json.hpp>
#include <lodestone/core/file.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/model/config_json.hpp>

namespace lodestone {

namespace detail {

/// What PEFT puts before the names of the model's tensors.
inline constexpr std::string_view peft_prefix = "base_model.model.";

/// The last part of a module's name.
[[nodiscard]] inline std::string last_part(std::string_view module) {
  return std::string(module.substr(module.rfind('.') + 1));
}

/// Module names as PEFT's target_modules: their last parts when those choose the same modules, else the full names.
[[nodiscard]] inline std::vector<std::string> short_targets(const model_config& config,
                                                            const std::set<std::string>& modules) {
  std::set<std::string> parts;
  for (const std::string& module : modules) parts.insert(last_part(module));
  for (std::int64_t layer = 0; layer < config.layers; ++layer)
    for (const parameter weight : projection_weights)
      for (const row_block& block : row_blocks(config, weight, layer)) {
        const std::string module(module_of(block.name));
        if (parts.contains(last_part(module)) && !modules.contains(module)) return {modules.begin(), modules.end()};
      }
  return {parts.begin(), parts.end()};
}

/// The elements of a tensor as floats.
[[nodiscard]] inline std::vector<float> floats_of(const safetensors::entry& entry) {
  std::vector<float> values(static_cast<std::size_t>(*safetensors::element_count(entry.shape)));
  convert_elements(entry, std::span<float>{values});
  return values;
}

}  // namespace detail

LODESTONE_INLINE adapter_source::adapter_source(const std::filesystem::path& folder, const model_config& config)
    : folder_(folder) {
  const std::string where = (folder / "adapter_config.json").string();
  if (!std::filesystem::exists(folder / "adapter_config.json"))
    throw io_error("no adapter_config.json", folder.string(), "give the folder that PEFT or `lodestone sft` wrote");
  read_config(where);
  for (const char* name : {"adapter_model.safetensors", "adapter_model.bin"})
    if (!tensors_ && std::filesystem::exists(folder / name))
      tensors_ = std::make_unique<tensor_source>(folder / name);
  if (!tensors_) throw io_error("no adapter_model.safetensors and no adapter_model.bin", folder.string());
  match(config, folder.string());
}

LODESTONE_INLINE const safetensors::entry* adapter_source::find(std::string_view name) const {
  return tensors_->find(std::string(detail::peft_prefix).append(name));
}

LODESTONE_INLINE bool adapter_source::unties() const { return unties_; }

LODESTONE_INLINE void adapter_source::read_config(const std::string& where) {
  const nlohmann::json json = detail::parse_json(read_text(where), where);
  if (!json.is_object()) throw format_error("is no object", where);
  const auto value = [&](const char* key) { return json.contains(key) ? json.at(key) : nlohmann::json(); };
  const auto refuse = [&](const char* key, const std::string& why) {
    throw config_error(why, where + ": " + key, "merge the adapter with PEFT and use the merged model");
  };
  if (const auto kind = value("peft_type"); kind != "LORA")
    refuse("peft_type", "is " + kind.dump() + "; only LORA is supported");
  const auto is_set = [&](const char* key) {
    const nlohmann::json v = value(key);
    return !(v.is_null() || v == false || ((v.is_object() || v.is_array()) && v.empty()));
  };
  for (const char* key : {"use_dora", "fan_in_fan_out", "rank_pattern", "alpha_pattern", "lora_bias",
                          "layer_replication", "trainable_token_indices", "use_qalora", "use_bdlora",
                          "target_parameters", "alora_invocation_tokens", "arrow_config", "kasa_config",
                          "monteclora_config", "lora_ga_config", "velora_config"})
    if (is_set(key)) refuse(key, "is " + value(key).dump() + ", which is not supported");
  if (const auto bias = value("bias"); !bias.is_null() && bias != "none")
    refuse("bias", "is " + bias.dump() + "; trained biases are not supported");
  // These start from other base weights than the folder's, so that W + B A would be another model.
  if (const auto start = value("init_lora_weights"); start.is_string()) {
    const auto name = start.get<std::string>();
    if (name.starts_with("pissa") || name.starts_with("olora") || name.starts_with("corda") || name == "loftq")
      refuse("init_lora_weights", "is \"" + name + "\", which changes the base weights too");
  }
  const auto rank = value("r");
  if (!rank.is_number_integer() || rank.get<std::int64_t>() < 1 || rank.get<std::int64_t>() > (1 << 20))
    throw format_error("must be a positive whole number", where + ": r");
  const auto alpha = value("lora_alpha");
  if (!alpha.is_number() || !std::isfinite(alpha.get<double>()))
    throw format_error("must be a number", where + ": lora_alpha");
  parts_ = trained_parts::only({});
  parts_.adapters.rank = rank.get<std::int64_t>();
  parts_.adapters.alpha = alpha.get<double>();
  parts_.adapters.is_rank_stabilised = value("use_rslora") == true;
  keeps_tie_ = value("ensure_weight_tying") == true;
}

LODESTONE_INLINE void adapter_source::match(const model_config& config, const std::string& where) {
  const std::int64_t rank = parts_.adapters.rank;
  std::map<std::string, std::vector<std::int64_t>, std::less<>> known;  // every tensor that an adapter may hold
  std::map<std::string, bool> whole;                                    // of those in full: whether it is a norm
  for (std::int64_t layer = 0; layer < config.layers; ++layer)
    for (const parameter weight : projection_weights)
      for (const row_block& block : row_blocks(config, weight, layer)) {
        const std::string module(module_of(block.name));
        const std::string a = module + ".lora_A.weight";
        const std::string b = module + ".lora_B.weight";
        known[a] = {rank, columns_of(config, weight)};
        known[b] = {block.rows, rank};
        if ((find(a) == nullptr) != (find(b) == nullptr))
          throw format_error("lora_A or lora_B is missing", where + ": " + module);
        if (find(a) != nullptr) parts_.adapters.targets.push_back(module);
      }
  const auto in_full = [&](parameter kind, std::int64_t layer) {
    for (const row_block& block : row_blocks(untied(config), kind, layer)) {
      const bool is_norm = columns_of(config, kind) == 0;
      known[block.name] = is_norm ? std::vector<std::int64_t>{block.rows}
                                  : std::vector<std::int64_t>{block.rows, columns_of(config, kind)};
      if (find(block.name) != nullptr) (is_norm ? parts_.norms : parts_.embeddings) = true;
    }
  };
  for (const parameter kind : {parameter::embedding, parameter::head_weight, parameter::final_norm}) in_full(kind, 0);
  for (std::int64_t layer = 0; layer < config.layers; ++layer)
    for (const parameter kind : {parameter::input_norm, parameter::post_norm, parameter::q_norm, parameter::k_norm})
      in_full(kind, layer);
  for (const std::string& name : tensors_->names()) {
    const auto own = name.starts_with(detail::peft_prefix) ? known.find(name.substr(detail::peft_prefix.size()))
                                                            : known.end();
    if (own == known.end())
      throw format_error("fits no module of the model", where + ": " + name,
                         "check that the adapter was trained on this model");
    const safetensors::entry& entry = tensors_->at(name);
    if (entry.shape != own->second)
      throw format_error("is " + safetensors::to_string(entry.shape) + " instead of " +
                             safetensors::to_string(own->second),
                         where + ": " + name, "check that the adapter was trained on this model");
    detail::with_floating_type(entry.type, where + ": " + name, [](auto) {});
  }
  const auto* const embedding = find(row_blocks(config, parameter::embedding).front().name);
  const auto* const head = find(row_blocks(untied(config), parameter::head_weight).front().name);
  const bool are_equal = embedding != nullptr && head != nullptr && std::ranges::equal(embedding->bytes, head->bytes);
  const bool is_one_for_both = head == nullptr && (embedding == nullptr || keeps_tie_);
  unties_ = config.tied_head && !are_equal && !is_one_for_both;
  if (parts_.adapters.targets.empty() && !parts_.embeddings && !parts_.norms)
    throw format_error("holds no tensor", where);
}

LODESTONE_INLINE adapter_writer::adapter_writer(const std::filesystem::path& folder, const std::string& base,
                                                const model_config& config, const adapter_config& adapters,
                                                const std::vector<stored_tensor>& tensors,
                                                const export_options& options)
    : type_(options.type), folder_(folder, options.existing) {
  namespace fs = std::filesystem;
  if (options.existing == existing_folder::replace && fs::exists(folder) &&
      !fs::exists(folder / "adapter_config.json") && !(fs::is_directory(folder) && fs::is_empty(folder)))
    throw io_error("exists and is no adapter folder", folder.string(), "choose another folder");
  std::set<std::string> modules;
  std::set<std::string> whole;
  std::vector<safetensors::declaration> declarations;
  for (const stored_tensor& tensor : tensors) {
    if (is_adapter(tensor.kind))
      modules.emplace(module_of(module_of(tensor.name)));
    else
      whole.insert(detail::last_part(module_of(tensor.name)));
    declarations.push_back({std::string(detail::peft_prefix) + tensor.name, type_, tensor.shape});
  }
  nlohmann::ordered_json json;
  json["peft_type"] = "LORA";
  json["task_type"] = "CAUSAL_LM";
  json["base_model_name_or_path"] = base;
  json["r"] = adapters.rank;
  if (adapters.alpha == std::floor(adapters.alpha))
    json["lora_alpha"] = static_cast<std::int64_t>(adapters.alpha);
  else
    json["lora_alpha"] = adapters.alpha;
  json["lora_dropout"] = 0.0;
  json["use_rslora"] = adapters.is_rank_stabilised;
  json["use_dora"] = false;
  json["bias"] = "none";
  json["fan_in_fan_out"] = false;
  json["init_lora_weights"] = true;
  json["inference_mode"] = true;
  json["target_modules"] = detail::short_targets(config, modules);
  json["modules_to_save"] = whole.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(whole);
  atomic_file file(folder_.path() / "adapter_config.json");
  file.write(json.dump(2) + "\n");
  file.commit();
  tensors_ = std::make_unique<safetensors::writer>(folder_.path() / "adapter_model.safetensors",
                                                   std::move(declarations),
                                                   std::map<std::string, std::string>{{"format", "pt"}});
}

LODESTONE_INLINE void adapter_writer::write_buffer() { tensors_->write(buffer_); }

LODESTONE_INLINE void adapter_writer::commit() {
  tensors_->commit();
  folder_.commit();
}

LODESTONE_INLINE void merge_adapter(const std::filesystem::path& base, const std::filesystem::path& adapter,
                                    const std::filesystem::path& target, const export_options& options,
                                    thread_pool& pool) {
  const model_config config = read_model_config(base);
  const adapter_source added(adapter, config);
  const tensor_source weights(base);
  check_tensors(weights, config);
  const model_config result = added.unties() ? untied(config) : config;
  const std::vector<named_tensor> names = tensor_names(result);
  const std::vector<named_tensor> stored = tensor_names_in(weights, config);
  pretrained_writer writer(target, base, result, names, options);
  for (std::size_t i = 0; i < names.size(); ++i) {
    // The head of a model that is untied here comes last; its base is the tied matrix, which comes first.
    const std::string& from = i < stored.size() ? stored[i].name : stored.front().name;
    const std::string& name = names[i].name;
    if (const auto* const whole = added.find(name)) {
      writer.write(std::span<const float>{detail::floats_of(*whole)});
      continue;
    }
    std::vector<float> values = detail::floats_of(weights.at(from));
    const std::string module(module_of(name));
    const auto* const a = name.ends_with(".weight") ? added.find(module + ".lora_A.weight") : nullptr;
    if (a != nullptr) {
      const std::vector<float> lora_a = detail::floats_of(*a);
      const std::vector<float> lora_b = detail::floats_of(*added.find(module + ".lora_B.weight"));
      const auto rank = static_cast<std::size_t>(added.parts().adapters.rank);
      const auto columns = static_cast<std::size_t>(names[i].shape[1]);
      const auto scale = static_cast<float>(added.parts().adapters.scale());
      pool.run(names[i].shape[0], [&](std::int64_t row) {
        std::vector<float> sum(columns, 0.0F);
        for (std::size_t k = 0; k < rank; ++k) {
          const float factor = lora_b[static_cast<std::size_t>(row) * rank + k];
          const float* from_a = lora_a.data() + k * columns;
          for (std::size_t j = 0; j < columns; ++j) sum[j] += factor * from_a[j];
        }
        float* to = values.data() + static_cast<std::size_t>(row) * columns;
        for (std::size_t j = 0; j < columns; ++j) to[j] += scale * sum[j];
      });
    }
    writer.write(std::span<const float>{values});
  }
  writer.commit();
}

}  // namespace lodestone
