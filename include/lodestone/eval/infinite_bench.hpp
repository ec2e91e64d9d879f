// InfiniteBench: questions about books and what is hidden in long texts, asked and marked as published.
#pragma once

#include <cstdint>
#include <filesystem>

#include <lodestone/eval/marked_questions.hpp>

namespace lodestone::eval {

/// Whom InfiniteBench asks: its prompts differ.
enum class infinite_bench_form : std::uint8_t {
  chat,  ///< a model that follows instructions: the published prompts of GPT-4, in a user's turn
  text   ///< a model that goes on with a text: those of YaRN-Mistral and Yi, without a chat template
};

/// Reads a data file of InfiniteBench, whose name tells the data set: longbook_qa_eng.jsonl (En.QA), longbook_qa_chn
/// (Zh.QA), longbook_choice_eng (En.MC), kv_retrieval, passkey or number_string.
///
/// Metrics, from 0 to 1: f1 and substring_match of En.QA; f1 of single characters of Zh.QA; accuracy of the others: the
/// right choice, the value as a word of its own, or the first number. Labels: dataset (the paper's name of it). A text
/// that several questions are about is held once. Throws config_error for another file name, data_error with file:line
/// for records of another kind, and what jsonl_reader throws.
[[nodiscard]] marked_questions infinite_bench(const std::filesystem::path& file,
                                              infinite_bench_form form = infinite_bench_form::chat,
                                              const benchmark_options& options = {});

}  // namespace lodestone::eval

#ifndef LODESTONE_COMPILED
#include <lodestone/eval/infinite_bench.ipp>
#endif
