// The subcommands. Each returns the exit status; failures are exceptions, which main() prints.
#pragma once

#include <string_view>

#include "options.hpp"

namespace lodestone_cli {

/// Exit statuses, as --help documents them.
inline constexpr int success = 0;
inline constexpr int failure = 1;
inline constexpr int usage_error = 2;

/// A line on standard error.
void note(std::string_view text);

/// Results on standard output. Throws io_error when it cannot be written (a full disk, a closed pipe).
void print(std::string_view text);

int run_tokenize(const settings& s);
int run_prepare(const settings& s);
int run_plan(const settings& s);
int run_sft(const settings& s);
int run_prefer(const settings& s);
int run_ablate(const settings& s);
int run_merge(const settings& s);
int run_score(const settings& s);
int run_generate(const settings& s);
int run_inspect(const settings& s);
int run_doctor(const settings& s);
int run_demo(const settings& s);

}  // namespace lodestone_cli
