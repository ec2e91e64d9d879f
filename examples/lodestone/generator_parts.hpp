// What answers prompts, from the settings: the model of a folder, on the settings' backend, or one behind an endpoint.
#pragma once

#include <functional>

#include <lodestone/generate/concept.hpp>

#include "options.hpp"

namespace lodestone_cli {

/// Loads what the settings name and calls `use` with it, once. Warnings go to standard error.
void with_generator(const settings& s, const std::function<void(lodestone::generate::any_generator&)>& use);

/// The same settings with the judge in the model's place: the one behind judge_endpoint, or of the folder judge_model.
/// Both `endpoint` and `model` are empty where there is none.
[[nodiscard]] settings judge_settings(const settings& s);

/// How the settings draw tokens, and how long answers get; without a prompt.
[[nodiscard]] lodestone::generate::request make_request(const settings& s);

}  // namespace lodestone_cli
