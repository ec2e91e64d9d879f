// Definitions of prepare.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <string_view>

#include <nlohmann/json.hpp>

#include <lodestone/core/inline.hpp>
#include <lodestone/data/prepare.hpp>
#include <lodestone/text/chat_program.hpp>

namespace lodestone {

namespace detail {

LODESTONE_INLINE std::vector<std::filesystem::path> files_of(const data_source& source) {
  namespace fs = std::filesystem;
  if (!fs::exists(source.path)) throw io_error("no such file or folder", source.path.string(), "check data.path");
  if (!fs::is_directory(source.path)) return {source.path};
  std::vector<fs::path> files;
  bool has_parquet = false;
  for (const fs::directory_entry& entry : fs::directory_iterator(source.path)) {
    const std::string extension = entry.path().extension().string();
    has_parquet = has_parquet || extension == ".parquet";
    if (entry.is_regular_file() && (extension == ".jsonl" || extension == ".json" || extension == ".txt")) {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  if (files.empty()) {
    throw io_error(has_parquet ? "the folder holds only Parquet files, which are not read"
                               : "the folder holds no .jsonl, .json or .txt file",
                   source.path.string(),
                   has_parquet ? "name one of them to see the command that converts it" : "check data.path");
  }
  return files;
}

}  // namespace detail

LODESTONE_INLINE std::vector<std::string> source_files(std::span<const data_source> sources) {
  std::vector<std::string> names;
  for (const data_source& source : sources) {
    for (const std::filesystem::path& file : detail::files_of(source)) names.push_back(file.string());
  }
  return names;
}

namespace detail {

LODESTONE_INLINE std::string describe(const chat_template& form) {
  using json = nlohmann::ordered_json;
  json strings{{"name", form.name},
                     {"begin", form.begin},
                     {"system_prefix", form.system_prefix},
                     {"system_suffix", form.system_suffix},
                     {"user_prefix", form.user_prefix},
                     {"user_suffix", form.user_suffix},
                     {"assistant_prefix", form.assistant_prefix},
                     {"assistant_suffix", form.assistant_suffix},
                     {"turn_separator", form.turn_separator},
                     {"end_token", form.end_token},
                     {"default_system", form.default_system},
                     {"system_in_user_turn", form.system_in_user_turn},
                     {"trim", form.trim},
                     {"end", to_string(form.end)}};
  if (form.program) strings["program"] = form.program->describe();
  return strings.dump(-1, ' ', false, json::error_handler_t::replace);
}

LODESTONE_INLINE std::string describe(const chat_encoding& encoding, const prepare_options& options) {
  const example_options& example = options.example;
  const nlohmann::ordered_json choices{{"targets", to_string(encoding.targets)},
                                       {"joint", encoding.joint == piece_joint::separate ? "separate" : "continuous"},
                                       {"content", encoding.content == content_tokens::parse ? "parse" : "literal"},
                                       {"original_end_labels", encoding.original_end_labels},
                                       {"end_of_text", encoding.end_of_text},
                                       {"max_tokens", example.length.max_tokens},
                                       {"over_long", to_string(example.length.action)},
                                       {"keep_answers", example.length.keep_answers},
                                       {"join_turns", example.record.join_turns},
                                       {"strip_zero_width", example.record.strip_zero_width},
                                       {"no_targets", to_string(example.no_targets)},
                                       {"plain_prompt", example.record.plain == plain_prompt::chat ? "chat" : "text"},
                                       {"context_form", example.preference.context_form},
                                       {"chunk_separator", example.preference.chunk_separator},
                                       {"score_header", example.preference.score_header},
                                       {"faults", example.faults == fault_policy::skip ? "skip" : "error"},
                                       {"seed", options.seed}};
  return choices.dump();
}

LODESTONE_INLINE std::string describe(std::span<const data_source> sources) {
  using json = nlohmann::ordered_json;
  return json(source_files(sources)).dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace detail

}  // namespace lodestone

