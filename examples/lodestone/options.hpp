// Every option of the program: one struct, read from a TOML file and the command line, and written back.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/train/recorder.hpp>

namespace lodestone_cli {

/// One [[data]] or [[held_out]] table.
struct data_source {
  std::string path;             ///< JSONL, a JSON array, or a store made by `prepare`
  std::string format = "auto";
  std::optional<double> weight;       ///< share of the mixture
  std::optional<std::int64_t> count;  ///< examples to take
};

/// The strings of template = "custom".
struct template_strings {
  std::string begin, system_prefix, system_suffix, user_prefix, user_suffix, assistant_prefix, assistant_suffix,
      turn_separator, end_token = "{eos}", default_system;
  bool system_in_user_turn = false;
  bool trim = false;
};

/// All settings. A member `x_y` is the key `x_y` of the file and the flag `--x-y` of the command line.
struct settings {
  std::string command = "sft";  ///< the subcommand that they were read for

  // What is trained, on what, to where.
  std::string model;
  std::vector<data_source> data;
  std::vector<data_source> held_out;
  std::string output;
  std::string resume = "auto";

  // From records to examples.
  std::string template_name = "auto";  ///< key `template`
  std::string template_values;
  std::string template_date;
  template_strings custom_template;
  std::string targets = "all-answers";
  std::int64_t max_tokens = 0;
  std::string over_long = "error";
  bool keep_answers = true;
  bool end_of_text = true;
  bool join_turns = false;
  bool strip_zero_width = false;
  std::string content = "literal";
  std::string joint = "continuous";
  std::string no_targets = "error";
  std::string faults = "error";
  bool original_end_labels = false;
  std::string plain_prompt = "text";
  std::string context_form = "{context}\n\n{question}";
  std::string chunk_separator;
  bool score_header = true;

  // Batching, loss, positions.
  std::string batching = "packed";
  std::string packing = "best-fit-decreasing";
  std::int64_t tokens = 65'536;
  std::int64_t packing_window = 0;
  std::int64_t packs_per_step = 0;
  std::int64_t sequences_per_step = 0;
  std::int64_t groups_per_step = 0;
  std::int64_t tokens_per_step = 0;
  std::int64_t group = 8;
  std::int64_t group_tokens = 0;
  std::string normaliser = "sequence";
  double divisor = 30.0;
  std::string loss = "logo";
  std::optional<double> beta;
  std::optional<double> gamma;
  std::optional<double> gamma_beta_ratio;
  std::optional<double> sft_weight;
  std::string sft_term = "token-mean";
  std::optional<double> penalty_weight;
  std::string penalty = "sigmoid";
  double label_smoothing = 0.0;
  std::string length_normalised = "auto";
  std::string position = "contiguous";
  std::int64_t position_window = 0;
  std::int64_t position_chunk = 512;
  std::int64_t position_question = 128;
  std::string position_tail = "adjacent";
  double position_continuous = 0.9;
  std::optional<double> rope_base;
  std::string rope_scaling = "keep";
  std::optional<double> rope_factor;
  std::optional<std::int64_t> rope_original_max_positions;
  std::optional<std::int64_t> max_positions;

  // Low-rank adapters.
  std::int64_t lora_rank = 0;
  double lora_alpha = 16.0;
  bool lora_stabilised = false;
  std::vector<std::string> lora_targets;
  bool lora_embeddings = false;
  bool lora_norms = false;
  std::string adapter;

  // Optimiser.
  double learning_rate = 2e-5;
  std::string schedule = "cosine";
  double warmup_ratio = 0.03;
  std::int64_t warmup_steps = 0;
  double learning_rate_floor = 0.0;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double weight_decay = 0.0;
  std::string decay = "matrices";
  double clip = 1.0;

  // The run.
  std::int64_t epochs = 2;
  std::int64_t max_steps = 0;
  std::int64_t seed = 42;
  std::int64_t save_every = 200;
  std::int64_t keep_last = 3;
  bool keep_best = true;
  std::int64_t evaluate_every = 0;
  std::int64_t position_bucket = 1024;
  bool rehearse = true;
  std::string activations = "checkpoint";
  double memory_budget = 0.0;        ///< GiB, for activations = automatic
  double host_memory_budget = -1.0;  ///< GiB, for tensors that wait on the host
  std::string backend = "host";
  std::string dtype = "auto";
  std::string export_model = "last";
  std::string export_dtype = "same";
  std::int64_t threads = 0;
  std::int64_t ranks = 1;
  bool progress = true;
  bool metrics = true;
  bool tensorboard = true;
  bool report = true;

  // prepare
  bool overwrite = false;

  // plan
  std::vector<std::int64_t> plan_ranks{1, 2, 4, 8};
  std::vector<std::string> compare{"naive", "sorted", "packed"};

  // tokenize
  std::string text_file;
  bool special = true;
  bool decode = false;

  // generate
  std::string prompt;
  std::string prompt_file;
  bool chat = false;

