// The subcommands. Each returns the exit status; failures are exceptions, which main() prints.
#pragma once

#include <string>
#include <string_view>

#include <lodestone/train/recorder.hpp>

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

/// A run of sft or prefer, whole. Throws what training throws.
lodestone::run_finished run_training(const settings& s);

/// Where run_training() leaves the model, or the adapter.
std::string trained_folder(const settings& s);

int run_tokenize(const settings& s);
int run_prepare(const settings& s);
int run_plan(const settings& s);
int run_sft(const settings& s);
int run_prefer(const settings& s);
int run_ablate(const settings& s);
int run_merge(const settings& s);
int run_score(const settings& s);
int run_generate(const settings& s);
int run_chat(const settings& s);
int run_eval(const settings& s);
int run_synthesise(const settings& s);
int run_inspect(const settings& s);
int run_doctor(const settings& s);
int run_demo(const settings& s);

}  // namespace lodestone_cli
