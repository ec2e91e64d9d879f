// LV-Eval: its 11 data sets at five lengths, asked and marked as published.
#pragma once

#include <filesystem>

#include <lodestone/eval/marked_questions.hpp>

namespace lodestone::eval {

/// Reads a data file of LV-Eval, whose name tells data set and length: cmrc_mixup_16k.jsonl. Answers are compared with
/// the first reference, after they have shown enough of the keywords (field "answer_keywords"), as LV-Eval's scorer
/// does; scores are from 0 to 1. Labels: dataset, category, language, length (16k to 256k). Throws config_error for
/// another file name, data_error with file:line for records that are not LV-Eval's, and what jsonl_reader throws.
[[nodiscard]] marked_questions lv_eval(const std::filesystem::path& file, const benchmark_options& options = {});

}  // namespace lodestone::eval

#ifndef LODESTONE_COMPILED
#include <lodestone/eval/lv_eval.ipp>
#endif