  // What answers, and how.
  std::string system;
  std::int64_t max_new_tokens = 64;
  std::int64_t min_new_tokens = 0;
  double repetition_penalty = 1.0;
  double temperature = 0.0;
  std::int64_t top_k = 0;
  double top_p = 1.0;
  double min_p = 0.0;
  std::vector<std::string> stop;
  std::int64_t at_once = 16;
  std::int64_t cache_tokens = 0;
  std::string endpoint;
  std::string endpoint_model;
  std::string endpoint_key_variable = "OPENAI_API_KEY";
  std::int64_t endpoint_concurrency = 8;
  std::int64_t endpoint_retries = 5;
  std::int64_t endpoint_timeout = 600;  ///< seconds
  std::string judge_endpoint;
  std::string judge_endpoint_model;
  std::string judge_endpoint_key_variable = "OPENAI_API_KEY";

  // synthesise
  std::string method;
  std::string documents;
  std::string questions_file;
  std::string tokenizer;
  std::string scores;
  bool scores_only = false;
  bool accept_failures = false;
  std::string judge_model;
  std::int64_t chunk_tokens = 512;
  std::string chunk_end = "word";
  std::string selection = "rank";
  double threshold = 6.0;
  double least_score = 1.0;
  std::int64_t important_chunks = 8;
  std::int64_t context_chunks = 16;
  std::int64_t rejected_answers = 2;
  double common_words = 0.1;
  bool score_answers = false;
  double least_metric = 0.0;
  std::string prompt_as = "chat";
  bool released_prompt = false;
  std::int64_t document_count = 0;
  std::vector<std::string> quotas;
  double length_power = 1.0;
  std::int64_t shortest_document = 0;
  std::int64_t longest_document = 0;
  std::string language = "auto";
  std::vector<std::string> question_kinds;
  std::int64_t questions_per_prompt = 5;
  std::int64_t prompts_per_document = 1;
  std::int64_t question_tokens = 512;
  std::int64_t attempts = 3;

  // eval
  std::vector<std::string> tasks;
  std::vector<std::int64_t> lengths{1024, 2048, 4096};
  std::vector<double> depths{0, 25, 50, 75, 100};
  std::int64_t repeats = 4;
  std::int64_t questions = 0;
  std::optional<std::int64_t> shots;
  std::vector<std::string> shots_from;
  std::int64_t window = 0;
  std::string prompts = "auto";
  std::string haystack;
  std::string needle_fact;
  std::string needle_question;
  std::string needle_answer;
  std::string needle_prompt;
  std::int64_t needle_values = 1;
  std::int64_t needle_others = 0;
  std::int64_t sliding_window = 0;
  std::int64_t stride = 0;
  std::int64_t document_tokens = 0;
  std::string key_tokens;
  std::string evaluator_model;
  std::int64_t key_context = 4096;
  std::int64_t key_step = 1024;
  double key_gain = 2.0;
  double key_loss = 2.0;
  std::string key_edges = "trimmed";
  std::string token_edges = "trimmed";
  std::string chinese_words;
  std::string judge_template;
  std::string summary_template;
  std::int64_t judge_runs = 1;
  std::string human_scores;

  // inspect
  std::string path;

  // demo
  bool quick = false;
};

/// The subcommands.
enum class command : unsigned {
  tokenize, prepare, plan, sft, prefer, ablate, merge, score, generate, chat, eval, synthesise, inspect, doctor, demo
};

/// What the command line asks for.
struct request {
  command what = command::doctor;
  settings values;
  std::filesystem::path config;      ///< the file given by --config, empty if none
  std::vector<std::string> given;    ///< keys that the file or the command line set
};

/// Ends the program with a text that was asked for (--help, --version): printed to standard output, exit status 0.
struct early_exit {
  std::string text;
};

/// Reads the command line and the configuration file that it names. Throws lodestone::config_error for unknown flags
/// and keys (naming the nearest one), wrong types and values (with file:line), and early_exit.
[[nodiscard]] request read_request(int argc, const char* const* argv);

/// Throws config_error for settings that contradict each other or that `what` needs and lacks.
void check(command what, const settings& values);

/// Whether a value of `position` draws ids from the window.
[[nodiscard]] inline bool is_synthetic(std::string_view position) {
  return position != "contiguous" && position != "absolute";
}

/// Whether a value of `batching` keeps the answers to a prompt together.
[[nodiscard]] inline bool is_for_groups(std::string_view batching) {
  return batching == "shared-prefix" || batching == "separate";
}

/// The settings of a command before anything is read.
[[nodiscard]] settings default_settings(command what);

/// Fills in what has no value of its own: the content of a step, the longest example.
void resolve(settings& values);

/// The resolved configuration as TOML; reading it gives the same settings.
[[nodiscard]] std::string to_toml(const settings& values);

/// The same as pairs of key and value, for reports.
[[nodiscard]] std::vector<lodestone::setting> to_pairs(const settings& values);

/// Writes to_toml() to a file, replacing it whole.
void save_settings(const settings& values, const std::filesystem::path& name);

/// The entry of `names` that is nearest to `word` by edit distance, empty when none is near.
[[nodiscard]] std::string nearest(std::string_view word, const std::vector<std::string>& names);

}  // namespace lodestone_cli
