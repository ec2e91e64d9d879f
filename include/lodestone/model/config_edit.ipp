// Definitions of config_edit.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <cmath>

#include <lodestone/checkpoint/json.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/model/config_edit.hpp>
#include <lodestone/model/config_json.hpp>
#include <lodestone/position/rope.hpp>

namespace lodestone {

LODESTONE_INLINE model_config with_rope_override(model_config config, const rope_override& change) {
  const std::int64_t trained = config.max_positions;
  rope_config& rope = config.rope;
  if (change.base) rope.base = *change.base;
  if (change.base && config.family == model_family::chatglm) rope.base = 10'000.0 * (*change.base / 10'000.0);
  if (change.scaling && *change.scaling != rope.scaling) {
    rope_config fresh;
    fresh.base = rope.base;
    fresh.dimensions = rope.dimensions;
    fresh.interleaved = rope.interleaved;
    fresh.max_positions = rope.max_positions;
    fresh.scaling = *change.scaling;
    rope = fresh;
    if (rope.scaling != rope_scaling_kind::none && !change.factor)
      throw config_error("missing", "rope.factor", "a RoPE scaling needs the factor by which it stretches the context");
  }
  if (rope.scaling != rope_scaling_kind::none && config.family == model_family::chatglm)
    throw config_error("ChatGLM's code knows no RoPE scaling", "rope.scaling", "override the base instead");
  if (rope.scaling == rope_scaling_kind::none && (change.factor || change.original_max_positions))
    throw config_error("has no effect without a RoPE scaling",
                       change.factor ? "rope.factor" : "rope.original_max_positions",
                       "name the scaling: linear, dynamic, yarn or llama3");
  if (change.factor) rope.factor = *change.factor;
  if (change.max_positions) {
    if (*change.max_positions < 1) throw config_error("must be positive", "rope.max_positions");
    config.max_positions = rope.max_positions = *change.max_positions;
  }
  if (rope.scaling == rope_scaling_kind::yarn || rope.scaling == rope_scaling_kind::llama3) {
    if (change.original_max_positions)
      rope.original_max_positions = *change.original_max_positions;
    else if (rope.original_max_positions == 0)
      rope.original_max_positions = trained;
  } else {
    rope.original_max_positions = rope.scaling == rope_scaling_kind::dynamic_ntk ? config.max_positions : 0;
  }
  position::check(rope);
  return config;
}

