// Questions over documents in the files of their authors: MuSiQue, 2WikiMultihopQA, HotpotQA, QMSum, NarrativeQA, keys.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include <lodestone/eval/marked_questions.hpp>

namespace lodestone::eval {

/// What a reader of this header makes of a file. The prompts are LongBench's, which asks the same questions about fewer
/// documents; another one may be given. Metrics of questions: f1 (first), substring_match and exact_match, the best
/// over the right answers. All throw data_error with file:line for records of another kind, and what jsonl_reader
/// throws.
///@{

/// MuSiQue, musique_ans_v1.0_*.jsonl: documents are the paragraphs with their titles, right answers are the answer and
/// its aliases. Label: hops. Questions without an answer (musique_full) are refused.
[[nodiscard]] marked_questions musique(const std::filesystem::path& file, const benchmark_options& options = {});

/// 2WikiMultihopQA and HotpotQA, dev.json: documents are titles with sentences. Label: type. f1 is LongBench's: the
/// authors' own scorers give 0 when one of answer and reference is yes or no and the other is something else.
[[nodiscard]] marked_questions two_wiki(const std::filesystem::path& file, const benchmark_options& options = {});

/// QMSum, one meeting a line: its general and its specific queries, over the whole transcript. Metrics: rouge_1,
/// rouge_2 and rouge_l, F of ROUGE-1.5.5 with Porter's stems. Label: kind (general or specific).
[[nodiscard]] marked_questions qmsum(const std::filesystem::path& file, const benchmark_options& options = {});

/// NarrativeQA over whole stories. `questions` is qaps.csv, `stories` the folder of its stories (ID.content) as they
/// were downloaded, in UTF-8 or else in Latin-1, `set` one of train, valid and test. Metrics: f1, substring_match,
/// exact_match and rouge_l (of LongBench's scorer).
[[nodiscard]] marked_questions narrativeqa(const std::filesystem::path& questions, const std::filesystem::path& stories,
                                           const std::string& set = "test", const benchmark_options& options = {});

/// Key-value retrieval of Lost in the Middle, kv-retrieval-N_keys.jsonl, with its prompt. The asked pair is moved to
/// place `at` (from 0), or stays. Metric: accuracy, whether the value stands in the answer, in any case. Labels: keys
/// (how many), depth (the place in percent of the last one).
[[nodiscard]] marked_questions key_value_retrieval(const std::filesystem::path& file,
                                                   std::optional<std::int64_t> at = std::nullopt,
                                                   const benchmark_options& options = {});
///@}

}  // namespace lodestone::eval

#ifndef LODESTONE_COMPILED
#include <lodestone/eval/question_files.ipp>
#endif
