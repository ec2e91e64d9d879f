// LongBench: its 21 data sets and those of LongBench-E, asked and marked as published, and the averages of its tables.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <lodestone/eval/concept.hpp>
#include <lodestone/eval/marked_questions.hpp>

namespace lodestone::eval {

/// Reads a data file of LongBench (NAME.jsonl, NAME_e.jsonl, or several data sets in one file: the field "dataset"
/// tells). The metrics are those of its scorer, the best over the references, from 0 to 1. Answers to questions have
/// substring_match besides f1. Few-shot tasks count the answer's first line and are asked without a chat template, like
/// code. Labels: dataset, category, language, and length ("0-4k", "4-8k", "8k+" of the field "length").
/// Throws data_error with file:line for records that are not LongBench's, and what jsonl_reader throws.
[[nodiscard]] marked_questions longbench(const std::filesystem::path& file, const benchmark_options& options = {});

/// Means of LongBench's records, from 0 to 1.
struct longbench_averages {
  using named_mean = std::pair<std::string, double>;  ///< a name and a mean
  std::vector<named_mean> datasets{};    ///< of the first score of each record, in the order of the benchmark
  std::vector<named_mean> categories{};  ///< of the data sets of each category
  double mean = 0.0;                     ///< of the categories; 0 without any
};

/// The averages of records of longbench() tasks: data sets count alike in their category, categories alike in the mean.
/// LOGO's tables leave code out, the others of LongBench count it. Records without a score count as 0. Throws
/// data_error for a record without LongBench's labels.
[[nodiscard]] longbench_averages average_longbench(std::span<const record> records, bool with_code = false);

}  // namespace lodestone::eval

#ifndef LODESTONE_COMPILED
#include <lodestone/eval/longbench.ipp>
#endif
