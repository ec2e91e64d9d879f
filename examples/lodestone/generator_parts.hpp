// What answers prompts, from the settings: the model of a folder, on the settings' backend.
#pragma once

#include <functional>

#include <lodestone/generate/concept.hpp>

#include "options.hpp"

namespace lodestone_cli {

/// Loads what the settings name and calls `use` with it, once. Warnings go to standard error.
void with_generator(const settings& s, const std::function<void(lodestone::generate::any_generator&)>& use);

/// How the settings draw tokens, and how long answers get; without a prompt.
[[nodiscard]] lodestone::generate::request make_request(const settings& s);

}  // namespace lodestone_cli