namespace detail {

/// The settings of a scaling under the keys of transformers; rope_theta and partial_rotary_factor are left as they are.
inline void write_scaling(nlohmann::ordered_json& object, const rope_config& rope, const char* type_key) {
  nlohmann::ordered_json fresh = nlohmann::ordered_json::object();
  for (const char* kept : {"rope_theta", "partial_rotary_factor"})
    if (object.is_object() && object.contains(kept)) fresh[kept] = object[kept];
  const auto number = [](double value) -> nlohmann::ordered_json { return value; };
  switch (rope.scaling) {
    case rope_scaling_kind::none: fresh[type_key] = "default"; break;
    case rope_scaling_kind::linear: fresh[type_key] = "linear"; break;
    case rope_scaling_kind::dynamic_ntk: fresh[type_key] = "dynamic"; break;
    case rope_scaling_kind::yarn: fresh[type_key] = "yarn"; break;
    case rope_scaling_kind::llama3: fresh[type_key] = "llama3"; break;
  }
  if (rope.scaling != rope_scaling_kind::none) fresh["factor"] = number(rope.factor);
  if (rope.scaling == rope_scaling_kind::yarn || rope.scaling == rope_scaling_kind::llama3)
    fresh["original_max_position_embeddings"] = rope.original_max_positions;
  if (rope.scaling == rope_scaling_kind::llama3) {
    fresh["low_freq_factor"] = number(rope.low_frequency_factor);
    fresh["high_freq_factor"] = number(rope.high_frequency_factor);
  }
  if (rope.scaling == rope_scaling_kind::yarn) {
    if (rope.beta_fast != 32.0) fresh["beta_fast"] = number(rope.beta_fast);
    if (rope.beta_slow != 1.0) fresh["beta_slow"] = number(rope.beta_slow);
    if (rope.attention_factor) fresh["attention_factor"] = number(*rope.attention_factor);
    if (rope.mscale) fresh["mscale"] = number(*rope.mscale);
    if (rope.mscale_all_dimensions) fresh["mscale_all_dim"] = number(*rope.mscale_all_dimensions);
    if (!rope.truncate) fresh["truncate"] = false;
  }
  object = std::move(fresh);
}

inline void write_rope(nlohmann::ordered_json& json, const model_config& before, const model_config& now) {
  if (now.family == model_family::chatglm) {
    if (now.rope.base != before.rope.base) {
      double ratio = now.rope.base / 10'000.0;
      for (const double near : {std::nextafter(ratio, 0.0), std::nextafter(ratio, 2.0 * ratio)})  // the product rounds
        if (10'000.0 * ratio != now.rope.base && 10'000.0 * near == now.rope.base) ratio = near;
      if (ratio == std::floor(ratio))
        json["rope_ratio"] = static_cast<std::int64_t>(ratio);
      else
        json["rope_ratio"] = ratio;
    }
    return;
  }
  const auto is_used = [&](const char* key) {
    return json.contains(key) && json[key].is_object() && !json[key].empty();
  };
  const bool is_new_form = !is_used("rope_scaling") && is_used("rope_parameters");
  const char* place = is_new_form ? "rope_parameters" : "rope_scaling";
  if (now.rope.base != before.rope.base) {
    const bool is_inside = is_new_form || (is_used(place) && json[place].contains("rope_theta"));
    if (is_inside) json[place]["rope_theta"] = now.rope.base;
    if (!is_inside || (json.contains("rope_theta") && !json["rope_theta"].is_null()))
      json["rope_theta"] = now.rope.base;
  }
  rope_config settings = before.rope;  // with everything but the scaling taken from `now`
  settings.base = now.rope.base;
  settings.max_positions = now.rope.max_positions;
  if (settings.scaling == rope_scaling_kind::dynamic_ntk)
    settings.original_max_positions = now.rope.original_max_positions;
  // Without the original length in the file it follows max_position_embeddings: a new window must write it down.
  const bool is_implied =
      (now.rope.scaling == rope_scaling_kind::yarn || now.rope.scaling == rope_scaling_kind::llama3) &&
      now.max_positions != before.max_positions;
  if (settings == now.rope && !is_implied) return;
  nlohmann::ordered_json& object = json[place];
  const bool old_spelling = object.is_object() && object.contains("type") && !object.contains("rope_type");
  if (!is_new_form && now.rope.scaling == rope_scaling_kind::none)
    object = nullptr;
  else
    write_scaling(object, now.rope, old_spelling ? "type" : "rope_type");
  if (json.contains("original_max_position_embeddings") && !json["original_max_position_embeddings"].is_null())
    json["original_max_position_embeddings"] = now.rope.original_max_positions;
}

}  // namespace detail

LODESTONE_INLINE std::string edited_model_config(std::string_view original, const model_config& now,
                                                 std::optional<dtype> stored, const std::string& where) {
  const auto comparable = [&](model_config config) {
    config.bos_token = now.bos_token;
    config.eos_tokens = now.eos_tokens;
    return config;
  };
  const model_config before = comparable(parse_model_config(original, where));
  auto json = detail::parse_json<nlohmann::ordered_json>(original, where);
  const nlohmann::ordered_json untouched = json;
  model_config expected = before;
  expected.rope = now.rope;
  expected.max_positions = now.max_positions;
  expected.vocabulary = now.vocabulary;
  expected.tied_head = now.tied_head;
  if (expected != now)
    throw config_error("the model differs from this file in more than RoPE, window, vocabulary and tied head", where,
                       "export with the config.json that the model was read from");
  if (now.rope != before.rope || now.max_positions != before.max_positions) detail::write_rope(json, before, now);
  const bool is_chatglm = now.family == model_family::chatglm;
  if (now.max_positions != before.max_positions)
    json[is_chatglm ? "seq_length" : "max_position_embeddings"] = now.max_positions;
  if (now.vocabulary != before.vocabulary)
    for (const char* key : {"padded_vocab_size", "vocab_size"})
      if (json.contains(key)) json[key] = now.vocabulary;
  if (now.tied_head != before.tied_head) json["tie_word_embeddings"] = now.tied_head;
  if (stored) {
    const char* name = *stored == dtype::f64   ? "float64"
                       : *stored == dtype::f32 ? "float32"
                       : *stored == dtype::f16 ? "float16"
                                               : "bfloat16";
    bool is_written = false;
    for (const char* key : {"dtype", "torch_dtype"})
      if (json.contains(key)) {
        json[key] = name;
        is_written = true;
      }
    if (!is_written) json["torch_dtype"] = name;
  }
  if (json == untouched) return std::string(original);
  std::string text = json.dump(2) + "\n";
  if (comparable(parse_model_config(text, where)) != now)
    throw config_error("these rotary settings cannot be written in this file's form", where,
                       "change rope_theta or rope_scaling in the folder's config.json instead");
  return text;
}

}  // namespace lodestone

