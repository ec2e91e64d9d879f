// Readers of multiple-choice benchmarks as they are published: MMLU, ARC, HellaSwag, TruthfulQA.
//
// The prompts are those of lm-evaluation-harness 0.4 (MIT licence, copyright 2020 EleutherAI): the tasks mmlu,
// arc_easy, arc_challenge, hellaswag, truthfulqa_mc1 and truthfulqa_mc2.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include <lodestone/eval/multiple_choice.hpp>

namespace lodestone::eval {

/// MMLU, answered by letter behind `shots` examples of the same subject, the first of `examples`.
///
/// Each path is a file or a folder of files: JSONL with "question", "choices" (4), "answer" (0 to 3) and "subject" (or
/// the name of the file: "anatomy_test.jsonl"), as cais/mmlu on Hugging Face, or the CSV files of the authors' archive,
/// "anatomy_test.csv": question, four choices and a letter, without a header. `id` is "SUBJECT/NUMBER", the label
/// "subject". Throws data_error with file and line for records of another shape, and for a subject with fewer than
/// `shots` examples; `examples` may be empty for 0 shots.
[[nodiscard]] choice_task read_mmlu(const std::filesystem::path& questions, const std::filesystem::path& examples,
                                    std::int64_t shots = 5);

/// ARC, easy or challenge: JSONL with "id", "question", "choices" {"text", "label"} and "answerKey", as
/// allenai/ai2_arc, or of the authors' archive, where "question" holds "stem" and "choices". The name of the task is
/// "arc". Throws data_error with file and line for records of another shape.
[[nodiscard]] choice_task read_arc(const std::filesystem::path& file);

/// HellaSwag: JSONL with "activity_label", "ctx_a", "ctx_b", "endings" and "label", as Rowan/hellaswag. `id` is "ind",
/// or the record's number. Throws data_error with file and line for records of another shape, also for the test split,
/// which has no labels.
[[nodiscard]] choice_task read_hellaswag(const std::filesystem::path& file);

/// Which choices of TruthfulQA are scored.
enum class truthful_choices {
  mc1,  ///< one right answer among wrong ones: accuracy
  mc2   ///< several right ones: their share of the probability
};

/// TruthfulQA: JSONL with "question", "mc1_targets" and "mc2_targets" {"choices", "labels"}, as truthfulqa/truthful_qa,
/// configuration multiple_choice, or the authors' mc_task.json, whose targets are {CHOICE: 0 or 1}. `id` is the
/// record's number. Throws data_error with file and line for records of another shape.
[[nodiscard]] choice_task read_truthfulqa(const std::filesystem::path& file, truthful_choices which);

}  // namespace lodestone::eval

#ifndef LODESTONE_COMPILED
#include <lodestone/eval/choice_data.ipp>
#endif
